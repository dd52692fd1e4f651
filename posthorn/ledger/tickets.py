"""Tickets: the codes behind an event's messages, and which ticket a postback can only be about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.content.definition import EventContent
from posthorn.ledger import proof_exclusion, settlements
from posthorn.ledger.deliveries import PlannedEvent, hold_chunks, recount
from posthorn.ledger.paging import BEHIND, IN_ORDER, pages
from posthorn.ledger.parked import AHEAD_SECONDS
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import PROVIDER_SKEW_SECONDS, ChunkState, Kind, MessageState, Phone, mms_number

_MACHINE_SKEW_SECONDS = 60.0
"""How far the clocks of the machine that sends and of the one that receives postbacks may be apart."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One attendee's ticket as the ledger holds it; ``fields`` are the attendee's other columns.

    ``listed_code`` and ``listed_phone`` are those of the list; ``is_out`` says that nothing more goes to it.
    """

    place: tuple[int, int]
    line: int
    phone: Phone
    barcode: str
    fields: dict[str, str]
    state: MessageState
    provider_id: str | None
    error: str | None
    listed_code: str
    listed_phone: Phone
    is_out: bool


@dataclass(frozen=True, slots=True)
class VoidCode:
    """A code that no longer lets anybody in, and why. ``place`` is that of the ticket that had it, None for a proof's."""

    code: str
    place: tuple[int, int] | None
    why: str


_PAGES = sql(
    "SELECT m.chunk_id, m.position, m.line, m.phone, m.state, m.provider_id, m.error, t.barcode, t.fields,"
    " coalesce(t.listed_code, t.barcode) AS listed_code, coalesce(t.listed_phone, m.phone) AS listed_phone,"
    " o.chunk_id IS NOT NULL AS is_out FROM chunk k JOIN message m ON m.chunk_id = k.id"
    " JOIN ticket t ON t.chunk_id = m.chunk_id AND t.position = m.position"
    " LEFT JOIN taken_out o ON o.chunk_id = m.chunk_id AND o.position = m.position"
    f" WHERE k.campaign_id = :event AND {BEHIND} {IN_ORDER}"
).columns(fields=sa.JSON())


def all_tickets(ledger: Ledger, event: PlannedEvent, page_size: int = 5_000) -> Iterator[Ticket]:
    """Every ticket of the event, in the order of its file."""
    for page in pages(ledger, _PAGES, {"event": event.id}, page_size):
        for row in page:
            yield Ticket(
                (row.chunk_id, row.position),
                row.line,
                Phone(row.phone),
                row.barcode,
                row.fields,
                MessageState(row.state),
                row.provider_id,
                row.error,
                row.listed_code,
                Phone(row.listed_phone),
                bool(row.is_out),
            )


def void_codes(ledger: Ledger, event: PlannedEvent) -> list[VoidCode]:
    """The codes of the event that are void, oldest first."""
    void = tables.void_code.c
    query = sa.select(void.code, void.chunk_id, void.position, void.why).where(void.campaign_id == event.id)
    with ledger.read() as connection:
        rows = connection.execute(query.order_by(void.voided_at, void.code)).all()
    return [VoidCode(row.code, None if row.chunk_id is None else (row.chunk_id, row.position), row.why) for row in rows]


def settle_by_postback(
    ledger: Ledger,
    phone: Phone,
    mms_id: str,
    provider_id: str,
    *,
    received_at: float,
    happened_at: float | None = None,
) -> bool:
    """Give the id to the only ticket without one that a postback can be about: it was taken. False if there is none.

    The ticket is unknown, or a person said that it was taken. It must be the only one of that number and template that was
    sent by then: of two, nobody can tell which is meant, and a ticket in flight will get its id from its own answer. A
    postback dated before the ticket was sent, or in the future, is not about it.
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
        _bind(connection, about[0], provider_id)
        evidence = f"a postback with its number and template names it {provider_id}"
        taken = MessageState.ACCEPTED
        settlements.keep(connection, about[0].campaign_id, about[0], "found", taken, by="postback", why=evidence)
    return True


def _bind(connection: Connection, place: Any, provider_id: str) -> None:
    """Record that the ticket at this place was taken, under this id."""
    message = tables.message
    connection.execute(
        message.update()
        .where(message.c.chunk_id == place.chunk_id, message.c.position == place.position)
        .values(state=int(MessageState.ACCEPTED), provider_id=provider_id, error=None, epoch=None)
    )
    recount(connection, "id = :chunk", chunk=place.chunk_id)


def _is_anybodys(connection: Connection, provider_id: str) -> bool:
    """Whether the id is a proof's or a ticket's, or was a ticket's before it was sent again with a new id."""
    message, settlement = tables.message.c, tables.settlement.c
    has_it = sa.exists().where(message.provider_id == provider_id)
    had_it = sa.exists().where(settlement.replaced_id == provider_id)
    is_messages = bool(connection.execute(sa.select(sa.or_(has_it, had_it))).scalar_one())
    return is_messages or bool(proof_exclusion.ids_among(connection, [provider_id]))


_WITHOUT_ID = sql(
    "SELECT m.chunk_id, m.position, m.campaign_id, m.provider_id, c.definition,"
    f" k.state = {ChunkState.SENDING} AS is_sending, k.claimed_at"
    " FROM message m JOIN chunk k ON k.id = m.chunk_id JOIN campaign c ON c.id = m.campaign_id"
    f" WHERE m.phone = :phone AND m.provider_id IS NULL AND c.kind = {Kind.EVENT} AND k.claimed_at <= :received"
    f" AND (k.state = {ChunkState.SENDING} OR m.state IN (:unknown, :accepted))"
).columns(definition=sa.JSON())


def _without_id(connection: Connection, phone: Phone, mms_id: str, received_at: float) -> Sequence[Any]:
    """The tickets of that number and template that may have left by then, and have no id (yet)."""
    states = {"unknown": MessageState.UNKNOWN, "accepted": MessageState.ACCEPTED}
    values = {"phone": phone, "received": received_at + _MACHINE_SKEW_SECONDS, **states}
    return [row for row in connection.execute(_WITHOUT_ID, values) if _is_of(row, mms_id)]


def _is_timely(about: Any, received_at: float, happened_at: float | None) -> bool:
    """Whether what the postback says of its time fits the ticket; the provider's clock may differ from ours."""
    earliest, latest = about.claimed_at - PROVIDER_SKEW_SECONDS, received_at + AHEAD_SECONDS
    return happened_at is None or bool(earliest <= happened_at <= latest)


_RESOLVED = sql(
    "SELECT m.chunk_id, m.position, c.definition FROM settlement s"
    " JOIN message m ON m.chunk_id = s.chunk_id AND m.position = s.position JOIN campaign c ON c.id = m.campaign_id"
    f" WHERE m.phone = :phone AND c.kind = {Kind.EVENT} AND s.state = {MessageState.PENDING} AND s.replaced_id IS NULL"
).columns(definition=sa.JSON())


def _may_be_of_another(connection: Connection, about: Any, phone: Phone, mms_id: str) -> bool:
    """Whether it may be about a proof, or about an attempt that a person called not taken: their ids are not known."""
    return proof_exclusion.may_be_about_one(connection, phone, mms_id) or any(
        _is_of(row, mms_id) and (row.chunk_id, row.position) != (about.chunk_id, about.position)
        for row in connection.execute(_RESOLVED, {"phone": phone})
    )


def _is_of(row: Any, mms_id: str) -> bool:
    """Whether the row's ticket uses that stored MMS."""
    return mms_number(EventContent.read(row.definition).mms_id) == mms_number(mms_id)
