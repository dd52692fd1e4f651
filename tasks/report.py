"""Report: pull a campaign's delivery reports; apply an event's news that came before its ticket was recorded."""

from __future__ import annotations

from prefect import task

from posthorn.delivery.report import pull_reports
from posthorn.delivery.run import CampaignRun, TicketRun
from posthorn.ledger.news import apply_parked
from tasks.policy import POLICY


@task(name="report", task_run_name="report", **POLICY)
async def report(run: CampaignRun) -> int:
    """Pull the delivery reports of every open message; how many messages moved on."""
    return (await pull_reports(run)).moved


@task(name="report", task_run_name="report", **POLICY)
async def report_tickets(run: TicketRun) -> int:
    """Apply postbacks that came before the answer they are about was recorded; how many messages moved on."""
    return await run.do(apply_parked)
