"""A person's changes to one planned recipient: taken out for good, another code, another number.

The ledger keeps the row as the list has it beside what is sent, so no later run of the file undoes the decision. A
message whose request is under way keeps its code and its number.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.ledger import merging, resolving, settlements
from posthorn.ledger.deliveries import Delivery, PlannedEvent, hold_chunks, recount
from posthorn.ledger.merging import Position
from posthorn.ledger.resolving import RESENDABLE, Meant, Which
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MessageState, Phone

AMENDABLE = (MessageState.PENDING, *RESENDABLE)
"""States of a ticket that may get another code, or go to another number. An unknown one has to be resolved first."""


@dataclass(frozen=True, slots=True)
class TakenOut:
    """How many messages will never go out, how many had left or may have, and which names match no message."""

    never: int = 0
    left: int = 0
    strangers: tuple[Phone | str, ...] = ()


def take_out(ledger: Ledger, delivery: Delivery, which: Which, *, by: str, why: str) -> TakenOut:
    """Note for good that nothing more goes to these recipients, even during a run. Nothing is, if one has no message."""
    with ledger.write() as connection:
        found = resolving.named(connection, delivery, which)
        known = {row.code if which.codes else row.phone for row in found}
        asked: Sequence[Phone | str] = which.codes or which.phones
        strangers = tuple(one for one in dict.fromkeys(asked) if one not in known)
        if strangers:
            return TakenOut(strangers=strangers)
        places = [Position(row.chunk_id, row.position) for row in found]
        merging.take_out(connection, delivery.id, places, by=by, why=why)
        states = [row.state for row in resolving.named(connection, delivery, which)]
    never = states.count(MessageState.CANCELLED)
    return TakenOut(never, len(states) - never)


def replace_code(ledger: Ledger, event: PlannedEvent, code: str, new: str, *, by: str, why: str) -> Meant | None:
    """Give the ticket with that code another one, which the next run sends; the old one is void for good.

    Returns the ticket as it was; None if there is none. It is left alone if ``may_be_amended`` says no.
    """
    with ledger.write() as connection:
        row = _held(connection, event, code)
        if row is None or not may_be_amended(row):
            return row
        place = {"chunk_id": row.chunk_id, "position": row.position}
        void = {"campaign_id": event.id, "code": code, "voided_at": time.time(), "by": by, "why": why}
        connection.execute(tables.void_code.insert().values(**void, **place))
        its = tables.ticket.c
        listed = sa.func.coalesce(its.listed_code, its.barcode)
        connection.execute(_ticket_at(row).values(listed_code=listed, barcode=new))
        _send_again(connection, event, row, "replaced", by, f"{why}; another code")
    return row


def readdress(ledger: Ledger, event: PlannedEvent, code: str, phone: Phone, *, by: str, why: str) -> Meant | None:
    """Have the ticket with that code sent to another number by the next run.

    Returns the ticket as it was; None if there is none. It is left alone if ``may_be_amended`` says no.
    """
    message = tables.message
    with ledger.write() as connection:
        row = _held(connection, event, code)
        if row is None or not may_be_amended(row):
            return row
        copies = sa.select(sa.func.coalesce(sa.func.max(message.c.copy) + 1, 0))
        copies = copies.where(message.c.phone == phone, message.c.campaign_id == event.id)
        here = sa.and_(message.c.chunk_id == row.chunk_id, message.c.position == row.position)
        copy = connection.execute(copies).scalar_one()
        listed = sa.func.coalesce(tables.ticket.c.listed_phone, row.phone)
        connection.execute(_ticket_at(row).values(listed_phone=listed))
        connection.execute(message.update().where(here).values(phone=phone, copy=copy))
        _send_again(connection, event, row, "resend", by, why + settlements.TO_ANOTHER_NUMBER)
    return row


def tickets_of(ledger: Ledger, event: PlannedEvent, code: str) -> list[Meant]:
    """The ticket with that code, if there is one."""
    with ledger.read() as connection:
        return resolving.named(connection, event, Which(codes=[code]))


def _ticket_at(row: Meant) -> sa.Update:
    its = tables.ticket.c
    return tables.ticket.update().where(its.chunk_id == row.chunk_id, its.position == row.position)


def may_be_amended(row: Meant) -> bool:
    """Whether a ticket may get another code or number: nothing of it is under way or unknown, and it is not taken out."""
    return row.state in AMENDABLE and not row.is_sending and not row.is_out


def _held(connection: Connection, event: PlannedEvent, code: str) -> Meant | None:
    """The ticket of that code, its chunk held."""
    which = Which(codes=[code])
    for row in resolving.named(connection, event, which):
        hold_chunks(connection, "id = :chunk", chunk=row.chunk_id)
    return next(iter(resolving.named(connection, event, which)), None)


def _send_again(connection: Connection, event: PlannedEvent, row: Meant, decision: str, by: str, why: str) -> None:
    """Make it pending, and bind the id of what left before: news about that is old."""
    message, pending = tables.message, MessageState.PENDING
    here = sa.and_(message.c.chunk_id == row.chunk_id, message.c.position == row.position)
    new = {"state": int(pending), "provider_id": None, "error": None, "epoch": None}
    connection.execute(message.update().where(here).values(**new))
    was = why + settlements.before(row.state, row.provider_id)
    settlements.keep(connection, event.id, row, decision, pending, by=by, why=was, replaced_id=row.provider_id)
    recount(connection, "id = :chunk", chunk=row.chunk_id)
