"""Reporting: pull what the provider knows of the messages that wait for news, in few requests."""

from __future__ import annotations

import time
from dataclasses import dataclass

from posthorn.delivery.run import CampaignRun, open_desk
from posthorn.ledger import reporting

IDS_PER_REQUEST = 500
NO_REPORT_AFTER_SECONDS = 72 * 3600
"""Reports come for up to about 72 hours; what is silent longer ends as no_report (and a late report is still taken)."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did: requests made, messages that moved on, messages that ended without a report."""

    requests: int
    moved: int
    expired: int


async def pull_reports_of(name: str) -> Pulled:
    """``pull_reports`` for the campaign of that name, beside whatever else is done with it."""
    async with open_desk(name) as desk:
        return await pull_reports(desk)


async def pull_reports(run: CampaignRun) -> Pulled:
    """Ask for the reports of every open message, ``IDS_PER_REQUEST`` at a time, all pages, and move the messages.

    Raises:
        TryAgain: the provider could not be reached; what was pulled so far is kept.
    """
    requests = moved = 0
    if not run.campaign.test:  # a test sends nothing, so there is nothing to report
        for ids in reporting.open_ids(run.ledger, run.campaign, IDS_PER_REQUEST):
            page = pages = 1
            while page <= pages:
                answer = await run.gateway.reports(ids=ids, page=page, limit=IDS_PER_REQUEST)
                requests += 1
                moved += await run.do(reporting.apply_reports, answer.reports)
                page, pages = page + 1, answer.pages
    expired = await run.do(reporting.expire, run.campaign, sent_before=time.time() - NO_REPORT_AFTER_SECONDS)
    return Pulled(requests, moved, expired)
