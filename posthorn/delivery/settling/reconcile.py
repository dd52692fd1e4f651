"""Reconciling: ask the provider what it has of the messages whose outcome is unknown, and settle what that proves.

Found means taken. Not found is weaker: only a second look, ``SETTLE_SECONDS`` after the first, in a listing that shows the
messages we know were taken as they were sent (``listing.py``), counts as absent. An absent message stays unknown, unless its
request was refused with a bare HTTP 429, or the campaign says ``resend_unconfirmed`` or is held: then it is sent again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from posthorn.delivery.running.run import CampaignRun
from posthorn.delivery.settling.listing import (
    LISTED_SECONDS,
    Doubt,
    Listing,
    candidates,
    moment,
    read_listing,
    settle_seconds,
    stray,
)
from posthorn.ledger import deliveries, reconciling, totals
from posthorn.ledger.claims import Claim
from posthorn.ledger.reconciling import DOUBTS, Settlement, Unconfirmed
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import PROVIDER_SKEW_SECONDS, Kind, MessageState, Report
from posthorn.settings import Settings

_RESENDS_IF_HELD = 5
_TOO_MANY_REQUESTS = 429
_HEED_SECONDS = 1.0
_DOUBTS_SAID = 3
_MAY_PASS = ("no control", "unsteady", "stray")
"""Doubts that time may end. A mismatch and a wrong clock need a person."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a reconciliation did: unknown before, found taken, absent with evidence, to be sent again, unknown after."""

    looked_up: int
    found: int
    absent: int
    resend: int
    unknown: int


def findings(name: str | None = None, *, settings: Settings | None = None) -> list[str]:
    """Why lookups prove nothing at present, for one campaign or all: a sentence each. Asks the ledger, not the provider."""
    with open_ledger(settings) as ledger:
        campaign = None if name is None else deliveries.get(ledger, name, kind=Kind.CAMPAIGN)
        return [
            f"{one.messages:,} unknown messages of {one.campaign} cannot be settled: {one.what}"
            for one in reconciling.findings(ledger, campaign)
        ]


async def seconds_to_next_look(run: CampaignRun) -> float | None:
    """How long until another look can settle more; None if nothing is unknown, or only a person can settle it."""
    if not run.descriptor.looks_up:
        return None
    now = time.time()
    looks = [
        _next_moment(run, message, now)
        async for messages in _pages(run, reconciling.unconfirmed)
        for message in messages
        if _may_be_sent_again(run, message)
    ]
    return min((max(0.0, look - now) for look in looks if look is not None), default=None)


NEXT_LOOK = "to look again at messages of unknown outcome; nothing else is left to do"


async def wait_unless_stopped(run: CampaignRun, seconds: float, what_for: str = NEXT_LOOK) -> bool:
    """Wait that long, and show what for; False as soon as this or another process has stopped the run."""
    until = time.monotonic() + seconds
    with run.waiting_for(what_for, time.time() + seconds):
        while not run.is_stopped() and (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _HEED_SECONDS))
            await run.refresh()
    return not run.is_stopped()


def _next_moment(run: CampaignRun, message: Unconfirmed, now: float) -> float | None:
    """When looking again may settle this message by itself, or None.

    If the listing proved nothing, there is one more look when the settle time is over: it may have lagged.
    """
    if message.last_decision == "look":
        return next_look(run, message)
    once_more = message.until + settle_seconds(run.account, run.delivery.content.hold_minutes)
    return once_more if message.last_decision in _MAY_PASS and once_more > now else None


async def reconcile(run: CampaignRun) -> Reconciled:
    """Look up every message of unknown outcome once and settle what that proves.

    Raises:
        TryAgain: the provider could not be asked; nothing is concluded from silence.
    """
    if run.delivery.test or not run.descriptor.looks_up:  # a test sent nothing, so the provider lists nothing
        return Reconciled(0, 0, 0, 0, (await run.do(totals.totals, run.delivery))["unknown"])
    looked_up = 0
    counts: Counter[str] = Counter()
    doubts: Counter[str] = Counter()
    async for messages in _pages(run, reconciling.unconfirmed):
        looked_up += len(messages)
        decisions = await _look_up(run, messages)
        counts.update(decision.decision for decision in decisions)
        doubts.update(decision.evidence for decision in decisions if decision.decision in DOUBTS)
    _warn(run, doubts)
    await _name_ids(run)
    if run.delivery.cancelled_at is not None:
        await run.do(deliveries.cancel, run.delivery)  # what proved to be refused is not to be sent again
    settled = counts["found"] + counts["resend"]
    return Reconciled(looked_up, counts["found"], counts["absent"], counts["resend"], looked_up - settled)


