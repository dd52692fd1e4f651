"""What a merge changes in planned rows: corrected numbers and columns, people who were taken out.

All of it is decided while the chunks are held, and happens in the commit that shows the new wave.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.errors import LedgerError
from posthorn.ledger import settlements
from posthorn.ledger.deliveries import hold_chunks, recount
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import sql
from posthorn.models import ChunkState, MessageState, Phone


class Position(NamedTuple):
    """Where a message stands."""

    chunk_id: int
    position: int


@dataclass(frozen=True, slots=True)
class NewNumber:
    """The number that a row has now, in the list and for sending; ``copy`` is free there, ``state`` is as it was seen."""

    place: Position
    phone: Phone
    copy: int
    state: MessageState


@dataclass(frozen=True, slots=True)
class NewFields:
    """The other columns that a row has now."""

    place: Position
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """What a merge changes of planned rows, who takes people out, and why; ``options`` says how it is run from now on.

    ``absent`` rows have left the list without anybody's word; ``back`` rows are in it again.
    """

    numbers: Sequence[NewNumber] = ()
    fields: Sequence[NewFields] = ()
    out: Sequence[Position] = ()
    absent: Sequence[Position] = ()
    back: Sequence[Position] = ()
    by: str = ""
    why: str = ""
    options: dict[str, Any] | None = None


def carry_out(connection: Connection, campaign_id: int, change: Change) -> None:
    """Make the change, in the caller's transaction.

    Raises:
        LedgerError: a row whose number is to change has been claimed meanwhile; nothing may be committed.
    """
    chunks = sorted({one.place.chunk_id for one in change.numbers} | {place.chunk_id for place in change.out})
    for chunk in chunks:
        hold_chunks(connection, "id = :chunk", chunk=chunk)
    for one in change.numbers:
        _renumber(connection, one)
    for new in change.fields:
        ticket = tables.ticket
        here = sa.and_(ticket.c.chunk_id == new.place.chunk_id, ticket.c.position == new.place.position)
        connection.execute(ticket.update().where(here).values(fields=new.fields))
    _note_out(connection, campaign_id, change.out, by=change.by, why=change.why)
    _note_absent(connection, campaign_id, change)
    for chunk in chunks:
        recount(connection, "id = :chunk", chunk=chunk)
    restore_left(connection, campaign_id, chunks)


def restore_left(connection: Connection, campaign_id: int, chunks: Sequence[int]) -> None:
    """Have what is cancelled in these chunks, and had left before it was to be sent again, be what it was."""
    cancelled = MessageState.CANCELLED
    for chunk in settlements.restore_all(connection, campaign_id, cancelled, "it was cancelled", by="cancel", among=chunks):
        recount(connection, "id = :chunk", chunk=chunk)


def take_out(connection: Connection, campaign_id: int, places: Sequence[Position], *, by: str, why: str) -> None:
    """Note for good that nothing more goes to these messages' recipients; pending messages are cancelled.

    A message that is being sent may still leave. It is cancelled only if it turns out not to have left.
    """
    carry_out(connection, campaign_id, Change(out=places, by=by, why=why))


_IS_SENDING = f"SELECT 1 FROM chunk WHERE id = :chunk AND state = {ChunkState.SENDING}"
_RENUMBER = (
    "UPDATE message SET phone = :phone, copy = :copy, error = NULL, state = CASE WHEN state IN (:rejected, :suppressed)"
    " THEN :pending ELSE state END WHERE chunk_id = :chunk AND position = :position AND state = :seen"
    f" AND NOT EXISTS ({_IS_SENDING})"
)
"""A message that was refused or suppressed because of its number is pending again with the new one."""


def _renumber(connection: Connection, one: NewNumber) -> None:
    values = {
        "phone": one.phone,
        "copy": one.copy,
        "seen": int(one.state),
        "rejected": int(MessageState.REJECTED),
        "suppressed": int(MessageState.SUPPRESSED),
        "pending": int(MessageState.PENDING),
        "chunk": one.place.chunk_id,
        "position": one.place.position,
    }
    if connection.execute(sql(_RENUMBER), values).rowcount != 1:
        raise LedgerError("a ticket whose number is to change is being sent right now; nothing was merged, start again")
    its = tables.ticket.c
    here = sa.and_(its.chunk_id == one.place.chunk_id, its.position == one.place.position)
    connection.execute(tables.ticket.update().where(here).values(listed_phone=None))


def _note_out(connection: Connection, campaign_id: int, places: Sequence[Position], *, by: str, why: str) -> None:
    if not places:
        return
    note = (
        'INSERT INTO taken_out (chunk_id, position, campaign_id, taken_at, "by", why)'
        " VALUES (:chunk, :position, :campaign, :now, :by, :why) ON CONFLICT (chunk_id, position) DO NOTHING"
    )
    common: dict[str, Any] = {"campaign": campaign_id, "now": time.time(), "by": by, "why": why}
    connection.execute(sql(note), [{"chunk": chunk, "position": position, **common} for chunk, position in places])


def _note_absent(connection: Connection, campaign_id: int, change: Change) -> None:
    if change.absent:
        note = (
            "INSERT INTO absent (chunk_id, position, campaign_id) VALUES (:chunk, :position, :campaign)"
            " ON CONFLICT (chunk_id, position) DO NOTHING"
        )
        places = [{"chunk": chunk, "position": position, "campaign": campaign_id} for chunk, position in change.absent]
        connection.execute(sql(note), places)
    if change.back:
        forget = "DELETE FROM absent WHERE chunk_id = :chunk AND position = :position"
        connection.execute(sql(forget), [{"chunk": chunk, "position": position} for chunk, position in change.back])
