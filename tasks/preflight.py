"""Check an event's template and campaign with the provider before the first ticket."""

from __future__ import annotations

from prefect import task
from prefect.logging import get_run_logger

from posthorn.delivery.preparing.tickets import preflight_event
from posthorn.delivery.running.run import TicketRun
from tasks.policy import POLICY


@task(name="preflight", task_run_name="preflight", **POLICY)
async def preflight(run: TicketRun) -> None:
    """Ask the provider whether the stored MMS (and the campaign) exist; warn if the account is not allowed to ask."""
    for warning in await preflight_event(run):
        get_run_logger().warning("%s", warning)
