"""What the ledger says of a campaign as a whole: the shape of ``status --json`` and of the table artifact."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence, Sized
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from posthorn.ledger import approvals, copies, deliveries, parked, waves
from posthorn.ledger.claims import owner_key
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import TOTALS, ChunkState, MessageState, WaitsFor, taken_of

_IDS_SHOWN = 10
_MISSED_AFTER_SECONDS = 120.0
"""This long after its moment nobody will go on: the schedule looks every minute."""
_ASKED = "waiting"
"""The state of what waits for a person's approval."""
_OWN_COUNTERS = [name for name in tables.COUNTERS if name != "pending"]


_IS_SENDING = tables.chunk.c.state == int(ChunkState.SENDING)
_COUNTS = sa.select(
    sa.func.coalesce(sa.func.sum(tables.chunk.c.pending).filter(sa.not_(_IS_SENDING)), 0).label("pending"),
    sa.func.coalesce(sa.func.sum(tables.chunk.c.pending).filter(_IS_SENDING), 0).label("sending"),
    *(sa.func.coalesce(sa.func.sum(tables.chunk.c[name]), 0).label(name) for name in _OWN_COUNTERS),
)


def totals(ledger: Ledger, delivery: Delivery) -> dict[str, int]:
    """How many input rows are in each state; keys and order of ``posthorn.models.TOTALS``, all present."""
    query = _COUNTS.where(tables.chunk.c.campaign_id == delivery.id)
    with ledger.read() as connection:
        counted = connection.execute(query).one()._asdict()
    return _with_rejected(delivery, counted)


def _with_rejected(delivery: Delivery, counted: Mapping[str, Any]) -> dict[str, int]:
    own = {"input": delivery.input, "invalid": delivery.invalid, "duplicate": delivery.duplicate}
    return {name: own[name] if name in own else int(counted.get(name, 0)) for name in TOTALS}


def errors(ledger: Ledger, delivery: Delivery) -> dict[str, int]:
    """How many messages carry each provider code or reason, most frequent first."""
    message = tables.message
    query = (
        sa.select(message.c.error, sa.func.count())
        .where(message.c.campaign_id == delivery.id, message.c.error.is_not(None))
        .group_by(message.c.error)
        .order_by(sa.desc(sa.func.count()), message.c.error)
    )
    with ledger.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


_DONE = " + ".join(f"k.{name}" for name in _OWN_COUNTERS)
_OF_THE_RUN = sql(
    f"SELECT sum({_DONE}) AS done, min(k.claimed_at) AS since, max(k.finished_at) AS until"
    " FROM campaign c JOIN chunk k ON k.campaign_id = c.id"
    " WHERE c.id = :campaign AND k.claimed_at >= c.run_started_at AND k.finished_at >= k.claimed_at"
)


def messages_per_second(ledger: Ledger, delivery: Delivery) -> float | None:
    """The pace of its last (or current) run, from the first claim to the last outcome; None if it has sent nothing."""
    with ledger.read() as connection:
        row = connection.execute(_OF_THE_RUN, {"campaign": delivery.id}).one()
    return row.done / (row.until - row.since) if row.done and row.until > row.since else None


_ANSWERED = sql(
    f"SELECT CAST(k.finished_at AS BIGINT) AS at, sum({_DONE}) AS done FROM campaign c JOIN chunk k ON k.campaign_id = c.id"
    " WHERE c.id = :campaign AND k.claimed_at >= c.run_started_at AND k.finished_at >= k.claimed_at GROUP BY 1 ORDER BY 1"
)


def answered_over_time(ledger: Ledger, delivery: Delivery) -> list[tuple[float, int]]:
    """How many messages of its last (or current) run were answered in which second (since 1970), in order."""
    with ledger.read() as connection:
        return [(float(row.at), int(row.done)) for row in connection.execute(_ANSWERED, {"campaign": delivery.id})]


