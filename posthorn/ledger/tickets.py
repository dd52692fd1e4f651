"""Tickets: the codes behind an event's messages, the door list, and what an operator decides about single tickets."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.ledger.deliveries import Delivery, hold_chunks, recount
from posthorn.ledger.paging import BEHIND, IN_ORDER, pages
from posthorn.ledger.parked import AHEAD_SECONDS, CLOCK_SKEW_SECONDS
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import MessageState, Phone

RESENDABLE = (
    MessageState.ACCEPTED,
    MessageState.REJECTED,
    MessageState.DELIVERED,
    MessageState.UNDELIVERED,
    MessageState.NO_REPORT,
)
"""States from which an operator may have a ticket sent again. An unknown one has to be resolved first."""

FAILED = (MessageState.REJECTED, MessageState.UNDELIVERED)

_CLOCK_SKEW_SECONDS = 60.0
"""How far the clocks of the machine that sends and of the one that receives postbacks may be apart."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One attendee's ticket as the ledger holds it; ``fields`` are the attendee's other columns."""

    line: int
    phone: Phone
    barcode: str
    fields: dict[str, str]
    state: MessageState
    provider_id: str | None
    error: str | None


_PAGES = sql(
    "SELECT m.chunk_id, m.position, m.line, m.phone, m.state, m.provider_id, m.error, t.barcode, t.fields"  # noqa: S608 - own words
    " FROM chunk k JOIN message m ON m.chunk_id = k.id"
    " JOIN ticket t ON t.chunk_id = m.chunk_id AND t.position = m.position"
    f" WHERE k.campaign_id = :event AND {BEHIND} {IN_ORDER}"
).columns(fields=sa.JSON())


def all_tickets(ledger: Ledger, event: Delivery, page_size: int = 5_000) -> Iterator[Ticket]:
    """Every ticket of the event, in the order of its file."""
    for page in pages(ledger, _PAGES, {"event": event.id}, page_size):
        for row in page:
            yield Ticket(
                row.line, Phone(row.phone), row.barcode, row.fields, MessageState(row.state), row.provider_id, row.error
            )


def resolve(ledger: Ledger, event: Delivery, barcode: str, *, taken: bool, by: str, why: str) -> bool:
    """A person settles an unknown ticket: it was taken, or it was not and is pending again. False if it is not unknown."""
    with ledger.write() as connection:
        found = _held(connection, event, "t.barcode = :barcode AND m.state = :unknown", barcode=barcode)
        for row in found:
            state = MessageState.ACCEPTED if taken else MessageState.PENDING
            _set(connection, row, state, provider_id=row.provider_id, error=None)
            _keep(connection, row, "resolved", state, by, why)
        return bool(found)


def resend(
    ledger: Ledger, event: Delivery, states: Sequence[MessageState], *, phone: Phone | None, by: str, why: str
) -> int:
    """A person has tickets sent again: those in ``states`` (of one number, if given) are pending again; how many.

    The code stays the same. Which attempt it replaces stands in the evidence.
    """
    where = "m.state IN :states" + (" AND m.phone = :phone" if phone is not None else "")
    with ledger.write() as connection:
        found = _held(connection, event, where, states=[int(state) for state in states], phone=phone)
        for row in found:
            before = f"was {MessageState(row.state).name.lower()} as {row.provider_id or 'no id'}"
            _set(connection, row, MessageState.PENDING, provider_id=None, error=None)
            _keep(connection, row, "resend", MessageState.PENDING, by, f"{why}; {before}", replaced_id=row.provider_id)
    return len(found)


def settle_by_postback(
    ledger: Ledger,
    phone: Phone,
    mms_id: str,
    provider_id: str,
    *,
    received_at: float,
    happened_at: float | None = None,
) -> bool:
    """Give the id to the one ticket without one that a postback can only be about: it was taken. False if there is none.

    It is unknown, or a person said that it was taken. It must be the only one of that number and template that was sent by
    then: of two, nobody can tell which is meant, and one that is in flight will say its id by itself. A postback that says
    that it happened before the ticket was sent (or in a time to come) is not about it.
    """
    with ledger.write() as connection:
        if _is_anybodys(connection, provider_id):
            return False
        about = _without_id(connection, phone, mms_id, received_at)
        if len(about) != 1 or _may_be_of_another(connection, about[0], phone, mms_id):
            return False
        hold_chunks(connection, "id = :chunk", chunk=about[0].chunk_id)
        about = _without_id(connection, phone, mms_id, received_at)  # as it is now that nobody else can change it
        if len(about) != 1 or about[0].is_sending or not _is_timely(about[0], received_at, happened_at):
            return False
        _set(connection, about[0], MessageState.ACCEPTED, provider_id=provider_id, error=None)
        evidence = f"a postback with its number and template names it {provider_id}"
        _keep(connection, about[0], "found", MessageState.ACCEPTED, "postback", evidence)
    return True


