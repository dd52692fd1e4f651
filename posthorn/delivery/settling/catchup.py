"""Catching up: a ledger that was restored from an older copy becomes one that may send again.

Requests that the mark knows and the ledger has forgotten are entered again, with their messages unknown. What the provider
lists is booked as taken. Nothing is sent here, and nothing that may have been sent stays pending.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from posthorn.content.plain import without_numbers
from posthorn.delivery.running.locks import lock_for_lookup
from posthorn.delivery.running.names import process_name
from posthorn.delivery.running.run import CampaignRun, open_lookup
from posthorn.delivery.settling.listing import is_titled, read_all
from posthorn.delivery.settling.reconcile import reconcile
from posthorn.delivery.settling.restore_check import LISTED_SECONDS, listed, open_mark
from posthorn.errors import Stopped
from posthorn.ledger import deliveries, reconciling, restored
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.marks import MarkedClaim
from posthorn.ledger.reconciling import Settlement
from posthorn.ledger.restored import PendingMessage
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.ledger.totals import totals
from posthorn.models import PROVIDER_SKEW_SECONDS, Kind, MessageState, Phone, Report
from posthorn.settings import Settings, load_settings

_CONTROLS = 3
_LOOKUPS_AT_ONCE = 4
_PAGE = 200
_BY = "reconcile --pending"
_UNSTEADY = "the provider's listing changed each time it was read: what it lacks may have been sent before the restore"


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What catching up did: forgotten requests, messages found at the provider, unknown now, still to be sent.

    ``is_proven``: the provider was seen to list what it surely took. If it took nothing of this ledger in the last week, a
    message that it does not list counts as unsent on its word alone.
    """

    forgotten: int
    looked_up: int
    found: int
    unknown: int
    pending: int
    is_proven: bool = True


async def catch_up_campaign(
    name: str, told: Callable[[int, int], None] = lambda _done, _found: None, *, settings: Settings | None = None
) -> CaughtUp:
    """Look up all that is pending of a campaign and book what the provider has; then the restore check lets it send.

    What the mark says was claimed becomes unknown first: if it is not found, it stays so. ``told`` gets how many numbers
    were looked up and found so far.

    Raises:
        AlreadyRunning: it is being sent, or looked after.
        Stopped: its mark cannot be used, the provider does not list what it surely took, or rows were merged and sent to
            that this ledger has not planned.
        TryAgain, StopRun, InputError: the provider could not be asked; what was booked stands, and it may be run again.
    """
    async with open_lookup(name, settings=settings) as run:
        mark = open_mark(run.settings, run.ledger, run.delivery)
        with closing(mark):
            has_controls = await _look_for_controls(run)
            forgotten = await run.do(restored.forgotten, mark)
            by_chunk, unmatched = await run.do(restored.matched, run.delivery, mark, forgotten)
            for chunk, claims in by_chunk.items():
                await run.do(restored.remember, chunk, claims)
            looked_up, found = await _book_pending(run, _since(forgotten), told)
            # All that these requests were for is found: then nothing of the rest can be theirs.
            if sum(claim.count for claim in unmatched) > await run.do(restored.count_settled, run.delivery, by=_BY):
                await run.do(_suspect_all, run.delivery, unmatched)
            await run.do(_refuse_later_waves, run.delivery, unmatched)
            marked = await reconcile(run)
            token = await run.do(restored.catch_up, run.delivery, by=process_name())
            mark.note_settled(token)
            done = await run.do(_caught_up, run.delivery, len(forgotten), looked_up + marked.looked_up, found + marked.found)
            return replace(done, is_proven=has_controls or done.found > 0 or not done.looked_up)


def catch_up_event(name: str, *, settings: Settings | None = None) -> CaughtUp:
    """Make unknown what the mark says was claimed of an event and the ledger has forgotten. No provider can be asked.

    Raises:
        AlreadyRunning: it is being sent, or looked after.
        Stopped: its mark cannot be used, or rows were merged and sent to that this ledger has not planned.
    """
    settings = settings or load_settings()
    with open_ledger(settings) as ledger:
        event = deliveries.get(ledger, name, kind=Kind.EVENT)
        lock_for_lookup(ledger, event)
        with closing(open_mark(settings, ledger, event)) as mark:
            forgotten = restored.forgotten(ledger, mark)
            by_chunk, unmatched = restored.matched(ledger, event, mark, forgotten)
            for chunk, claims in by_chunk.items():
                restored.remember(ledger, chunk, claims)
            if unmatched:
                _suspect_all(ledger, event, unmatched)
            _refuse_later_waves(ledger, event, unmatched)
            mark.note_settled(restored.catch_up(ledger, event, by=process_name()))
            return _caught_up(ledger, event, len(forgotten), 0, 0)


def _caught_up(ledger: Ledger, delivery: Delivery, forgotten: int, looked_up: int, found: int) -> CaughtUp:
    counted = totals(ledger, delivery)
    return CaughtUp(forgotten, looked_up, found, counted["unknown"], counted["pending"])


