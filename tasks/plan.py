"""Plan: a campaign or event file becomes recipients in the ledger, once."""

from __future__ import annotations

import asyncio

from prefect import task

from posthorn.content.givenpath import given_file
from posthorn.delivery.planning.merge import Consent
from posthorn.delivery.planning.plan import plan_campaign, plan_event
from posthorn.ledger.deliveries import Delivery
from posthorn.views.status import status_now
from tasks.news import tell
from tasks.policy import POLICY
from tasks.story import tell_plan


@task(name="plan", task_run_name="plan {campaign_file}", **POLICY)
async def plan(
    campaign_file: str, workers: int = 1, *, accept_missing: bool = False, late: bool = False
) -> tuple[str, bool]:
    """Plan the campaign of that file, or merge it into what is planned; returns its name, and whether it is a test."""
    consent = Consent(accept_missing=accept_missing, late=late)
    planned = await plan_campaign(given_file(campaign_file, "campaign_file"), workers=workers, consent=consent)
    await _tell_if_new(planned)
    return planned.name, planned.test


@task(name="plan", task_run_name="plan {event_file}", **POLICY)
async def plan_tickets(event_file: str, *, accept_missing: bool = False) -> str:
    """Plan the event of that file, or merge it into what is planned; returns its name."""
    planned = await plan_event(given_file(event_file, "event_file"), consent=Consent(accept_missing=accept_missing))
    await _tell_if_new(planned)
    return planned.name


async def _tell_if_new(planned: Delivery) -> None:
    status = await asyncio.to_thread(status_now, planned.name, test=planned.test)
    tell_plan(status)
    if planned.run_started_at is None:
        tell("planned", status)
