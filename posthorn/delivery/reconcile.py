"""Reconciling: ask the provider what it has of the messages whose outcome is unknown, and settle what that proves.

Found means taken. Not found is weaker: only a second look, ``SETTLE_SECONDS`` after the first, in a listing that does show a
message we know was taken, counts as absent; and an absent message stays unknown, unless the campaign says
``resend_unconfirmed`` or is held, and then it is sent again once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tabulate import tabulate

from posthorn.delivery.run import CampaignRun
from posthorn.ledger import campaigns, reconciling, totals
from posthorn.ledger.campaigns import CampaignRecord
from posthorn.ledger.reconciling import Decision, Unconfirmed
from posthorn.ledger.sending import Claim
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MessageState, Phone, Report, mask_phone
from posthorn.settings import load_settings

PHONES_PER_REQUEST = 200
CLOCK_SKEW_SECONDS = 900.0
"""How far the provider's clock and ours may be apart; its dates carry no zone, so the window is generous."""
_CONTROLS = 3
_SHARE_OF_HOLD = 0.1
_RESENDS_IF_HELD = 5
_MOST_READINGS = 3
_SHOWN = 50
_TOO_MANY_REQUESTS = 429
_HEED_SECONDS = 1.0
_SURELY_AHEAD_SECONDS = 5.0
_LISTED_SECONDS = 7 * 86_400.0
"""For how long a message is surely listed: some of the provider's listings forget after 14 days (reference, inferred)."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a reconciliation did: unknown before, found taken, absent with evidence, to be sent again, unknown after."""

    looked_up: int
    found: int
    absent: int
    resend: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What the provider lists for some numbers in a window. ``shows_control`` is whether a known message is in it."""

    by_phone: Mapping[Phone, Sequence[Report]]
    shows_control: bool
    window: str


def unknown_table(name: str) -> str:
    """Every message of unknown outcome with its evidence, masked, as text: what an operator decides by."""
    ledger = Ledger(load_settings().database_url)
    try:
        rows = reconciling.evidence_of(ledger, campaigns.get(ledger, name))
    finally:
        ledger.close()
    shown = [
        (row.chunk_id, row.line, mask_phone(row.phone), row.problem, row.evidence or "not looked up yet") for row in rows
    ]
    return tabulate(
        shown[:_SHOWN], headers=("chunk", "line", "number", "what happened", "what the provider lists"), maxcolwidths=50
    ) + (f"\nand {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else "")


async def seconds_to_next_look(run: CampaignRun) -> float | None:
    """How long until looking again can settle more by itself; None when nothing is unknown or only a person can."""
    now = time.time()
    moments = [
        _next_moment(run, message, now)
        async for messages in _pages(run, reconciling.unconfirmed)
        for message in messages
        if _may_be_sent_again(run, message)
    ]
    return min((max(0.0, moment - now) for moment in moments if moment is not None), default=None)


async def waited(run: CampaignRun, seconds: float, reason: str) -> bool:
    """Wait so long, and say for what; False as soon as the run is to stop, by this process or another."""
    until = time.monotonic() + seconds
    with run.waiting_for(reason, time.time() + seconds):
        while not run.is_stopped() and (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _HEED_SECONDS))
            await run.heed()
    return not run.is_stopped()


def _next_moment(run: CampaignRun, message: Unconfirmed, now: float) -> float | None:
    """When looking again may settle this message by itself, or None.

    Without a control there is one more look when the settle time is over: the whole listing may have lagged.
    """
    if message.last_decision == "look":
        return next_look(run, message)
    moment = message.until + settle_seconds(run)
    return moment if message.last_decision == "no control" and moment > now else None


async def reconcile(run: CampaignRun) -> Reconciled:
    """Look up every message of unknown outcome once and settle what that proves.

    Raises:
        TryAgain: the provider could not be asked; nothing is concluded from silence.
    """
    if run.campaign.test:  # a test sent nothing, so the provider lists nothing
        return Reconciled(0, 0, 0, 0, (await run.do(totals.totals, run.campaign))["unknown"])
    looked_up = 0
    counts: defaultdict[str, int] = defaultdict(int)
    async for messages in _pages(run, reconciling.unconfirmed):
        looked_up += len(messages)
        listing = await read_listing(run, messages)
        now = time.time()
        decisions = [
            _found(candidates, message) if candidates else _decision(run, message, listing, now)
            for message, candidates in await _with_candidates(run, messages, listing)
        ]
        await run.do(reconciling.settle, run.campaign, decisions, by="reconcile")
        for decision in decisions:
            counts[decision.decision] += 1
    await _name_ids(run)
    if run.campaign.cancelled_at is not None:
        await run.do(campaigns.cancel, run.campaign)  # what proved to be refused is not to be sent again
    if counts["wrong clock"]:
        line = "%d claims are dated in the future: the clock was ahead then, or is behind now; only a person can settle them"
        _logger.warning(line, counts["wrong clock"])
    settled = counts["found"] + counts["resend"]
    return Reconciled(looked_up, counts["found"], counts["absent"], counts["resend"], looked_up - settled)


async def _name_ids(run: CampaignRun) -> None:
    """Find the ids of messages that were taken by count, without ids: later reports can only name ids."""
    async for messages in _pages(run, reconciling.without_id):
        listing = await read_listing(run, messages)
        decisions = [
            _found(candidates, message)
            for message, candidates in await _with_candidates(run, messages, listing)
            if candidates
        ]
        await run.do(reconciling.settle, run.campaign, decisions, by="reconcile")


async def _pages(run: CampaignRun, verb: Callable[..., list[Unconfirmed]]) -> AsyncIterator[list[Unconfirmed]]:
    last = (0, 0)
    while messages := await run.do(verb, run.campaign, PHONES_PER_REQUEST, last):
        last = (messages[-1].chunk_id, messages[-1].position)
        yield messages


async def read_listing(run: CampaignRun, messages: Sequence[Unconfirmed]) -> Listing:
    """All the provider lists for the messages' numbers since the first of them may have been taken, to the last page."""
    since = min(_earliest(message) for message in messages) - CLOCK_SKEW_SECONDS
    until = time.time() + CLOCK_SKEW_SECONDS
    controls = await run.do(reconciling.controls, run.campaign, messages[0].since, _CONTROLS)
    phones = [*dict.fromkeys([message.phone for message in messages] + list(controls.values()))]
    reports = await _read_all(run, phones, since, until)
    by_phone: defaultdict[Phone, list[Report]] = defaultdict(list)
    for report in reports:
        if report.phone is not None:
            by_phone[report.phone].append(report)
    shows_control = any(report.provider_id in controls for report in reports)
    return Listing(by_phone, shows_control, f"{_moment(since)} to {_moment(until)}")


