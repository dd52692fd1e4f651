"""The provider's listing as evidence: it is read whole and must not change meanwhile; every row passes the same tests.

A row is a message's own only if number, title, time and id fit. The same tests decide whether a listing proves anything:
messages that we know were taken (controls) must be listed and pass them, each by the time of its own claim.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from posthorn.content.plain import without_numbers
from posthorn.delivery.running.run import CampaignRun
from posthorn.errors import InputError
from posthorn.gateways.descriptor import Account
from posthorn.ledger import proof_exclusion, reconciling
from posthorn.ledger.deliveries import PlannedCampaign
from posthorn.ledger.reconciling import MISMATCH, Control, Unconfirmed
from posthorn.models import PROVIDER_SKEW_SECONDS, MessageState, Phone, Report

LISTED_SECONDS = 7 * 86_400.0
"""For how long a message is surely listed: some of the provider's listings forget after 14 days (reference, inferred)."""

_AROUND_SECONDS = 26 * 3600.0
"""Whatever the zone of the provider's dates: this far around the window a copy of ours is found, and seen to be odd."""

_CONTROLS = 3
_ORDERS = ("asc", "desc") * 2
"""A listing that changes is read at most so often."""
_IN_PROOF = (
    "a proof of unknown outcome went to this number, so a row of it may be either's: look into the provider's panel, and"
    " `posthorn campaign resolve`"
)
_SHARE_OF_HOLD = 0.1


@dataclass(frozen=True, slots=True)
class Expected:
    """What the row of a message must show: its number, its campaign's title, a time of queueing in ``window``.

    ``asked`` is when its request was under way; the window is wider. All in seconds, by our clock.
    """

    phone: Phone
    title: str
    asked: tuple[float, float]
    window: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a listing proves nothing about what it lacks. ``kind`` is one of ``reconciling.DOUBTS``."""

    kind: str
    words: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What the provider lists for some numbers. ``doubt`` is None if what is missing from it was surely not taken.

    ``bound`` are the listed ids that already belong to messages of this ledger, ``window`` is the covered time in words. A
    row of a number ``in_proof`` may belong to a proof whose outcome is not known.
    """

    by_phone: Mapping[Phone, Sequence[Report]]
    bound: frozenset[str]
    doubt: Doubt | None
    window: str
    in_proof: frozenset[Phone] = frozenset()


async def read_listing(run: CampaignRun, messages: Sequence[Unconfirmed]) -> Listing:
    """All that the provider lists for the messages' numbers, from well before the first may have been taken until now.

    Raises:
        TryAgain: the provider could not be asked.
    """
    now, first, last = time.time(), min(message.since for message in messages), max(message.until for message in messages)
    controls = await run.do(reconciling.controls, run.delivery, last, _CONTROLS, not_before=now - LISTED_SECONDS)
    since = min([first, *(control.since for control in controls)]) - _AROUND_SECONDS
    until = now + _AROUND_SECONDS
    phones = [*dict.fromkeys([message.phone for message in messages] + [control.phone for control in controls])]
    reports, is_steady = await read_all(run, phones, since, until)
    bound = frozenset(await run.do(reconciling.bound_ids, [report.provider_id for report in reports]))
    by_phone: defaultdict[Phone, list[Report]] = defaultdict(list)
    for report in reports:
        if report.phone is not None:
            by_phone[report.phone].append(report)
    doubt = _doubt_of(run.account, controls, reports, bound, is_steady=is_steady)
    in_proof = frozenset(await run.do(proof_exclusion.open_with, run.delivery.gateway, phones, since))
    return Listing(by_phone, bound, doubt, f"{moment(since)} to {moment(now)}", in_proof)


async def read_all(
    run: CampaignRun, phones: Sequence[Phone], since: float, until: float | None = None
) -> tuple[list[Report], bool]:
    """Every row that any reading showed, and whether one was the whole listing: read once from each end, both times alike.

    Rows may move between two pages, so that one is shown twice and another not at all; or an answer lacks some. If that
    happens again in the same way, it is other rows that are not shown from the other end.

    If the provider lists more than it shows at once, it is asked about half of the numbers, and so on.

    Raises:
        TryAgain: the provider could not be asked.
        InputError: it does not show all it has of a single number.
    """
    try:
        return await _read_as_one(run, phones, since, until)
    except InputError:
        if len(phones) == 1:
            raise
    half = len(phones) // 2
    parts = [await read_all(run, some, since, until) for some in (phones[:half], phones[half:])]
    return [report for reports, _ in parts for report in reports], all(is_whole for _, is_whole in parts)