def status(ledger: Ledger, delivery: Delivery) -> dict[str, Any]:
    """The status of a campaign or event: name, kind, gateway, state, totals, balanced, errors (design of ``status --json``).

    ``balanced`` is whether the states add up to the input, counted now. ``because`` says why it is stopped or waits, if it
    does, and ``waiting_until`` the moment it waits for. ``second_copies`` counts copies that no message accounts for,
    ``contradictory_news`` what was pushed or reported under an id of its messages and does not fit them.
    """
    counted = totals(ledger, delivery)
    second = copies.counted(ledger, delivery)
    state, because = _state_and_reason(ledger, delivery, counted, second)
    return {
        "name": delivery.name,
        "kind": delivery.kind.name.lower(),
        "gateway": delivery.gateway,
        "state": state,
        "totals": counted,
        "balanced": sum(count for name, count in counted.items() if name != "input") == counted["input"],
        "errors": errors(ledger, delivery),
        "test": delivery.test,
        "because": because,
        "waiting_until": _iso(min(moments)) if (moments := _waits(delivery)) else None,
        "second_copies": len(second),
        "waves": [
            {"wave": number, "messages": messages, "planned_at": _iso(at)}
            for number, messages, at in waves.planned(ledger, delivery)
        ],
        "contradictory_news": parked.count_contradictory(ledger, delivery),
    }


def _state_and_reason(
    ledger: Ledger, delivery: Delivery, counted: dict[str, int], second: dict[str, MessageState]
) -> tuple[str, str | None]:
    """How it stands, and why it is stopped or what it waits for. A person's decision and an open question come first."""
    keys = [delivery.lock_key, delivery.lookup_key]
    state = _state(ledger, delivery, counted, len(second), ledger.locks.held(keys))
    because = delivery.stopped_because
    if state not in ("stopped", "running"):
        words = [one for one in (_copies_words(delivery, second), _rest_words(delivery), _look_words(delivery)) if one]
        because = "; ".join(words) or because
    elif state == "running" and because is None and delivery.waiting_until is not None:
        because = f"its last look at what was sent again is at {_moment(delivery.waiting_until)}, close before the dispatch"
    elif state == "stopped" and because is None:
        because = _rest_words(delivery)
    is_halted = delivery.halted_because is not None and state == "needs_attention"
    word = approvals.newest(ledger, delivery) if state == "stopped" or is_halted else None
    if word is not None and not isinstance(word, float) and not word.approved:
        state, because = "stopped", f"not approved by {word.by}" + (f": {word.note}" if word.note else "")
    elif is_halted:
        because = _halt_words(delivery)
    elif isinstance(word, float):
        state, because = (
            _ASKED,
            f"waits for approval since {_moment(word)}: `{delivery.kind.command} approve {delivery.name}`",
        )
    return state, because


def _halt_words(delivery: Delivery) -> str:
    """What went wrong with a halted delivery, and what to do about it."""
    return (
        f"{delivery.halted_because}. `posthorn campaign approve {delivery.name}` shows it and lets it go on,"
        f" `posthorn campaign cancel {delivery.name}` ends it for good"
    )


def _copies_words(delivery: Delivery, second: Mapping[str, MessageState]) -> str | None:
    """What to know and do about second copies, with the provider's ids; None if there are none."""
    if not second:
        return None
    held = [provider_id for provider_id, state in second.items() if state == MessageState.SCHEDULED]
    if not held:
        return f"{_many(second)} went out, with the provider's ids {_some(list(second))}"
    return (
        f"{_many(second)}, {len(held):,} of them still scheduled at the provider, ids {_some(held)}: delete those in its"
        f" panel, or try again with `posthorn campaign reconcile {delivery.name}`"
    )


def _many(second: Sized) -> str:
    return "1 second copy" if len(second) == 1 else f"{len(second):,} second copies"


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _IDS_SHOWN:,} more" if len(ids) > _IDS_SHOWN else ""
    return ", ".join(ids[:_IDS_SHOWN]) + more


def _waits(delivery: Delivery) -> list[float]:
    """The moments that it waits for."""
    return [moment for moment in (delivery.waiting_until, delivery.goes_on_at) if moment is not None]


_GOES_ON_FOR = {WaitsFor.HOURS: "for its hours", WaitsFor.CANARY: "for the reports of what went first"}


