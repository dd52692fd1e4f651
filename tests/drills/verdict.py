"""Compares a ledger with the sandbox's truth, row by row, and says every way in which they disagree. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from posthorn.ledger import deliveries, totals
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MessageState
from tests.drills.lists import LivingList
from tests.ledger.ledgers import counters_differ

TAKEN = frozenset(
    {
        MessageState.ACCEPTED,
        MessageState.SCHEDULED,
        MessageState.DELIVERED,
        MessageState.UNDELIVERED,
        MessageState.NO_REPORT,
    }
)
_MAY_BE_IN_DOUBT = ("unknown", "abandoned", "late", "answered")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One message as the ledger holds it; ``outcomes`` are those of its chunk's attempts."""

    phone: str
    state: MessageState
    provider_id: str | None
    outcomes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a round: counts of the ledger's states, and every disagreement (none, if all is well)."""

    states: dict[str, int]
    problems: list[str]


def judge(
    ledger: Ledger, name: str, people: LivingList, sent: Sequence[dict[str, Any]], mode: str, *, is_blind: bool = False
) -> Verdict:
    """The verdict on a campaign that has come to its end; ``sent`` is what the sandbox says came in.

    Everybody is in the list again by now, those included who were taken out. With ``is_blind``, lookups could not find what
    was taken: then it may be unknown, and must not be anything else.
    """
    rows = _rows(ledger, name)
    accepted = [message for message in sent if message["accepted"]]
    problems = [
        *_nobody_twice(accepted, mode),
        *_everybody_once(rows, people.phones),
        *_nothing_to_whoever_was_taken_out(rows, accepted, people),
        *_totals_are_right(ledger, name, len(people.phones)),
        *_ledger_knows_what_was_taken(rows, accepted, TAKEN | {MessageState.UNKNOWN} if is_blind else TAKEN),
        *_sandbox_took_what_the_ledger_says(rows, accepted, is_blind=is_blind),
        *_unknown_only_where_an_answer_is_missing(rows),
    ]
    if mode == "hold":
        problems += _each_dispatched_once(rows, accepted)
    counted = Counter(row.state.name.lower() for row in rows)
    return Verdict(dict(sorted(counted.items())), problems)


def _rows(ledger: Ledger, name: str) -> list[Row]:
    campaign = deliveries.get(ledger, name)
    message, attempt = tables.message, tables.attempt
    with ledger.read() as connection:
        outcomes: dict[int, tuple[str, ...]] = {}
        for row in connection.execute(sa.select(attempt.c.chunk_id, attempt.c.outcome).order_by(attempt.c.epoch)):
            outcomes[row.chunk_id] = (*outcomes.get(row.chunk_id, ()), row.outcome)
        return [
            Row(f"+{row.phone}", MessageState(row.state), row.provider_id, outcomes.get(row.chunk_id, ()))
            for row in connection.execute(sa.select(message).where(message.c.campaign_id == campaign.id))
        ]


def _nobody_twice(accepted: Iterable[dict[str, Any]], mode: str) -> list[str]:
    """A held campaign may be taken twice, but not dispatched twice."""
    if mode == "hold":
        return []
    twice = [phone for phone, count in Counter(message["phone"] for message in accepted).items() if count > 1]
    return _told("accepted twice", twice)


def _each_dispatched_once(rows: Sequence[Row], accepted: Iterable[dict[str, Any]]) -> list[str]:
    went_out = Counter(message["phone"] for message in accepted if message["status"] not in ("withdrawn", "saved"))
    not_once = [row.phone for row in rows if row.state in TAKEN and went_out[row.phone] != 1]
    twice = [phone for phone, count in went_out.items() if count > 1]
    return _told("taken, but not dispatched exactly once", not_once) + _told("dispatched twice", twice)


def _everybody_once(rows: Sequence[Row], phones: Sequence[str]) -> list[str]:
    found = Counter(row.phone for row in rows)
    missing = [phone for phone in phones if not found[phone]]
    strangers = [phone for phone in found if phone not in set(phones)]
    return (
        _told("missing from the ledger", missing)
        + _told("in the ledger, but not in the file", strangers)
        + _told("in the ledger twice", [phone for phone, count in found.items() if count > 1])
        + _told("still pending at the end", [row.phone for row in rows if row.state == MessageState.PENDING])
    )


