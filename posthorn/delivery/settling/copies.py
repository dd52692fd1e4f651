"""Second copies: ask the provider whether a message that a look has settled was taken more than once, and keep the answer.

The proof of a copy: the same number, the campaign's title, queued while a request of that message may have arrived, and an
id that no message has. This sends nothing and withdraws nothing.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from posthorn.delivery.running.place import AtCampaign
from posthorn.delivery.settling.listing import LISTED_SECONDS, by_our_clock, is_titled
from posthorn.gateways.contract import CampaignGateway
from posthorn.ledger import copies, deliveries, reconciling
from posthorn.ledger.copies import Copy, Suspect
from posthorn.models import LEFT_STATES, PROVIDER_SKEW_SECONDS, MessageState, Phone, Report


@dataclass(frozen=True, slots=True)
class Found:
    """A copy that the provider lists of a message, beyond the one that the message stands for."""

    suspect: Suspect
    report: Report


async def find_second_copies(lookup: AtCampaign, now: float | None = None) -> int:
    """Look for copies of every message that a look has settled, and keep them; returns how many count at present.

    ``now`` (seconds) is recorded as the time of the look; else the clock's time is.

    Raises:
        TryAgain: the provider could not be asked; what was found so far is kept.
    """
    if lookup.descriptor.looks_up and not lookup.delivery.test:  # a test sent nothing
        async for suspects in suspect_pages(lookup):
            await look_for_copies(lookup, suspects)
        await lookup.do(deliveries.note_sought, lookup.delivery, now or time.time())
    return len(await lookup.do(copies.counted, lookup.delivery))


async def suspect_pages(lookup: AtCampaign) -> AsyncIterator[list[Suspect]]:
    """Every message that may have been taken twice, one request's worth at a time."""
    last = (0, -1)
    while suspects := await lookup.do(copies.suspects, lookup.delivery, lookup.descriptor.bounds.numbers_per_lookup, last):
        last = (suspects[-1].chunk_id, suspects[-1].position)
        yield suspects


async def look_for_copies(lookup: AtCampaign, suspects: Sequence[Suspect]) -> list[Found]:
    """Look for copies of these messages and keep them. A message whose copy went out instead of it stands for that copy.

    Raises:
        TryAgain: the provider could not be asked.
    """
    asked = [suspect for suspect in suspects if time.time() - suspect.attempts[0][0] < LISTED_SECONDS]
    if not asked:
        return []
    since = min(suspect.attempts[0][0] for suspect in asked) - PROVIDER_SKEW_SECONDS
    phones = [suspect.phone for suspect in asked]
    reports = await all_pages(lookup.gateway, phones=phones, since=datetime.fromtimestamp(since, UTC))
    bound = await lookup.do(reconciling.bound_ids, [report.provider_id for report in reports])
    in_doubt = await lookup.do(copies.open_elsewhere, lookup.delivery, phones)
    by_phone: defaultdict[Phone, list[Report]] = defaultdict(list)
    for report in reports:
        if report.phone is not None and report.phone not in in_doubt and report.provider_id not in bound:
            by_phone[report.phone].append(report)
    found = []
    for suspect in asked:
        strays = [report for report in by_phone[suspect.phone] if _is_copy(lookup, suspect, report)]
        found += [Found(suspect, report) for report in await _without_adopted(lookup, suspect, strays)]
    await lookup.do(copies.keep, lookup.delivery, [_as_copy(one.suspect, one.report) for one in found])
    return found


async def all_pages(gateway: CampaignGateway, **query: Any) -> list[Report]:
    """Every row of a listing, page by page until one shows nothing new."""
    reports: list[Report] = []
    seen: set[str] = set()
    page = pages = 1
    while page <= pages:
        answer = await gateway.reports(page=page, **query)
        new = [report for report in answer.reports if report.provider_id not in seen]
        if page > 1 and not new:
            break  # a listing that only repeats itself might have no end
        seen |= {report.provider_id for report in new}
        reports += new
        page, pages = page + 1, answer.pages
    return reports


async def _without_adopted(lookup: AtCampaign, suspect: Suspect, strays: Sequence[Report]) -> list[Report]:
    """The copies without the one that the message stands for from now on.

    That is a copy that went out while the message's own is still kept or was refused: the copy reached the person.
    """
    if suspect.state == MessageState.SCHEDULED:
        fit = [report for report in strays if report.state in LEFT_STATES]
    else:
        fit = list(strays) if suspect.state == MessageState.REJECTED else []
    if not fit:
        return list(strays)
    is_adopted: bool = await lookup.do(copies.adopt, lookup.delivery, suspect, _as_copy(suspect, fit[0]))
    return [report for report in strays if not (is_adopted and report is fit[0])]


def _as_copy(suspect: Suspect, report: Report) -> Copy:
    queued = f", queued {report.queued_at:%Y-%m-%d %H:%M:%S} UTC" if report.queued_at else ""
    return Copy(report.provider_id, suspect.chunk_id, suspect.position, report.state, f"listed as {report.status}{queued}")


def _is_copy(lookup: AtCampaign, suspect: Suspect, report: Report) -> bool:
    """Whether the report can only be of a request of this message. A refusal is not a copy."""
    return (
        report.state != MessageState.REJECTED
        and is_titled(report, lookup.delivery)
        and (report.queued_at is None or _is_while_under_way(report.queued_at, suspect, lookup))
    )


def _is_while_under_way(moment: datetime, suspect: Suspect, lookup: AtCampaign) -> bool:
    """Whether a request of the message may have this date: clocks differ, and a request may be delayed, or kept first.

    In the hour that repeats in autumn, either reading of the provider's date counts.
    """
    after = lookup.delivery.content.hold_seconds + PROVIDER_SKEW_SECONDS + lookup.account.settle_seconds
    return any(
        begun - PROVIDER_SKEW_SECONDS <= reading <= ended + after
        for begun, ended in suspect.attempts
        for reading in by_our_clock(moment, lookup.account)
    )
