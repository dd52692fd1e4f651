"""The flow of every minute: it goes on with what waits for a moment, and shows what a dead run left shown wrongly."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.cancelling import heeds_cancellation
from flows.reconcile import look_after
from posthorn.delivery.due import names_due
from tasks.publish import publish
from tasks.report import wrongly_shown

EVERY_SECONDS = 60.0
"""How often it is scheduled. What would be due before its next turn is due now: a look that comes too late is none."""


@flow(name="continue-due", flow_run_name="continue due", persist_result=False)
@heeds_cancellation
async def continue_due() -> State[Any]:
    """Go on with every campaign that waits for a moment that has come. Nothing is sent.

    A held campaign of which something was sent twice is looked at close before its dispatch, and surplus copies are
    withdrawn. One that is still being run is left alone: it does that itself. Where a run was killed, nobody could show how
    its campaign stands: that is done here.
    """
    names = await asyncio.to_thread(names_due, EVERY_SECONDS)  # not a task: most turns find nothing
    state = await look_after(names) if names else Completed(message="nothing is due")
    for name in await wrongly_shown():
        await publish(name)
    return state
