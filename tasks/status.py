"""Ask the ledger what there is to do."""

from __future__ import annotations

import asyncio

from prefect import task

from posthorn.delivery.status import names_with_unknown
from tasks.policy import POLICY


@task(name="find unknown", task_run_name="find unknown", **POLICY)
async def with_unknown() -> list[str]:
    """The names of the campaigns that have messages of unknown outcome."""
    return await asyncio.to_thread(names_with_unknown)
