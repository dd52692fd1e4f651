"""The restore check: before the first claim of every run, is this ledger older than what was sent? Then nothing is sent.

Two witnesses are outside the ledger: this machine's mark of its claims, and the provider's list. The mark is exact. If it
says nothing (it was deleted, or another machine sent), a sample of the pending numbers is looked up, if the provider can be
asked. See docs/decisions/005.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime

from posthorn.delivery.running.run import AnyRun, CampaignRun, can_look_up
from posthorn.delivery.settling.listing import is_titled, read_all
from posthorn.errors import InputError, LedgerError, PermissionMissing, Stopped
from posthorn.ledger import copies, restored
from posthorn.ledger.deliveries import Delivery, PlannedCampaign
from posthorn.ledger.marks import Mark, MarkedClaim, marks_folder
from posthorn.ledger.store.engine import Ledger
from posthorn.models import PROVIDER_SKEW_SECONDS, MessageState, Phone, Report
from posthorn.settings import Settings

LISTED_SECONDS = 7 * 86_400.0
"""How far back the look goes. A message of a week ago is surely listed if it was taken."""

_LEAST_OF_A_TITLE = 8


async def check_not_restored(run: AnyRun) -> None:
    """Let the run send, unless its ledger is, or seems, older than what was sent. A test sends nothing and is not checked.

    Raises:
        Stopped: it is, or no mark can be kept. The message says what to do.
        TryAgain, StopRun: the provider could not be asked.
    """
    if run.delivery.test or run.mark is not None:
        return
    mark = open_mark(run.settings, run.ledger, run.delivery)
    try:
        await _refuse_if_behind(run, mark)
    except BaseException:
        mark.close()
        raise
    run.mark = mark


async def _refuse_if_behind(run: AnyRun, mark: Mark) -> None:
    if forgotten := await run.do(restored.forgotten, mark):
        raise Stopped(f"{_behind(run.delivery, mark, forgotten)} Nothing was sent. {_way_on(run.delivery)}")
    # A mark tells of this machine only; a ledger on a server may have been written from others.
    if can_look_up(run) and (mark.is_empty() or not run.ledger.is_sqlite):
        await _refuse_if_listed(run)


def open_mark(settings: Settings, ledger: Ledger, delivery: Delivery) -> Mark:
    """This machine's mark of that delivery.

    Raises:
        Stopped: it cannot be used; the message names the setting.
    """
    try:
        return Mark(marks_folder(settings.guard_dir), ledger.uuid, delivery.name)
    except LedgerError as error:
        raise Stopped(str(error)) from None


def _behind(delivery: Delivery, mark: Mark, forgotten: Sequence[MarkedClaim]) -> str:
    last = datetime.fromtimestamp(max(claim.claimed_at for claim in forgotten)).astimezone()
    return (
        f"this ledger is older than what was sent: it does not know {len(forgotten):,} requests of {delivery.name} that"
        f" {mark.path} notes, the last of {last:%Y-%m-%d %H:%M:%S %Z}. It seems to have been restored from a copy."
    )


def _way_on(delivery: Delivery, then: str = "send it again") -> str:
    return f"Run `{delivery.kind.command} reconcile {delivery.name} --pending`, then {then}"


def refuse_to_cancel(settings: Settings, ledger: Ledger, delivery: Delivery) -> None:
    """Refuse if this machine's mark shows that the ledger is older than what was sent: that part would not be withdrawn.

    Raises:
        Stopped: it is. Nothing is sent from that ledger either.
    """
    try:
        mark = open_mark(settings, ledger, delivery)
    except Stopped:  # no reason to go on sending
        return
    with closing(mark):
        if forgotten := restored.forgotten(ledger, mark):
            way_on = _way_on(delivery, "cancel it")
            raise Stopped(f"{_behind(delivery, mark, forgotten)} Nothing was cancelled. {way_on}")


async def _refuse_if_listed(run: CampaignRun) -> None:
    """Refuse if the provider has messages of this campaign that the ledger thinks were never sent."""
    some = await run.do(restored.sample, run.delivery, run.descriptor.bounds.numbers_per_lookup)  # what one request may ask
    if not some:
        return
    try:
        found, _ = await listed(run, [one.phone for one in some], time.time() - LISTED_SECONDS)
    except InputError as error:  # more than the provider shows: nothing is concluded from that
        raise Stopped(f"no look can tell whether this ledger is up to date: {error}. Nothing was sent") from None
    except PermissionMissing as error:
        raise Stopped(
            f"the account may not read reports ({error}), so nobody can tell whether some of these numbers have had the"
            " message already. Nothing was sent. Give the API user the right to read reports in the provider's panel,"
            " then send again"
        ) from None
    # Another process of the same run may have sent some meanwhile: those are claimed by now.
    hits = await run.do(restored.still_waiting, [one for one in some if one.phone in found]) if found else []
    if hits:
        raise Stopped(
            f"this ledger seems older than what was sent: of {len(some):,} pending numbers that were looked up, the provider"
            f" lists a message like this one for {len(hits):,}, under ids that the ledger does not know. Nothing was sent."
            f" {_way_on(run.delivery)}"
        )


async def listed(run: CampaignRun, phones: Sequence[Phone], since: float) -> tuple[dict[Phone, list[Report]], bool]:
    """What the provider lists for these numbers that is like this campaign's message and belongs to nothing in this ledger.

    Also whether that listing was whole. It has no end date: a kept message, or a date by a fast clock, is in the future.
    """
    reports, is_whole = await read_all(run, phones, since)
    like = [one for one in reports if _is_like(one, run.delivery) and one.state != MessageState.REJECTED]
    if not like:
        return {}, is_whole
    known = await run.do(restored.known_ids, [report.provider_id for report in like])
    by_phone: defaultdict[Phone, list[Report]] = defaultdict(list)
    for report in like:
        if report.phone is not None and report.provider_id not in known:
            by_phone[report.phone].append(report)
    others = await run.do(copies.open_elsewhere, run.delivery, list(by_phone))
    ours = {phone: _not_of_others(run, rows, others.get(phone, ())) for phone, rows in by_phone.items()}
    return {phone: rows for phone, rows in ours.items() if rows}, is_whole


def _not_of_others(run: CampaignRun, rows: list[Report], spans: Sequence[tuple[float, float]]) -> list[Report]:
    """The rows without those that another campaign of this title waits for: at most one for each of its open requests."""
    late = PROVIDER_SKEW_SECONDS + run.account.settle_seconds
    theirs = [
        row
        for row in rows
        if row.queued_at is not None
        and any(since - PROVIDER_SKEW_SECONDS <= row.queued_at.timestamp() <= until + late for since, until in spans)
    ]
    return rows if len(theirs) > len(spans) else [row for row in rows if row not in theirs]


def _is_like(report: Report, campaign: PlannedCampaign) -> bool:
    """Whether the report's title is the campaign's, as far as a provider may have cut or respelt it."""
    if is_titled(report, campaign):
        return True
    theirs, ours = _letters(report.title or ""), _letters(campaign.content.title)
    shorter, longer = sorted((theirs, ours), key=len)
    return len(shorter) >= min(_LEAST_OF_A_TITLE, len(ours)) and bool(shorter) and longer.startswith(shorter)


def _letters(title: str) -> str:
    return re.sub(r"\W+", "", title.casefold())
