"""The flow of every minute: it continues deliveries whose moment has come, and corrects what a dead run left shown."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.cancelling import cancellable
from flows.reconcile import look_after
from flows.rest import start_rests
from posthorn.delivery.settling.due import going_on, looks_due
from tasks.publish import publish
from tasks.report import wrongly_shown

EVERY_SECONDS = 60.0
"""How often it is scheduled. A look that would be due before its next run is due now: a late one would be useless."""


@flow(name="continue-due", flow_run_name="continue due", persist_result=False)
@cancellable
async def continue_due() -> State[Any]:
    """Continue every campaign and event whose moment has come.

    A separate run, `send-rest`, is started for each that may send its rest now. A held campaign with messages that were sent
    again is checked shortly before its dispatch, and surplus copies are withdrawn. A campaign whose run is alive is left
    alone: its run does this. A killed run could not show its delivery's status: that is done here.
    """
    rests = await asyncio.to_thread(going_on)  # not a task: most runs find nothing
    await start_rests(rests)
    names = await asyncio.to_thread(looks_due, EVERY_SECONDS)
    state = await look_after(names) if names else None
    for name in await wrongly_shown():
        await publish(name)
    started = ", ".join(one.name for one in rests)
    return state or Completed(message=f"goes on: {started}" if rests else "nothing is due")
