"""The housekeeping flow, for a daily schedule: numbers are not kept longer than needed."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.cancelling import cancellable
from tasks.housekeeping import tidy


@flow(name="housekeeping", flow_run_name="housekeeping", persist_result=False)
@cancellable
async def housekeeping() -> State[Any]:
    """Erase the numbers of campaigns and events that ended POSTHORN_RETENTION_DAYS ago. The counts stay."""
    done = await tidy()
    return Completed(
        message=f"{done.campaigns:,} campaigns and events erased, {done.messages:,} numbers; {done.parked:,} parked news,"
        f" {done.unfinished:,} unfinished plans"
    )
