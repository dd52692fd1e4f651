"""Opt-outs: ask the providers who must not be messaged."""

from __future__ import annotations

from prefect import task

from posthorn.delivery.suppression.optouts import PulledOptOuts, pull_opt_outs
from tasks.policy import POLICY


@task(name="pull opt-outs", task_run_name="pull opt-outs", **POLICY)
async def pull() -> PulledOptOuts:
    """Put the numbers that have opted out at the providers onto the suppression list."""
    return await pull_opt_outs()