def _rest_words(delivery: Delivery) -> str | None:
    """When the rest of it is sent, and by whom; None if it waits for no moment to send."""
    if delivery.goes_on_at is None or delivery.goes_on_for is None:
        return None
    moment, waits_for = _moment(delivery.goes_on_at), _GOES_ON_FOR[WaitsFor(delivery.goes_on_for)]
    command = f"`{delivery.kind.command} send` with the same file"
    if is_missed(delivery.goes_on_at):
        return f"waited {waits_for} until {moment}, and nobody went on: `make serve` does so by itself, else run {command}"
    return f"waits {waits_for} until {moment}; `make serve` goes on by itself, else run {command} then"


def _look_words(delivery: Delivery) -> str | None:
    """When its last look is due, and who takes it; None if none is to come."""
    if delivery.waiting_until is None:
        return None
    moment, command = _moment(delivery.waiting_until), f"`posthorn campaign reconcile {delivery.name}`"
    if is_missed(delivery.waiting_until):
        return (
            f"the last look before the dispatch was due at {moment}, and nobody took it; {command} finds out what went out"
        )
    return (
        f"waits until {moment} for the last look at what was sent again, close before its dispatch;"
        f" `make serve` takes it by itself, else run {command} at that time"
    )


def is_missed(moment: float) -> bool:
    """Whether the moment has passed, and nobody went on at it."""
    return time.time() > moment + _MISSED_AFTER_SECONDS


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S %Z}"


@dataclass(frozen=True, slots=True)
class Summary:
    """How one delivery stands, briefly: what ``status`` says of it, without reading any single message."""

    delivery: Delivery
    state: str
    totals: dict[str, int]
    second_copies: int

    @property
    def taken(self) -> int:
        """How many messages the provider took."""
        return taken_of(self.totals)


def summaries(ledger: Ledger) -> list[Summary]:
    """Every delivery and how it stands, the newest first. A handful of queries, however many there are."""
    records = deliveries.all_records(ledger)
    query = _COUNTS.add_columns(tables.chunk.c.campaign_id).group_by(tables.chunk.c.campaign_id)
    with ledger.read() as connection:
        rows = {row.campaign_id: row._asdict() for row in connection.execute(query)}
    second = copies.count_by_delivery(ledger)
    asked = approvals.awaited(ledger)
    running = ledger.locks.held([record.lock_key for record in records])
    held = running | ledger.locks.held([record.lookup_key for record in records if record.lock_key in running])
    found = []
    for record in reversed(records):
        counted = _with_rejected(record, rows.get(record.id, {}))
        state = _state(ledger, record, counted, second.get(record.id, 0), held)
        is_asked = state == "stopped" and asked.get(record.id, -1.0) >= (record.run_started_at or 0.0)
        found.append(Summary(record, _ASKED if is_asked else state, counted, second.get(record.id, 0)))
    return found


def _state(ledger: Ledger, delivery: Delivery, counted: dict[str, int], second: int, held: Container[str]) -> str:
    """``held`` are those of its locks that some process holds, ``second`` is how many second copies count."""
    is_run = delivery.lock_key in held and delivery.lookup_key not in held
    if is_run or (counted["sending"] and somebody_sends(ledger, delivery.id)):
        return "running"
    if delivery.cancelled_at is not None:
        return "cancelled"
    if counted["pending"] or counted["sending"]:
        if delivery.halted_because is not None:
            return "needs_attention"
        goes_on = delivery.goes_on_at is not None and delivery.stopped_because is None
        return "waiting" if goes_on and not is_missed(delivery.goes_on_at or 0.0) else "stopped"
    if delivery.waiting_until is not None and not is_missed(delivery.waiting_until) and not second:
        return "waiting"
    asks = counted["unknown"] or counted["rejected"] or second or delivery.waiting_until is not None
    return "needs_attention" if asks else "finished"


def somebody_sends(ledger: Ledger, campaign_id: int) -> bool:
    """Whether a process that has claimed a chunk is alive: a helper goes on after the end of the run that started it."""
    chunk = tables.chunk.c
    query = sa.select(chunk.owner).distinct()
    query = query.where(chunk.campaign_id == campaign_id, chunk.state == int(ChunkState.SENDING))
    with ledger.read() as connection:
        owners = list(connection.execute(query).scalars())
    return any(not ledger.locks.is_free(owner_key(owner)) for owner in owners)