async def _name_ids(run: CampaignRun) -> None:
    """Find the ids of messages that were taken but not named, because later reports name only ids."""
    async for messages in _pages(run, reconciling.without_id):
        listing = await read_listing(run, messages)
        decisions = [_found(own, message) for message in messages if (own := candidates(run, message, listing))]
        await run.do(reconciling.settle, run.delivery, decisions, by="reconcile")


async def _pages(run: CampaignRun, verb: Callable[..., list[Unconfirmed]]) -> AsyncIterator[list[Unconfirmed]]:
    last = (0, 0)
    while messages := await run.do(verb, run.delivery, run.descriptor.bounds.numbers_per_lookup, last):
        last = (messages[-1].chunk_id, messages[-1].position)
        yield messages


async def confirm_refused(run: CampaignRun, claimed: Claim) -> None:
    """Look up a chunk whose request was answered with a bare HTTP 429. What the provider lists was taken anyway.

    No page of the provider says that such a request was not carried out, and its listing may lag: only the second look,
    which comes with the reconciliation, makes the rest pending again.
    """
    if not run.descriptor.looks_up:
        return
    messages = await run.do(
        reconciling.unconfirmed, run.delivery, len(claimed.phones), (claimed.chunk_id, -1), last_chunk=claimed.chunk_id
    )
    await _look_up(run, [message for message in messages if message.position in claimed.positions])


async def _look_up(run: CampaignRun, messages: Sequence[Unconfirmed]) -> list[Settlement]:
    """Look these messages up, and settle what that proves."""
    listing = await read_listing(run, messages)
    now = time.time()
    decisions = []
    for message in messages:
        own = candidates(run, message, listing)
        decisions.append(_found(own, message) if own else _decision(run, message, listing, now))
    await run.do(reconciling.settle, run.delivery, decisions, by="reconcile")
    return decisions


def _warn(run: CampaignRun, doubts: Counter[str]) -> None:
    """Say in the run's log why messages that were not found are not called absent."""
    for words, count in doubts.most_common(_DOUBTS_SAID):
        _logger.warning("%s: %d unknown messages cannot be settled: %s", run.delivery.name, count, words)


def _decision(run: CampaignRun, message: Unconfirmed, listing: Listing, now: float) -> Settlement:
    """The decision on a message that no report is about."""
    doubt = _doubt_about(message, now) or listing.doubt or stray(run, message, listing)
    if doubt is not None:
        return Settlement(message, doubt.kind, MessageState.UNKNOWN, doubt.words)
    seen = f"not listed from {listing.window}"
    if message.absent_since is None or now < next_look(run, message):
        return Settlement(message, "look", MessageState.UNKNOWN, f"{seen}; to be looked up again")
    if message.status == _TOO_MANY_REQUESTS:
        return Settlement(message, "refused", MessageState.PENDING, f"refused with HTTP 429, and {seen}, twice")
    if message.resends < most_resends(run):
        return Settlement(message, "resend", MessageState.PENDING, f"{seen}, twice; sent again as the campaign says")
    return Settlement(message, "absent", MessageState.UNKNOWN, f"{seen}, twice, though messages that were taken are listed")


def _doubt_about(message: Unconfirmed, now: float) -> Doubt | None:
    """Why no listing says anything about this message: it was claimed too long ago, or in the future."""
    if message.since > now + PROVIDER_SKEW_SECONDS:
        return Doubt("wrong clock", f"claimed at {moment(message.since)}, which has not come yet: a clock is or was wrong")
    if now - message.since > LISTED_SECONDS:
        return Doubt("no control", "its request was made too long ago for the provider to list it for certain")
    return None


def _may_be_sent_again(run: CampaignRun, message: Unconfirmed) -> bool:
    """Whether a second look that finds nothing makes the message pending."""
    return message.status == _TOO_MANY_REQUESTS or message.resends < most_resends(run)


def most_resends(run: CampaignRun) -> int:
    """How often a message that the provider does not list may be sent again.

    Never, unless a person chose so. ``resend_unconfirmed`` allows one more attempt. A held campaign may have a few: a second
    copy is withdrawn before it is dispatched. Not if a probe saw that nothing can be withdrawn.
    """
    if run.delivery.cancelled_at is not None:
        return 0
    if run.delivery.content.hold_minutes and run.account.takes_back:
        return _RESENDS_IF_HELD
    return 1 if run.delivery.options.get("resend_unconfirmed") else 0


def next_look(run: CampaignRun, message: Unconfirmed) -> float:
    """When the second look at a message may count."""
    settle = settle_seconds(run.account, run.delivery.content.hold_minutes)
    return max(message.absent_since or message.until, message.until) + settle


def _found(own: Sequence[Report], message: Unconfirmed) -> Settlement:
    report = own[0]
    surplus = f"; {len(own) - 1} more like it: it may have been taken twice" if len(own) > 1 else ""
    return Settlement(
        message, "found", report.state, f"listed as {report.status}{surplus}", report.provider_id, error=report.reason
    )
