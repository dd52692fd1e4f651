"""Housekeeping: erase data whose retention is over."""

from __future__ import annotations

import asyncio

from prefect import task

from posthorn.delivery import housekeeping
from posthorn.delivery.housekeeping import Tidied
from posthorn.settings import load_settings
from tasks.policy import POLICY


@task(name="tidy", task_run_name="tidy", **POLICY)
async def tidy() -> Tidied:
    """Erase the numbers of deliveries that ended long ago; returns the counts."""
    return await asyncio.to_thread(housekeeping.tidy, load_settings())