async def _read_all(run: CampaignRun, phones: Sequence[Phone], since: float, until: float) -> list[Report]:
    """Every page; from the start again when the number of pages changes meanwhile, for then rows may have moved."""
    reports: list[Report] = []
    for _ in range(_MOST_READINGS):
        reports, page, pages, steady = [], 1, 1, True
        while page <= pages:
            answer = await run.gateway.reports(
                phones=phones, since=datetime.fromtimestamp(since, UTC), until=datetime.fromtimestamp(until, UTC), page=page
            )
            steady = steady and (page == 1 or answer.pages == pages)
            reports += answer.reports
            page, pages = page + 1, answer.pages
        if steady:
            break
    return reports


async def confirm_refused(run: CampaignRun, claimed: Claim) -> None:
    """Look up a chunk whose request was answered with a bare HTTP 429; what the provider lists was taken all the same.

    No page of the provider says that such a request was not carried out, and its listing may lag: only the second look,
    which comes with the reconciliation, makes the rest pending again.
    """
    messages = await run.do(
        reconciling.unconfirmed, run.campaign, len(claimed.phones), (claimed.chunk_id, -1), last_chunk=claimed.chunk_id
    )
    ours = [message for message in messages if message.position in claimed.positions]
    listing = await read_listing(run, ours)
    decisions = [
        _found(candidates, message) if candidates else _decision(run, message, listing, time.time())
        for message, candidates in await _with_candidates(run, ours, listing)
    ]
    await run.do(reconciling.settle, run.campaign, decisions, by="reconcile")


async def _with_candidates(
    run: CampaignRun, messages: Sequence[Unconfirmed], listing: Listing
) -> list[tuple[Unconfirmed, list[Report]]]:
    """Each message with the reports that can only be its own."""
    ids = [report.provider_id for reports in listing.by_phone.values() for report in reports]
    bound = await run.do(reconciling.bound_ids, ids)
    return [(message, _candidates(run, message, listing, bound)) for message in messages]


def _candidates(run: CampaignRun, message: Unconfirmed, listing: Listing, bound: set[str]) -> list[Report]:
    """Reports that can only be this message: its number, the campaign's title, its time, and an id nobody else has.

    A message of another campaign with that title, days later, is none of them.
    A refusal says nothing of a later attempt: it may be that of the first (the credit ran out, and was topped up).
    """
    window = (_earliest(message) - CLOCK_SKEW_SECONDS, _latest(run, message))
    return [
        report
        for report in listing.by_phone.get(message.phone, ())
        if report.provider_id not in bound
        and is_titled(report, run.campaign)
        and (report.queued_at is None or _is_within(report.queued_at, window, run.settings.serwersms.timezone))
        and (report.state != MessageState.REJECTED or message.attempts == 1)
    ]


