"""The flow that goes on, every minute, with what waits for a moment: today the last look at a held campaign."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.cancelling import heeds_cancellation
from flows.reconcile import look_after
from posthorn.delivery.due import names_due

EVERY_SECONDS = 60.0
"""How often it is scheduled. What would be due before its next turn is due now: a look that comes too late is none."""


@flow(name="continue-due", flow_run_name="continue due", persist_result=False)
@heeds_cancellation
async def continue_due() -> State[Any]:
    """Go on with every campaign that waits for a moment that has come. Nothing is sent.

    A held campaign of which something was sent twice is looked at close before its dispatch, and surplus copies are
    withdrawn. One that is still being run is left alone: it does that itself. Where nothing is due, only the ledger is read.
    """
    names = await asyncio.to_thread(names_due, EVERY_SECONDS)  # not a task: most turns find nothing
    return await look_after(names) if names else Completed(message="nothing is due")