def _nothing_to_whoever_was_taken_out(
    rows: Sequence[Row], accepted: Iterable[dict[str, Any]], people: LivingList
) -> list[str]:
    """What ``people`` says of who left; and nobody else is left out."""
    got_it = [message["phone"] for message in accepted if message["phone"] in people.out]
    left = people.out | people.gone
    left_out = [row.phone for row in rows if row.state == MessageState.CANCELLED and row.phone not in left]
    return _told("taken out, and accepted all the same", got_it) + _told("never taken out, but cancelled", left_out)


def planned_phones(ledger: Ledger, name: str) -> frozenset[str]:
    """Who is planned by now; nobody, where nothing is."""
    campaign = deliveries.find(ledger, name)
    message, chunk = tables.message.c, tables.chunk.c
    if campaign is None:
        return frozenset()
    seen = sa.select(chunk.id).where(chunk.campaign_id == campaign.id)
    with ledger.read() as connection:
        phones = connection.execute(sa.select(message.phone).where(message.chunk_id.in_(seen))).scalars()
        return frozenset(f"+{phone}" for phone in phones)


def attempts_of(ledger: Ledger, name: str) -> Counter[str]:
    """How a campaign's attempts ended; apart, those of killed senders that were proven not to have left."""
    campaign = deliveries.get(ledger, name)
    attempt, chunk = tables.attempt.c, tables.chunk.c
    query = sa.select(attempt.outcome, attempt.problem).where(
        attempt.chunk_id.in_(sa.select(chunk.id).where(chunk.campaign_id == campaign.id))
    )
    with ledger.read() as connection:
        return Counter(
            "given back by the next run" if row.problem and "its process died before" in row.problem else row.outcome
            for row in connection.execute(query)
        )


def _totals_are_right(ledger: Ledger, name: str, count: int) -> list[str]:
    status = totals.status(ledger, deliveries.get(ledger, name))
    told = status["totals"]
    problems = counters_differ(ledger)
    if not status["balanced"] or told["input"] - told["invalid"] - told["duplicate"] != count:
        problems.append(f"the totals do not balance: {told}")
    return problems


def _ledger_knows_what_was_taken(
    rows: Sequence[Row], accepted: Iterable[dict[str, Any]], right: Container[MessageState | None]
) -> list[str]:
    states = {row.phone: row.state for row in rows}
    wrong = [
        f"{message['phone']} ({states[message['phone']].name.lower()})"
        for message in accepted
        if message["status"] != "withdrawn" and states.get(message["phone"]) not in right
    ]
    return _told("taken by the sandbox, but not so in the ledger", wrong)


def _sandbox_took_what_the_ledger_says(
    rows: Sequence[Row], accepted: Sequence[dict[str, Any]], *, is_blind: bool
) -> list[str]:
    """What was taken by count, without an id, gets its id by a lookup: not where lookups are blind."""
    phones = {message["id"]: message["phone"] for message in accepted}
    nameless = {message["phone"] for message in accepted} if is_blind else set()
    wrong = [
        row.phone
        for row in rows
        if row.state in TAKEN
        and phones.get(row.provider_id or "") != row.phone
        and (row.provider_id is not None or row.phone not in nameless)
    ]
    return _told("taken in the ledger, but not so (or under another id) in the sandbox", wrong)


def _unknown_only_where_an_answer_is_missing(rows: Sequence[Row]) -> list[str]:
    wrong = [
        row.phone
        for row in rows
        if row.state == MessageState.UNKNOWN and not any(outcome in _MAY_BE_IN_DOUBT for outcome in row.outcomes)
    ]
    return _told("unknown without any request in doubt", wrong)


def _told(what: str, whom: Sequence[str]) -> list[str]:
    more = f" and {len(whom) - _SHOWN} more" if len(whom) > _SHOWN else ""
    return [f"{what}: {', '.join(whom[:_SHOWN])}{more}"] if whom else []
