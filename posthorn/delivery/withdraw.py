"""Withdrawing what the provider still holds: surplus copies of a held campaign, or everything when it is cancelled.

messages/delete and the states of messages/reports are documented; that both work for MMS is inferred (see
docs/reliability.md), so what was withdrawn is believed only when the provider's own reports agree.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from posthorn.delivery.listing import CLOCK_SKEW_SECONDS, is_titled
from posthorn.delivery.reconcile import PHONES_PER_REQUEST, Reconciled, reconcile
from posthorn.delivery.report import IDS_PER_REQUEST
from posthorn.delivery.run import CampaignRun, open_lookup, open_run
from posthorn.errors import AlreadyRunning, GatewayError
from posthorn.ledger import campaigns, reconciling, reporting, totals
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind, MessageState, Phone, Report
from posthorn.settings import load_settings

_MOST_ROUNDS = 5
_WAIT_FOR_RUN_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What a cancellation did: never sent, withdrawn from the provider, already out, of unknown outcome."""

    never_sent: int
    withdrawn: int
    went_out: int
    unknown: int


async def cancel_campaign(name: str) -> Cancelled:
    """Stop a campaign for good: claim nothing more, withdraw everything the provider still holds.

    A run in another process stops by itself at its next claim; this waits until it has.

    Raises:
        AlreadyRunning: the run did not stop within two minutes; what is pending is cancelled all the same.
    """
    before, never_sent = await asyncio.to_thread(_stop_claims, name)
    deadline = time.monotonic() + _WAIT_FOR_RUN_SECONDS
    while True:
        try:
            async with open_run(name, by="cancel") as run:
                never_sent += await run.do(campaigns.cancel, run.campaign)
                await reconcile(run)
                await withdraw_scheduled(run)
                if run.campaign.definition.get("hold_minutes"):
                    await withdraw_surplus(run)
                counted = await run.do(totals.totals, run.campaign)
                gone = ("accepted", "delivered", "undelivered", "no_report", "scheduled")
                withdrawn = counted["cancelled"] - before - never_sent  # by this process, or by the run that ended for it
                return Cancelled(never_sent, withdrawn, sum(counted[state] for state in gone), counted["unknown"])
        except AlreadyRunning:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(1)


async def reconcile_named(name: str) -> Reconciled:
    """Look up what is unknown in the campaign of that name, and withdraw what turns out to be held and is not to go out.

    Nothing is sent, and what was stopped stays stopped.

    Raises:
        AlreadyRunning: it is being sent; the run reconciles at its own end.
    """
    async with open_lookup(name) as run:
        done = await reconcile(run)
        await withdraw_unwanted(run)
        return done


async def withdraw_unwanted(run: CampaignRun) -> int:
    """Withdraw what is not to go out: all of a cancelled campaign, and surplus copies of a held one; how many were.

    Raises:
        TryAgain: the provider could not be asked; may be repeated.
    """
    withdrawn = await withdraw_scheduled(run) if run.campaign.cancelled_at is not None else 0
    if run.campaign.definition.get("hold_minutes"):
        withdrawn += await withdraw_surplus(run)
    return withdrawn


async def withdraw_scheduled(run: CampaignRun) -> int:
    """Withdraw every scheduled message of the campaign; returns how many were.

    Raises:
        TryAgain: the provider could not be asked; what it surely withdrew is recorded.
    """
    withdrawn = 0
    for _ in range(_MOST_ROUNDS):
        rounds_withdrawn = 0
        for ids in reporting.ids_in(run.ledger, run.campaign, (MessageState.SCHEDULED,), IDS_PER_REQUEST):
            rounds_withdrawn += await _withdraw(run, ids)
        withdrawn += rounds_withdrawn
        if not (await run.do(totals.totals, run.campaign))["scheduled"] or not rounds_withdrawn:
            break
    return withdrawn