async def _read_as_one(
    run: CampaignRun, phones: Sequence[Phone], since: float, until: float | None
) -> tuple[list[Report], bool]:
    seen: dict[str, Report] = {}
    last: set[str] | None = None
    for order in _ORDERS:
        rows, is_whole = await _read_once(run, phones, since, until, order)
        seen |= rows
        if is_whole and rows.keys() == last:
            return list(seen.values()), True
        last = set(rows) if is_whole else None
    return list(seen.values()), False


async def _read_once(
    run: CampaignRun, phones: Sequence[Phone], since: float, until: float | None, order: str
) -> tuple[dict[str, Report], bool]:
    """Every page once: the rows by their ids, and whether they are the pages of one listing.

    They are not if the number of pages changes, a page repeats rows of another, a middle page is shorter than the first, or
    a row has no id.
    """
    rows: dict[str, Report] = {}
    page = pages = size = 1
    is_whole = True
    window = datetime.fromtimestamp(since, UTC), None if until is None else datetime.fromtimestamp(until, UTC)
    while page <= pages:
        answer = await run.gateway.reports(phones=phones, since=window[0], until=window[1], page=page, order=order)
        if page == 1:
            pages, size = answer.pages, len(answer.reports)
        new = {report.provider_id: report for report in answer.reports if report.provider_id not in rows}
        if page > 1 and not new:
            return rows, False  # and a listing that only repeats itself might have no end
        is_short = page < pages and len(answer.reports) < size
        is_repeated = len(new) < len(answer.reports) or answer.page != page
        is_whole = is_whole and answer.pages == pages and not (is_short or is_repeated or answer.passed_over)
        rows |= new
        page, pages = page + 1, answer.pages
    return rows, is_whole


def candidates(run: CampaignRun, message: Unconfirmed, listing: Listing) -> list[Report]:
    """Rows that can only be this message: its number, its campaign's title, its time, and an id nobody else has.

    A message of another campaign with that title, days later, is not among them. A refusal says nothing about a later
    attempt: it may belong to the first one (the credit ran out, and was topped up).
    """
    if message.phone in listing.in_proof:
        return []
    expected = _expected(run, message)
    return [
        report
        for report in listing.by_phone.get(message.phone, ())
        if report.provider_id not in listing.bound
        and not _differences(report, expected, run.account)
        and (report.state != MessageState.REJECTED or message.attempts == 1)
    ]


def stray(run: CampaignRun, message: Unconfirmed, listing: Listing) -> Doubt | None:
    """A row of the message's number that nobody accounts for. It may be this very message, listed differently than sent.

    That is any row in its window, or one with its title at any time. Refused rows reached nobody.
    """
    if message.phone in listing.in_proof:
        return Doubt("stray", _IN_PROOF)
    expected = _expected(run, message)
    for report in listing.by_phone.get(message.phone, ()):
        if report.provider_id in listing.bound or report.state == MessageState.REJECTED:
            continue
        if _is_within(report, expected.window, run.account) or is_titled(report, run.delivery):
            differences = _differences(report, expected, run.account)
            words = " and ".join(differences) or "which is like it"
            return Doubt("stray", f"a message to this number is listed that nobody here has sent: {words}")
    return None


def is_titled(report: Report, campaign: PlannedCampaign) -> bool:
    """Whether the report is about a message with the campaign's title; XML loses the spaces around one."""
    return _is_titled(report, campaign.content.title)


def settle_seconds(account: Account, hold_minutes: int | None) -> float:
    """The time between the two looks; shorter for a held campaign, which has to be settled before it is dispatched."""
    chosen = account.settle_seconds
    return min(chosen, hold_minutes * 60 * _SHARE_OF_HOLD) if hold_minutes else chosen


def _doubt_of(
    account: Account, controls: Sequence[Control], reports: Sequence[Report], bound: frozenset[str], *, is_steady: bool
) -> Doubt | None:
    """Why a message that is not listed may still have been taken."""
    checked = [_doubt_by(account, control, reports, bound) for control in controls]
    doubts = [doubt for doubt in checked if doubt is not None]
    mismatch = next((doubt for doubt in doubts if doubt.kind == MISMATCH), None)
    if mismatch is not None:
        return mismatch
    if not is_steady:
        return Doubt("unsteady", "the listing changed each time it was read, so what it lacks proves nothing")
    if any(report.phone is None and report.provider_id not in bound for report in reports):
        return Doubt("unsteady", "a message is listed without a number that can be read: it may be anybody's")
    if not controls:
        return Doubt("no control", "this ledger has no message taken of late that the listing would have to show as well")
    return doubts[0] if doubts else None


