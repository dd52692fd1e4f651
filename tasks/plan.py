"""Plan: a campaign or event file becomes recipients in the ledger, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prefect import task

from posthorn.delivery.plan import plan_campaign
from posthorn.delivery.tickets import plan_event
from posthorn.ledger.deliveries import Delivery
from posthorn.views.status import status_now
from tasks.news import tell
from tasks.policy import POLICY


@task(name="plan", task_run_name="plan {campaign_file}", **POLICY)
async def plan(campaign_file: str, workers: int = 1) -> tuple[str, bool]:
    """Plan the campaign of that file for so many processes, or find it planned; its name, and whether it is a test."""
    planned = await plan_campaign(Path(campaign_file), workers=workers)
    await _tell_if_new(planned)
    return planned.name, planned.test


@task(name="plan", task_run_name="plan {event_file}", **POLICY)
async def plan_tickets(event_file: str) -> str:
    """Plan the event of that file, or find it planned; its name."""
    planned = await plan_event(Path(event_file))
    await _tell_if_new(planned)
    return planned.name


async def _tell_if_new(planned: Delivery) -> None:
    if planned.run_started_at is None:
        tell("planned", await asyncio.to_thread(status_now, planned.name, test=planned.test))
