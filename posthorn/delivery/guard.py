"""The guard: before the first claim of every run, is this ledger older than what was sent? Then nothing is sent.

Two witnesses are outside the ledger: this machine's mark of its claims, and the provider's list. The mark is exact; where it
says nothing (it was deleted, or another machine sent), a sample of the pending numbers is looked up with a provider that can
be asked. See docs/decisions/005.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from posthorn.delivery.listing import CLOCK_SKEW_SECONDS, is_titled
from posthorn.delivery.run import CampaignRun, Run
from posthorn.errors import InputError, LedgerError, Stopped
from posthorn.ledger import guarding
from posthorn.ledger.campaigns import CampaignRecord
from posthorn.ledger.marks import Mark, MarkedClaim, marks_folder
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind, MessageState, Phone, Report
from posthorn.settings import Settings

LISTED_SECONDS = 7 * 86_400.0
"""How far back that is looked up; a message of a week ago is surely listed, if it was taken."""

_MOST_READINGS = 3
_LEAST_OF_A_TITLE = 8
_COMMAND = {Kind.CAMPAIGN: "campaign", Kind.EVENT: "tickets"}


async def guard(run: Run[Any]) -> None:
    """Let the run send, unless its ledger is, or seems, older than what was sent. A test sends nothing and is not guarded.

    Raises:
        Stopped: it is, or no mark can be kept; what to do is said.
        TryAgain, StopRun: the provider could not be asked.
    """
    if run.campaign.test or run.mark is not None:
        return
    mark = open_mark(run.settings, run.ledger, run.campaign)
    try:
        await _refuse_if_behind(run, mark)
    except BaseException:
        mark.close()
        raise
    run.mark = mark


async def _refuse_if_behind(run: Run[Any], mark: Mark) -> None:
    if forgotten := await run.do(guarding.forgotten, mark):
        raise Stopped(_behind(run.campaign, mark, forgotten))
    # A mark tells of this machine only; a ledger on a server may have been written from others.
    if run.descriptor.looks_up and (mark.is_empty() or not run.ledger.is_sqlite):
        await _refuse_if_listed(run)


def open_mark(settings: Settings, ledger: Ledger, campaign: CampaignRecord) -> Mark:
    """This machine's mark of that delivery.

    Raises:
        Stopped: it cannot be used; the message names the setting.
    """
    try:
        return Mark(marks_folder(settings.guard_dir), ledger.uuid, campaign.name)
    except LedgerError as error:
        raise Stopped(str(error)) from None


def _behind(campaign: CampaignRecord, mark: Mark, forgotten: Sequence[MarkedClaim]) -> str:
    last = datetime.fromtimestamp(max(claim.claimed_at for claim in forgotten)).astimezone()
    return (
        f"this ledger is older than what was sent: it does not know {len(forgotten):,} requests of {campaign.name} that"
        f" {mark.path} notes, the last of {last:%Y-%m-%d %H:%M:%S %Z}. It was restored from a copy, it seems."
        f" Nothing was sent. {_way_on(campaign)}"
    )


def _way_on(campaign: CampaignRecord) -> str:
    return f"Run `posthorn {_COMMAND[campaign.kind]} reconcile {campaign.name} --pending`, then send it again"


async def _refuse_if_listed(run: CampaignRun) -> None:
    """Refuse if the provider has messages of this campaign that the ledger thinks were never sent."""
    some = await run.do(guarding.sample, run.campaign, run.descriptor.bounds.numbers_per_lookup)  # what one request may ask
    if not some:
        return
    try:
        found = await listed(run, [one.phone for one in some], time.time() - LISTED_SECONDS)
    except InputError as error:  # more than the provider shows: nothing is concluded from that
        raise Stopped(f"whether this ledger is up to date cannot be looked up: {error}. Nothing was sent") from None
    # Another process of the same run may have sent some meanwhile: those are claimed by now.
    hits = await run.do(guarding.still_waiting, [one for one in some if one.phone in found]) if found else []
    if hits:
        raise Stopped(
            f"this ledger seems older than what was sent: of {len(some):,} pending numbers that were looked up, the provider"
            f" lists a message like this one for {len(hits):,}, under ids that the ledger does not know. Nothing was sent."
            f" {_way_on(run.campaign)}"
        )


async def listed(run: CampaignRun, phones: Sequence[Phone], since: float) -> dict[Phone, list[Report]]:
    """What the provider lists for these numbers that is like this campaign's message and is nobody's in this ledger."""
    window = datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(time.time() + CLOCK_SKEW_SECONDS, UTC)
    like: list[Report] = []
    for _ in range(_MOST_READINGS):
        like, page, pages, is_steady = [], 1, 1, True
        while page <= pages:
            answer = await run.gateway.reports(phones=phones, since=window[0], until=window[1], page=page)
            is_steady = is_steady and (page == 1 or answer.pages == pages)
            like += [one for one in answer.reports if _is_like(one, run.campaign) and one.state != MessageState.REJECTED]
            page, pages = page + 1, answer.pages
        if is_steady:
            break
    known = await run.do(guarding.known_ids, [report.provider_id for report in like]) if like else set()
    by_phone: defaultdict[Phone, list[Report]] = defaultdict(list)
    for report in like:
        if report.phone is not None and report.provider_id not in known:
            by_phone[report.phone].append(report)
    return dict(by_phone)


def _is_like(report: Report, campaign: CampaignRecord) -> bool:
    """Whether the report's title is the campaign's, as far as a provider may have cut or respelt it."""
    if is_titled(report, campaign):
        return True
    theirs, ours = (
        re.sub(r"\W+", "", title.casefold()) for title in (report.title or "", str(campaign.definition["title"]))
    )
    shorter, longer = sorted((theirs, ours), key=len)
    return len(shorter) >= min(_LEAST_OF_A_TITLE, len(ours)) and bool(shorter) and longer.startswith(shorter)


def _letters(title: str) -> str:
    return re.sub(r"\W+", "", title.casefold())
