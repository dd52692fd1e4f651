"""What a person changes for one recipient: taken out for good, a new code for a leaked one, another number.

Sends nothing itself: what is to go out is pending, and the next run sends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from posthorn.content.media.barcode import new_barcode_id
from posthorn.content.recipients.number import read_phone
from posthorn.delivery.deciding.meant import looked_after, named, refuse_others
from posthorn.errors import InputError
from posthorn.ledger import amending, deliveries
from posthorn.ledger.amending import TakenOut
from posthorn.ledger.deliveries import PlannedEvent
from posthorn.ledger.resolving import Meant, Word
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import Kind, Phone, mask_phone
from posthorn.settings import load_settings


@dataclass(frozen=True, slots=True)
class Replaced:
    """A ticket with its new code; the old one lets nobody in."""

    name: str
    old: str
    new: str


def take_out(
    kind: Kind, name: str, *, numbers: Sequence[str] = (), codes: Sequence[str] = (), by: str, why: str
) -> TakenOut:
    """Take recipients out for good, all or none. Nothing more goes to them, whatever a later run, resend or word says.

    This is allowed while the delivery is being sent. A recipient who is in a request right then may still get it.

    Raises:
        DeliveryNotFound: there is none of that name and kind.
        InputError: a number cannot be read, or is none of this delivery; nothing was changed.
    """
    _refuse_without_reason(why)
    which = named(numbers, codes, load_settings())
    with open_ledger() as ledger:
        delivery = deliveries.get(ledger, name, kind=kind)
        done = amending.take_out(ledger, delivery, which, by=by, why=why)
        refuse_others(delivery, Word(strangers=done.strangers), f"no {kind.item}", "changed", "status")
    return done


def replace(name: str, code: str, *, by: str, why: str) -> Replaced:
    """Give a ticket another code, which the next run sends; the old one is void on the door list.

    Raises:
        AlreadyRunning: the event is being sent, or looked after by another process.
        DeliveryNotFound: there is no event of that name.
        InputError: no ticket has the code, or it cannot be changed now; what to do is said.
    """
    _refuse_without_reason(why)
    new = new_barcode_id()
    with looked_after(Kind.EVENT, name) as (ledger, event):
        _refuse_cancelled(event)
        _refuse(event, code, amending.replace_code(ledger, event, code, new, by=by, why=why))
    return Replaced(name, code, new)


def readdress(name: str, code: str, number: str, *, by: str, why: str) -> str:
    """Have a ticket sent to another number by the next run; returns that number, masked. Its code stays the same.

    Raises:
        AlreadyRunning, DeliveryNotFound: as ``replace``.
        InputError: the number cannot be read or is the ticket's already, no ticket has the code, or it cannot be sent again.
    """
    _refuse_without_reason(why)
    phone = read_phone(number, load_settings())
    with looked_after(Kind.EVENT, name) as (ledger, event):
        _refuse_cancelled(event)
        _refuse_same(event, code, phone, [one.phone for one in amending.tickets_of(ledger, event, code)])
        _refuse(event, code, amending.readdress(ledger, event, code, phone, by=by, why=why))
    return mask_phone(phone)


def _refuse(event: PlannedEvent, code: str, ticket: Meant | None) -> None:
    """Refuse if there was no such ticket, or if it could not be changed."""
    if ticket is None:
        refuse_others(event, Word(strangers=(code,)), "no ticket", "changed", "status")
    elif not amending.may_be_amended(ticket):
        refuse_others(event, Word(others=(ticket,)), "no ticket that can be changed now", "changed", "status")


def _refuse_same(event: PlannedEvent, code: str, phone: Phone, present: Sequence[Phone]) -> None:
    if phone in present:
        again = f"`posthorn tickets resend {event.name} {code} --why TEXT` sends it there again"
        raise InputError("--to", f"the ticket goes to {mask_phone(phone)} already; {again}")


def _refuse_without_reason(why: str) -> None:
    if not why.strip():
        raise InputError("--why", "say why; it is kept with the decision")


def _refuse_cancelled(event: PlannedEvent) -> None:
    if event.cancelled_at is not None:
        raise InputError("NAME", f"{event.name} was cancelled for good: nothing of it is sent")
