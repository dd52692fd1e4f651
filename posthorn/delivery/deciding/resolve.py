"""A person's word on messages of unknown outcome: what was looked up in the provider's panel, or asked of the recipient.

Sends nothing. While the delivery is being sent, this is refused: its run may settle the same messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from posthorn.delivery.deciding.meant import looked_after, named, refuse_others
from posthorn.errors import InputError
from posthorn.ledger import deliveries, reconciling, resolving, tickets, totals
from posthorn.ledger.deliveries import PlannedEvent
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import Kind, MessageState
from posthorn.settings import load_settings

_MAX_LINE_LENGTH = 9
"""Digits. Anything longer is a phone number, which does not belong in a form."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a person's word did: how many messages are settled, their state now, and how many are still unknown."""

    kind: Kind
    name: str
    resolved: int
    state: MessageState
    unknown: int

    @property
    def next(self) -> str:
        """What to do now."""
        command = self.kind.command
        if self.state == MessageState.PENDING:
            return f"run `{command} send` with the same file again: it sends to those that were not sent to"
        if self.unknown:
            return f"`{command} {_look(self.kind)} {self.name}` shows what is still unknown"
        return f"nothing is left to settle; `{command} status {self.name}` shows how it stands"


def resolve(
    kind: Kind, name: str, *, numbers: Sequence[str] = (), codes: Sequence[str] = (), taken: bool, by: str, why: str
) -> Resolved:
    """Settle unknown messages: those to ``numbers``, those with ``codes``, or all if neither is given. All or none.

    What was taken becomes accepted. What was not becomes pending, or cancelled if the delivery was cancelled.

    Raises:
        AlreadyRunning: the delivery is being sent, or looked after by another process.
        DeliveryNotFound: there is none of that name and kind.
        InputError: a number cannot be read, or what is named is not an unknown message of it; nothing was settled.
    """
    if not why.strip():
        raise InputError("--why", "say how you know; it is kept with the decision")
    which = named(numbers, codes, load_settings())
    with looked_after(kind, name) as (ledger, delivery):
        word = resolving.resolve(ledger, delivery, which, taken=taken, by=by, why=why)
        refuse_others(delivery, word, f"no unknown {kind.item}", "settled", _look(kind))
        if not word.moved:
            status = f"`{kind.command} status {name}` shows how it stands"
            raise InputError("NAME", f"no {kind.item} of {name} is unknown; {status}")
        unknown = totals.totals(ledger, delivery)["unknown"]
    state = MessageState.CANCELLED if delivery.cancelled_at is not None else MessageState.PENDING
    return Resolved(kind, name, word.moved, MessageState.ACCEPTED if taken else state, unknown)


def kind_of(name: str) -> Kind:
    """Whether that is a campaign or an event.

    Raises:
        DeliveryNotFound: there is none of that name.
    """
    with open_ledger() as ledger:
        return deliveries.get(ledger, name).kind


def resolve_lines(name: str, lines: str, *, taken: bool, by: str, why: str) -> Resolved:
    """``resolve`` for the messages on these lines of the list (``12, 15``), so that nobody has to type a phone number.

    Raises:
        AlreadyRunning, DeliveryNotFound: as ``resolve``.
        InputError: that is not a list of lines, or on one of them nothing is unknown; nothing was settled.
    """
    wanted = _lines(lines)
    with open_ledger() as ledger:
        delivery = deliveries.get(ledger, name)
        unknown = {one.line: one for one in reconciling.evidence_of(ledger, delivery)}
        strange = [line for line in wanted if line not in unknown]
        if strange:
            raise InputError("lines", f"on line {strange[0]} nothing is unknown; the artifact unknown-{name} has the lines")
        if isinstance(delivery, PlannedEvent):
            codes = {one.line: one.barcode for one in tickets.all_tickets(ledger, delivery)}
            which = {"codes": [codes[line] for line in wanted]}
        else:
            which = {"numbers": [f"+{unknown[line].phone}" for line in wanted]}
    return resolve(delivery.kind, name, **which, taken=taken, by=by, why=why)


def _lines(said: str) -> list[int]:
    words = said.replace(",", " ").split()
    if not words or not all(word.isascii() and word.isdigit() and len(word) < _MAX_LINE_LENGTH for word in words):
        raise InputError("lines", "expected lines of the list, such as 12, 15, 40")
    return [int(word) for word in words]


def _look(kind: Kind) -> str:
    """The command that lists what is unknown. For tickets, `status` always does, because no provider can be asked."""
    return "status" if kind is Kind.EVENT else "reconcile"
