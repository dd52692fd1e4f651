"""The flow that goes on, every minute, with what waits for a moment: a last look, or the rest of what is to be sent."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.cancelling import heeds_cancellation
from flows.reconcile import look_after
from flows.rest import start_rests
from posthorn.delivery.status import going_on, looks_due

EVERY_SECONDS = 60.0
"""How often it is scheduled. A look that would be due before its next turn is due now: one that comes too late is none."""


@flow(name="continue-due", flow_run_name="continue due", persist_result=False)
@heeds_cancellation
async def continue_due() -> State[Any]:
    """Go on with every campaign and event that waits for a moment that has come.

    A run of its own is started for each that may send its rest now: `send-rest`. A held campaign of which something was sent
    twice is looked at close before its dispatch, and surplus copies are withdrawn. One that is still being run is left
    alone: it does that itself. Where nothing is due, only the ledger is read.
    """
    rests = await asyncio.to_thread(going_on)  # not a task: most turns find nothing
    await start_rests(rests)
    names = await asyncio.to_thread(looks_due, EVERY_SECONDS)
    if names:
        return await look_after(names)
    started = ", ".join(one.name for one in rests)
    return Completed(message=f"goes on: {started}" if rests else "nothing is due")