def _since(forgotten: Sequence[MarkedClaim]) -> float:
    """From when on the provider is asked: a week ago, or the first forgotten claim if that is earlier."""
    earliest = min((claim.claimed_at for claim in forgotten), default=time.time())
    return min(time.time() - LISTED_SECONDS, earliest - PROVIDER_SKEW_SECONDS)


async def _look_for_controls(run: CampaignRun) -> bool:
    """Look up some messages that the provider surely took within the last week; False if this ledger has none.

    Raises:
        Stopped: it lists none of them, so what it does not list may have been taken all the same.
    """
    now = time.time()
    known = await run.do(reconciling.controls, run.delivery, now, _CONTROLS, not_before=now - LISTED_SECONDS)
    if not known or not run.descriptor.looks_up:
        return False
    since = min(control.since for control in known) - LISTED_SECONDS  # dates of another zone count
    reports, _ = await read_all(run, [control.phone for control in known], since)
    if not {control.provider_id for control in known} & {report.provider_id for report in reports}:
        raise Stopped(
            f"the provider lists none of {len(known)} messages that it took within the last week according to this ledger,"
            " so what it does not list may have been taken all the same. Nothing was changed. See `posthorn doctor`: is it"
            " the same account? Then run this again"
        )
    return True


async def _book_pending(run: CampaignRun, since: float, told: Callable[[int, int], None]) -> tuple[int, int]:
    """Look up every pending message and book what is listed; how many were looked up, and how many found."""
    looked_up = found = 0
    if not run.descriptor.looks_up:
        return 0, 0
    last = (0, 0)
    size = run.descriptor.bounds.numbers_per_lookup
    while some := await run.do(restored.pending, run.delivery, _LOOKUPS_AT_ONCE * size, last):
        last = (some[-1].chunk_id, some[-1].position)
        pages = [some[at : at + size] for at in range(0, len(some), size)]
        listings = await asyncio.gather(*(listed(run, [one.phone for one in page], since) for page in pages))
        for page, (listing, is_whole) in zip(pages, listings, strict=True):
            found += await _book(run, page, listing)
            if not is_whole:
                missed = [one for one in page if one.phone not in listing]
                await run.do(restored.suspect, missed, since=since, problem=_UNSTEADY)
            looked_up += len(page)
        told(looked_up, found)
    return looked_up, found


async def _book(run: CampaignRun, page: Sequence[PendingMessage], listing: Mapping[Phone, Sequence[Report]]) -> int:
    """Book what is listed for a page: taken if the title is the campaign's, else unknown. Returns how many were taken."""
    hits = [one for one in page if one.phone in listing]
    if not hits:
        return 0
    since = min(_moment(report) for one in hits for report in listing[one.phone])
    decisions = []
    for message in await run.do(restored.suspect, hits, since=since):
        reports = listing[message.phone]
        ours = [report for report in reports if is_titled(report, run.delivery)]
        if ours:
            more = f"; {len(reports) - 1} more like it: it may have been taken twice" if len(reports) > 1 else ""
            evidence = f"listed as {ours[0].status} though pending here{more}"
            decisions.append(
                Settlement(message, "found", ours[0].state, evidence, ours[0].provider_id, error=ours[0].reason)
            )
        else:
            title = without_numbers(reports[0].title or "")
            evidence = f'a message with another title ("{title}") is listed: is it this one?'
            decisions.append(Settlement(message, "no control", MessageState.UNKNOWN, evidence))
    return int(await run.do(reconciling.settle, run.delivery, decisions, by=_BY))


def _suspect_all(ledger: Ledger, delivery: Delivery, unmatched: Sequence[MarkedClaim]) -> None:
    """The reason if requests are left that match nothing in this plan: they may have been for any of the rest."""
    problem = f"{len(unmatched):,} forgotten requests may have been for any number of this plan"
    since = min(claim.claimed_at for claim in unmatched)
    while page := restored.pending(ledger, delivery, _PAGE, (0, 0)):
        restored.suspect(ledger, page, since=since, problem=problem)


def _refuse_later_waves(ledger: Ledger, delivery: Delivery, unmatched: Sequence[MarkedClaim]) -> None:
    """Refuse if the ledger lacks rows that were sent to: their list would plan them as new.

    Raises:
        Stopped: it does; the list has to be merged first, and the restore check still stops it then.
    """
    if later := restored.of_later_waves(ledger, delivery, unmatched):
        count, command = sum(claim.count for claim in later), delivery.kind.command
        raise Stopped(
            f"this machine's mark has requests for {count:,} messages of {delivery.name} that this ledger has not even"
            f" planned: rows were merged into it after the copy was made. Run `{command} send` with the list as it was"
            " sent last: it plans them again and sends nothing. Then run this once more. Rows that are gone from the"
            " list for good belong there for this once, too; afterwards take them out, and say"
            f" `{command} send --accept-missing`. Where nobody has them any more, give the file another name, and leave"
            " only those who surely have not had it"
        )


def _moment(report: Report) -> float:
    return report.queued_at.timestamp() if report.queued_at is not None else time.time()