async def _withdraw(run: CampaignRun, ids: Sequence[str]) -> int:
    """Withdraw these messages; how many surely were.

    The provider counts but does not name what it withdrew. Those are withdrawn that it listed before and does not list any
    more; or all that it does not list, if it withdrew as many. Silence alone proves nothing: its listing may lag, and
    forgets old messages.
    """
    before = {report.provider_id for report in await _reports_of(run, ids)}
    count, problem = 0, None
    try:
        count, _ = await run.gateway.withdraw(ids)
    except GatewayError as error:
        problem = error  # it may have been done all the same
    after = await _reports_of(run, ids)
    listed = {report.provider_id for report in after}
    await run.do(reporting.apply_reports, after)
    gone = [one for one in ids if one not in listed]
    surely = gone if len(gone) <= count else [one for one in gone if one in before]
    withdrawn = await run.do(reporting.mark_cancelled, surely)
    if problem is not None and len(surely) < len(ids):
        raise problem
    return withdrawn


async def withdraw_surplus(run: CampaignRun) -> int:
    """Withdraw copies beyond the first of every number that was sent to again; returns how many were.

    Raises:
        TryAgain: the provider could not be asked; may be repeated.
    """
    resent = await run.do(reconciling.resent_messages, run.campaign)
    withdrawn = 0
    for phones in _slices(list(resent)):
        for _ in range(_MOST_ROUNDS):
            surplus = _surplus(await _copies(run, phones), resent)
            if not surplus:
                break
            withdrawn += (await run.gateway.withdraw(surplus))[0]
    return withdrawn


def _surplus(copies: Sequence[Report], resent: Mapping[Phone, str | None]) -> list[str]:
    """The ids of the copies beyond one for each number: the one the ledger knows stays; where it knows none, the first."""
    kept = {phone: provider_id for phone, provider_id in resent.items() if provider_id}
    for copy in copies:
        if copy.phone is not None:
            kept.setdefault(copy.phone, copy.provider_id)
    return [copy.provider_id for copy in copies if copy.phone is not None and copy.provider_id != kept[copy.phone]]


async def _copies(run: CampaignRun, phones: Sequence[Phone]) -> list[Report]:
    """What the provider still holds of this campaign for these numbers and no other message of ours accounts for."""
    since = (await run.do(reconciling.first_attempt, run.campaign) or time.time()) - CLOCK_SKEW_SECONDS
    reports = await _all_pages(run, phones=phones, since=datetime.fromtimestamp(since, UTC))
    held = [report for report in reports if report.state == MessageState.SCHEDULED and is_titled(report, run.campaign)]
    resent = await run.do(reconciling.resent_messages, run.campaign)
    others = await run.do(reconciling.bound_ids, [report.provider_id for report in held]) - {
        provider_id for provider_id in resent.values() if provider_id
    }
    return [report for report in held if report.provider_id not in others]


async def _reports_of(run: CampaignRun, ids: Sequence[str]) -> list[Report]:
    return await _all_pages(run, ids=ids, limit=IDS_PER_REQUEST)


async def _all_pages(run: CampaignRun, **query: object) -> list[Report]:
    reports: list[Report] = []
    page = pages = 1
    while page <= pages:
        answer = await run.gateway.reports(page=page, **query)  # type: ignore[arg-type]
        reports += answer.reports
        page, pages = page + 1, answer.pages
    return reports


def _slices(phones: Sequence[Phone]) -> Iterator[Sequence[Phone]]:
    for at in range(0, len(phones), PHONES_PER_REQUEST):
        yield phones[at : at + PHONES_PER_REQUEST]


def _stop_claims(name: str) -> tuple[int, int]:
    """How many messages were cancelled before, and how many are now because nothing more is sent."""
    ledger = Ledger(load_settings().database_url)
    try:
        campaign = campaigns.get(ledger, name, kind=Kind.CAMPAIGN)
        return totals.totals(ledger, campaign)["cancelled"], campaigns.cancel(ledger, campaign)
    finally:
        ledger.close()
