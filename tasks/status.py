"""Ask the ledger which work is left."""

from __future__ import annotations

import asyncio

from prefect import task

from posthorn.delivery.settling.due import names_to_settle
from tasks.policy import POLICY


@task(name="find unsettled", task_run_name="find unsettled", **POLICY)
async def to_settle() -> list[str]:
    """The names of the campaigns for which another lookup may settle something."""
    return await asyncio.to_thread(names_to_settle)