def _earliest(message: Unconfirmed) -> float:
    """When the message may have been taken at the earliest: a claim that is dated after its own end was not made then."""
    return min(message.since, message.until, time.time())


def is_titled(report: Report, campaign: CampaignRecord) -> bool:
    """Whether the report is about a message with the campaign's title; XML loses the spaces around one."""
    return (report.title or "").strip() == str(campaign.definition["title"]).strip()


def _latest(run: CampaignRun, message: Unconfirmed) -> float:
    """When the message may have been queued at the latest: until the looks are over, or its dispatch where that is later.

    Whether the provider's date of a message that it keeps is that of the request or of the dispatch is not documented.
    """
    definition = run.campaign.definition
    moments = [message.until + (definition.get("hold_minutes") or 0) * 60]
    if definition.get("send_at"):
        moments.append(datetime.fromisoformat(definition["send_at"]).timestamp())
    return max(moments) + settle_seconds(run) + CLOCK_SKEW_SECONDS


def _is_within(moment: datetime, window: tuple[float, float], zone: str) -> bool:
    """Whether the moment is in the window; in the hour that autumn repeats, either reading of the provider's date counts."""
    local = moment.astimezone(ZoneInfo(zone))
    return any(window[0] <= local.replace(fold=fold).timestamp() <= window[1] for fold in (0, 1))


def _decision(run: CampaignRun, message: Unconfirmed, listing: Listing, now: float) -> Decision:
    """What to make of a message that no report is about."""
    seen = f"not listed from {listing.window}"
    refused = message.status == _TOO_MANY_REQUESTS  # the provider's own word; the looks only make sure
    if doubt := _doubt(message, now):
        return Decision(message, doubt[0], MessageState.UNKNOWN, f"{seen}; but {doubt[1]}")
    if not (listing.shows_control or refused):
        return Decision(message, "no control", MessageState.UNKNOWN, f"{seen}; but no known message was listed either")
    if message.absent_since is None or now < next_look(run, message):
        return Decision(message, "look", MessageState.UNKNOWN, f"{seen}; to be looked up again")
    if refused:
        return Decision(message, "refused", MessageState.PENDING, f"refused with HTTP 429, and {seen}, twice")
    if message.resends < most_resends(run):
        return Decision(message, "resend", MessageState.PENDING, f"{seen}, twice; sent again as the campaign says")
    return Decision(message, "absent", MessageState.UNKNOWN, f"{seen}, twice, though a known message was listed")


def _doubt(message: Unconfirmed, now: float) -> tuple[str, str] | None:
    """Why no listing can show that this message is absent, as a decision and in words; None where one can."""
    ahead = message.since - now
    if ahead > _SURELY_AHEAD_SECONDS:
        dated = f"its claim is dated {_moment(message.since)}, {_minutes(ahead)} ahead of the clock now"
        return "wrong clock", f"{dated}: the clock was ahead then, or is behind now, so no window of time can be trusted"
    if -ahead > _LISTED_SECONDS:
        return "no control", "it is too old to be listed for certain"
    return None


def _may_be_sent_again(run: CampaignRun, message: Unconfirmed) -> bool:
    """Whether a second look that finds nothing makes the message pending."""
    return message.status == _TOO_MANY_REQUESTS or message.resends < most_resends(run)


def most_resends(run: CampaignRun) -> int:
    """How often a message may be sent again that the provider does not list.

    Never, unless a person chose: ``resend_unconfirmed`` allows one more attempt; a held campaign a few, for what turns out
    to be a second copy is withdrawn before it is dispatched.
    """
    if run.campaign.cancelled_at is not None:
        return 0
    if run.campaign.definition.get("hold_minutes"):
        return _RESENDS_IF_HELD
    return 1 if run.campaign.options.get("resend_unconfirmed") else 0


def settle_seconds(run: CampaignRun) -> float:
    """The time between the two looks; shorter for a held campaign, which has to be settled before it is dispatched."""
    hold_minutes = run.campaign.definition.get("hold_minutes")
    chosen = run.settings.serwersms.settle_seconds
    return min(chosen, hold_minutes * 60 * _SHARE_OF_HOLD) if hold_minutes else chosen


def next_look(run: CampaignRun, message: Unconfirmed) -> float:
    """When the second look at a message may count."""
    return max(message.absent_since or message.until, message.until) + settle_seconds(run)


def _found(candidates: Sequence[Report], message: Unconfirmed) -> Decision:
    report = candidates[0]
    surplus = f"; {len(candidates) - 1} more like it: it may have been taken twice" if len(candidates) > 1 else ""
    return Decision(
        message, "found", report.state, f"listed as {report.status}{surplus}", report.provider_id, error=report.reason
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:,.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
