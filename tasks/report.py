"""Report: pull delivery reports, and apply news that was pushed before its message was recorded."""

from __future__ import annotations

import asyncio

from prefect import task
from prefect.logging import get_run_logger

from posthorn.delivery.running.run import CampaignRun, TicketRun
from posthorn.delivery.settling.audit import audit_credit
from posthorn.delivery.settling.report import Pulled, pull_due_reports, pull_reports, pull_reports_of, recent_names
from posthorn.ledger.news import apply_parked
from posthorn.views.cards import card_now
from tasks.policy import POLICY
from tasks.publish import linked, shown_last

MAX_AT_ONCE = 10_000
"""The most messages whose reports a run pulls at its own end, within seconds. Larger campaigns are left to the schedule."""


@task(name="report", task_run_name="report", **POLICY)
async def report(run: CampaignRun) -> int:
    """Pull the delivery reports of a small campaign, and audit its credit; returns how many messages changed."""
    if (odd := await audit_credit(run)) is not None:
        get_run_logger().warning("%s: %s", run.delivery.name, odd)
    sent = run.delivery.input - run.delivery.invalid - run.delivery.duplicate
    if sent > MAX_AT_ONCE:
        get_run_logger().info("%d reports are left to the flow delivery_reports", sent)
        return 0
    return (await pull_reports(run)).moved


@task(name="report", task_run_name="report", **POLICY)
async def report_tickets(run: TicketRun) -> int:
    """Apply postbacks that came before the answer to their message was recorded; returns how many messages changed."""
    return await asyncio.to_thread(apply_parked, run.ledger)


@task(name="pull reports", task_run_name="pull reports", **POLICY)
async def pull(name: str = "") -> Pulled:
    """Pull the reports that are due in all campaigns, or all open ones of one campaign."""
    return await (pull_reports_of(name) if name else pull_due_reports())


async def wrongly_shown() -> list[str]:
    """The campaigns and events whose display is out of date, because of pulled or pushed news or a dead run.

    A running delivery is shown by its own run.
    """
    return [name for name in await asyncio.to_thread(recent_names) if not await _is_shown(name)]


async def _is_shown(name: str) -> bool:
    card = await asyncio.to_thread(card_now, name)
    last = await shown_last(card.key)
    is_same = last is not None and (last.data, last.description) == (await linked(card.page), card.headline)
    return is_same or card.status["state"] == "running"