def _is_anybodys(connection: Connection, provider_id: str) -> bool:
    """Whether the id is a ticket's, or was one's before a person had it sent again: then the new attempt has another."""
    message, settlement = tables.message.c, tables.settlement.c
    has_it = sa.exists().where(message.provider_id == provider_id)
    had_it = sa.exists().where(settlement.replaced_id == provider_id)
    return bool(connection.execute(sa.select(sa.or_(has_it, had_it))).scalar_one())


_WITHOUT_ID = sql(
    "SELECT m.chunk_id, m.position, m.campaign_id, m.provider_id, c.definition, k.state = 1 AS is_sending, k.claimed_at"
    " FROM message m JOIN chunk k ON k.id = m.chunk_id JOIN campaign c ON c.id = m.campaign_id"
    " WHERE m.phone = :phone AND m.provider_id IS NULL AND c.kind = 1 AND k.claimed_at <= :received"
    " AND (k.state = 1 OR m.state IN (:unknown, :accepted))"
).columns(definition=sa.JSON())


def _without_id(connection: Connection, phone: Phone, mms_id: str, received_at: float) -> Sequence[Any]:
    """The tickets of that number and template that may have left by then, and have no id (yet)."""
    states = {"unknown": MessageState.UNKNOWN, "accepted": MessageState.ACCEPTED}
    values = {"phone": phone, "received": received_at + _CLOCK_SKEW_SECONDS, **states}
    return [row for row in connection.execute(_WITHOUT_ID, values) if str(row.definition["mms_id"]) == mms_id]


def _is_timely(about: Any, received_at: float, happened_at: float | None) -> bool:
    """Whether what the postback says of its time fits the ticket; the provider's clock may differ from ours."""
    earliest, latest = about.claimed_at - CLOCK_SKEW_SECONDS, received_at + AHEAD_SECONDS
    return happened_at is None or bool(earliest <= happened_at <= latest)


_RESOLVED = sql(
    "SELECT m.chunk_id, m.position, c.definition FROM settlement s"
    " JOIN message m ON m.chunk_id = s.chunk_id AND m.position = s.position JOIN campaign c ON c.id = m.campaign_id"
    " WHERE m.phone = :phone AND c.kind = 1 AND s.state = 0 AND s.replaced_id IS NULL"
).columns(definition=sa.JSON())


def _may_be_of_another(connection: Connection, about: Any, phone: Phone, mms_id: str) -> bool:
    """Whether it may be about an attempt for another ticket that a person called not taken: its id was never known."""
    return any(
        str(row.definition["mms_id"]) == mms_id and (row.chunk_id, row.position) != (about.chunk_id, about.position)
        for row in connection.execute(_RESOLVED, {"phone": phone})
    )


def _held(connection: Connection, event: Delivery, where: str, **values: Any) -> Sequence[Any]:
    """What ``_find`` finds, its chunks held, as it is now that nobody else can change it."""
    for chunk in sorted({row.chunk_id for row in _find(connection, event, where, **values)}):
        hold_chunks(connection, "id = :chunk", chunk=chunk)
    return _find(connection, event, where, **values)


def _find(connection: Connection, event: Delivery, where: str, **values: Any) -> Sequence[Any]:
    query = sql(
        "SELECT m.chunk_id, m.position, m.campaign_id, m.state, m.provider_id FROM message m"  # noqa: S608 - own words
        " JOIN ticket t ON t.chunk_id = m.chunk_id AND t.position = m.position JOIN chunk c ON c.id = m.chunk_id"
        f" WHERE t.campaign_id = :event AND c.state <> 1 AND {where}"
    )
    if "states" in values:
        query = query.bindparams(sa.bindparam("states", expanding=True))
    given = {name: value for name, value in values.items() if value is not None}
    if ":unknown" in where:
        given["unknown"] = MessageState.UNKNOWN
    return connection.execute(query, {"event": event.id, **given}).all()


def _set(connection: Connection, row: Any, state: MessageState, *, provider_id: str | None, error: str | None) -> None:
    connection.execute(
        tables.message.update()
        .where(tables.message.c.chunk_id == row.chunk_id, tables.message.c.position == row.position)
        .values(state=int(state), provider_id=provider_id, error=error, epoch=None)
    )
    recount(connection, "id = :chunk", chunk=row.chunk_id)


def _keep(
    connection: Connection,
    row: Any,
    decision: str,
    state: MessageState,
    by: str,
    why: str,
    *,
    replaced_id: str | None = None,
) -> None:
    connection.execute(
        tables.settlement.insert().values(
            campaign_id=row.campaign_id,
            chunk_id=row.chunk_id,
            position=row.position,
            settled_at=time.time(),
            decision=decision,
            state=int(state),
            by=by,
            evidence=why,
            replaced_id=replaced_id,
        )
    )
