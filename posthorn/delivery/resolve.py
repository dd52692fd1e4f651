"""A person's word on messages of unknown outcome: what was looked up in the provider's panel, or asked of the recipient.

Sends nothing. While the delivery is being sent, nobody's word is taken: its run may settle the same messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from posthorn.delivery.meant import looked_after, named, refuse_others
from posthorn.errors import InputError
from posthorn.ledger import resolving, totals
from posthorn.models import Kind, MessageState
from posthorn.settings import load_settings


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a person's word did: how many messages are settled, the state they have now, how many are unknown still."""

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
    """Settle unknown messages: those to ``numbers``, those with ``codes``, or all where neither is given; all or none.

    What was taken is accepted; what was not is pending, or cancelled where the delivery was.

    Raises:
        AlreadyRunning: the delivery is being sent, or looked after by another process.
        DeliveryNotFound: there is none of that name and kind.
        InputError: a number cannot be read, or what is named is no unknown message of it; nothing was settled.
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


def _look(kind: Kind) -> str:
    """The command that lists what is unknown: of tickets every status does, for nobody can be asked about them."""
    return "status" if kind is Kind.EVENT else "reconcile"
