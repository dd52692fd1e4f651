"""Plan: a campaign or event file becomes recipients in the ledger, once."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from posthorn.delivery.plan import plan_campaign
from posthorn.delivery.tickets import plan_event
from tasks.policy import POLICY


@task(name="plan", task_run_name="plan {campaign_file}", **POLICY)
async def plan(campaign_file: str) -> tuple[str, bool]:
    """Plan the campaign of that file, or find it planned; its name, and whether it is a test."""
    planned = await plan_campaign(Path(campaign_file))
    return planned.name, planned.test


@task(name="plan", task_run_name="plan {event_file}", **POLICY)
async def plan_tickets(event_file: str) -> str:
    """Plan the event of that file, or find it planned; its name."""
    return (await plan_event(Path(event_file))).name
