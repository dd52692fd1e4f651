"""A person's word on single messages: what became of an unknown one, or that one is to be sent again.

It is kept with who said it and why, and is carried out for everything that it names or for nothing. A message whose
request is under way is never moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.ledger import merging, settlements, suppression
from posthorn.ledger.deliveries import Delivery, hold_chunks, recount
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import ChunkState, MessageState, Phone

FAILED = (MessageState.REJECTED, MessageState.UNDELIVERED)
"""States of a message that surely reached nobody: sent again, it arrives once."""
RESENDABLE = (*FAILED, MessageState.NO_REPORT, MessageState.ACCEPTED, MessageState.DELIVERED)
"""States from which a person may have a message sent again. An unknown one has to be resolved first.

A suppressed message may be, too, if it is named and its number is no longer on the suppression list.
"""

_NAMED_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class Which:
    """The messages that are meant: to these numbers, with these codes, or all of them if neither is given."""

    phones: Sequence[Phone] = ()
    codes: Sequence[str] = ()


EVERYTHING = Which()


class Meant(NamedTuple):
    """One message that is meant, as it stands.

    ``is_sending`` is whether its request is under way, ``is_out`` whether somebody took it out for good, ``is_barred``
    whether its number is on the suppression list: only a resend asks that. ``is_absent``: it was refused or
    suppressed, and its row has left the list since.
    """

    chunk_id: int
    position: int
    phone: Phone
    code: str | None
    state: MessageState
    provider_id: str | None
    is_sending: bool
    is_out: bool
    is_barred: bool = False
    is_absent: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """What a person's word did: how many messages moved. If some that it names could not, those, and nothing moved.

    ``strangers`` are numbers and codes without any message, ``others`` are messages in a state that does not allow it.
    """

    moved: int = 0
    strangers: tuple[Phone | str, ...] = ()
    others: tuple[Meant, ...] = ()


def resolve(ledger: Ledger, delivery: Delivery, which: Which, *, taken: bool, by: str, why: str) -> Word:
    """A person settles unknown messages: they were taken, or they were not and are pending again (cancelled, if it was)."""
    if taken:
        state, change = MessageState.ACCEPTED, "error = NULL"  # its epoch stays: a later lookup may still find its id
    else:
        state = MessageState.PENDING if delivery.cancelled_at is None else MessageState.CANCELLED
        change = "error = NULL, provider_id = NULL, epoch = NULL"
    with ledger.write() as connection:
        found, word = _chosen(connection, delivery, which, (MessageState.UNKNOWN,))
        for row in found:
            _move(connection, row, state, change)
            settlements.keep(connection, delivery.id, row, "resolved", state, by=by, why=why)
        _count_anew(connection, found)
        if not taken:
            merging.restore_left(connection, delivery.id, [row.chunk_id for row in found])
    return word


def resend(ledger: Ledger, delivery: Delivery, which: Which, states: Sequence[MessageState], *, by: str, why: str) -> Word:
    """A person has messages sent again that are in one of these states: they are pending.

    A code stays the same. The evidence says which attempt the new one replaces; that one's id is bound for ever, so news
    about it is old. Excluded are recipients who were taken out, have left the list, or must not be messaged: nothing
    would go out, and what is known of the first attempt would be lost.
    """
    with ledger.write() as connection:
        found, word = _chosen(connection, delivery, which, states, may_be_out=False)
        for row in found:
            _move(connection, row, MessageState.PENDING, "error = NULL, provider_id = NULL, epoch = NULL")
            _keep_resend(connection, delivery, row, by, why)
        _count_anew(connection, found)
    return word


def named(connection: Connection, delivery: Delivery, which: Which) -> list[Meant]:
    """The messages that are named, in whatever state."""
    return list(_meant(connection, delivery, which, ()))


def _chosen(
    connection: Connection,
    delivery: Delivery,
    which: Which,
    states: Sequence[MessageState],
    *,
    may_be_out: bool = True,
) -> tuple[list[Meant], Word]:
    """The messages to move, their chunks held, and what to say; none if one that is named cannot move."""
    for chunk in sorted({row.chunk_id for row in _meant(connection, delivery, which, states)}):
        hold_chunks(connection, "id = :chunk", chunk=chunk)
    found = list(_meant(connection, delivery, which, states))  # as it is now that nobody else can change it
    barred: set[Meant] = set()
    if not may_be_out:
        found = _with_barred(connection, delivery, found)
        barred = {row for row in found if row.is_out or row.is_barred or row.is_absent}
    fit = [row for row in found if row.state in states and not row.is_sending and row not in barred]
    if not (which.phones or which.codes):
        return fit, Word(len(fit))
    of_fit: set[Phone | str | None] = {row.code if which.codes else row.phone for row in fit}
    others = tuple(row for row in found if (row.code if which.codes else row.phone) not in of_fit)
    known = {row.code if which.codes else row.phone for row in found}
    asked: Sequence[Phone | str] = which.codes or which.phones
    strangers = tuple(one for one in dict.fromkeys(asked) if one not in known)
    return ([], Word(0, strangers, others)) if strangers or others else (fit, Word(len(fit)))


def _with_barred(connection: Connection, delivery: Delivery, found: Sequence[Meant]) -> list[Meant]:
    """The same, with those marked as barred whose numbers are on the suppression list."""
    scope = suppression.scope_for(delivery.kind, delivery.options)
    listed: set[int] = set()
    for at in range(0, len(found), _NAMED_PER_QUERY):
        listed |= suppression.among(connection, [row.phone for row in found[at : at + _NAMED_PER_QUERY]], scope).keys()
    return [row._replace(is_barred=True) if row.phone in listed else row for row in found]


_MEANT = (
    "SELECT m.chunk_id, m.position, m.phone, t.barcode, m.state, m.provider_id, c.state AS chunk_state,"
    " o.chunk_id IS NOT NULL AS is_out, a.chunk_id IS NOT NULL AS is_absent"
    " FROM message m JOIN chunk c ON c.id = m.chunk_id"
    " LEFT JOIN ticket t ON t.chunk_id = m.chunk_id AND t.position = m.position"
    " LEFT JOIN taken_out o ON o.chunk_id = m.chunk_id AND o.position = m.position"
    " LEFT JOIN absent a ON a.chunk_id = m.chunk_id AND a.position = m.position"
    " WHERE m.campaign_id = :delivery AND c.campaign_id = :delivery AND "
)


def _meant(connection: Connection, delivery: Delivery, which: Which, states: Sequence[MessageState]) -> Iterator[Meant]:
    """The messages that are meant, in any state; if all are meant, only those in ``states``."""
    named: Sequence[str | int]
    if which.codes:
        where, named = "t.campaign_id = :delivery AND t.barcode IN :some", which.codes
    elif which.phones:
        where, named = "m.phone IN :some", which.phones
    else:
        counters = " + ".join(f"c.{state.name.lower()}" for state in states)  # so that few chunks are read
        where, named = f"{counters} > 0 AND m.state IN :some", [int(state) for state in states]
    query = sql(f"{_MEANT}{where} ORDER BY m.chunk_id, m.position").bindparams(sa.bindparam("some", expanding=True))
    for at in range(0, len(named), _NAMED_PER_QUERY):
        some = named[at : at + _NAMED_PER_QUERY]
        for row in connection.execute(query, {"delivery": delivery.id, "some": some}).all():
            state, is_sending = MessageState(row.state), row.chunk_state == ChunkState.SENDING
            phone, is_out = Phone(row.phone), bool(row.is_out)
            meant = Meant(row.chunk_id, row.position, phone, row.barcode, state, row.provider_id, is_sending, is_out)
            yield meant._replace(is_absent=True) if row.is_absent else meant


def _move(connection: Connection, row: Meant, state: MessageState, change: str) -> None:
    connection.execute(
        sql(f"UPDATE message SET state = :state, {change} WHERE chunk_id = :chunk AND position = :position"),
        {"state": int(state), "chunk": row.chunk_id, "position": row.position},
    )


def _keep_resend(connection: Connection, delivery: Delivery, row: Meant, by: str, why: str) -> None:
    was = why + settlements.before(row.state, row.provider_id)
    pending, former = MessageState.PENDING, row.provider_id
    settlements.keep(connection, delivery.id, row, settlements.RESEND, pending, by=by, why=was, replaced_id=former)


def _count_anew(connection: Connection, found: Sequence[Meant]) -> None:
    for chunk in sorted({row.chunk_id for row in found}):
        recount(connection, "id = :chunk", chunk=chunk)
