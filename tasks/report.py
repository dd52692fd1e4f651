"""Pull the delivery reports of a campaign."""

from __future__ import annotations

from prefect import task

from posthorn.delivery.report import pull_reports
from posthorn.delivery.run import CampaignRun
from tasks.policy import POLICY


@task(name="report", task_run_name="report", **POLICY)
async def report(run: CampaignRun) -> int:
    """Pull the delivery reports of every open message; how many messages moved on."""
    return (await pull_reports(run)).moved