def _doubt_by(account: Account, control: Control, reports: Iterable[Report], bound: frozenset[str]) -> Doubt | None:
    """What a message that was surely taken says against the listing; None if it is listed as it must be."""
    which = f"a message of {control.campaign} that was taken at {moment(control.since)}"
    sent_as = _SentAs(control.title, control.hold_minutes, [control.send_at])
    expected = _window(account, sent_as, control.phone, control.since, control.until)
    own = next((report for report in reports if report.provider_id == control.provider_id), None)
    if own is not None:
        differences = _differences(own, expected, account)
        return Doubt(MISMATCH, f"{which} is listed, but {' and '.join(differences)}") if differences else None
    others = (report for report in reports if report.phone == control.phone and report.provider_id not in bound)
    if any(not _differences(report, expected, account) for report in others):
        return Doubt(MISMATCH, f"{which} is listed, but under another id than it was taken with")
    return Doubt("no control", f"{which} is not listed either")


def _expected(run: CampaignRun, message: Unconfirmed) -> Expected:
    """Expected by what its own requests named: the campaign's moment may have been moved since."""
    content = run.delivery.content
    moments = [message.send_at, content.send_at.timestamp() if content.send_at else None]
    sent_as = _SentAs(message.title or content.title, content.hold_minutes, moments)
    return _window(run.account, sent_as, message.phone, message.since, message.until)


class _SentAs(NamedTuple):
    """What the request named; for several requests, every moment of dispatch (seconds) that one may have had."""

    title: str
    hold_minutes: int | None
    moments: Sequence[float | None]


def _window(account: Account, sent_as: _SentAs, phone: Phone, since: float, until: float) -> Expected:
    """What is expected of a message whose requests were under way from ``since`` to ``until``.

    It is queued until the looks are over at the latest, or at its dispatch where that is later: whether the provider's date
    of a message that it keeps is that of the request or of the dispatch is not documented.
    """
    moments = [until + (sent_as.hold_minutes or 0) * 60, *(one for one in sent_as.moments if one is not None)]
    latest = max(moments) + settle_seconds(account, sent_as.hold_minutes) + PROVIDER_SKEW_SECONDS
    return Expected(phone, sent_as.title, (since, max(moments)), (since - PROVIDER_SKEW_SECONDS, latest))


def _differences(report: Report, expected: Expected, account: Account) -> list[str]:
    """How the row differs from what is expected, in words; nothing if it passes every test."""
    found = []
    if report.phone != expected.phone:
        found.append("under another number")
    if not _is_titled(report, expected.title):
        found.append(
            f'its title differs: "{without_numbers(report.title or "")}" instead of "{without_numbers(expected.title)}"'
        )
    if not _is_within(report, expected.window, account):
        found.append(_clock_words(report, expected, account))
    return found


def _is_titled(report: Report, title: str) -> bool:
    return (report.title or "").strip() == title.strip()


def _is_within(report: Report, window: tuple[float, float], account: Account) -> bool:
    """Whether it was queued in the window; a row without a date may have been."""
    return any(window[0] <= queued <= window[1] for queued in _queued(report, account)) or report.queued_at is None


def _queued(report: Report, account: Account) -> list[float]:
    return [] if report.queued_at is None else by_our_clock(report.queued_at, account)


def by_our_clock(moment: datetime, account: Account) -> list[float]:
    """When it was by our clock, in seconds. In the hour that repeats in autumn, either reading of the date counts.

    How far its clock is ahead is known where the account was probed.
    """
    local = moment.astimezone(ZoneInfo(account.timezone))
    return [local.replace(fold=fold).timestamp() - account.clock_offset_seconds for fold in (0, 1)]


def _clock_words(report: Report, expected: Expected, account: Account) -> str:
    """``its clock is off by 3,600 s``, and what may be the cause."""
    since, until = expected.asked
    offsets = [queued - since if queued < since else queued - until for queued in _queued(report, account)]
    off = min(offsets, key=abs)
    side = "before" if off < 0 else "after"
    return f"it is dated {abs(off):,.0f} s {side} its request: the provider's clock, ours or the TIMEZONE setting is off"


def moment(seconds: float) -> str:
    """A time as evidence has it: ``2026-11-30 08:00:00 UTC``."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
