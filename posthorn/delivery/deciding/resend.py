"""A second send on purpose: a person has messages sent again that failed, or that they name by number or code.

Sends nothing itself: they are pending, and the next run sends them. What is unknown is never among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from posthorn.delivery.deciding.meant import looked_after, named, refuse_others
from posthorn.errors import InputError
from posthorn.ledger import resolving
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.resolving import EVERYTHING, FAILED, RESENDABLE
from posthorn.models import Kind, MessageState
from posthorn.settings import load_settings

_NOT_TAKEN_TWICE = (*FAILED, MessageState.NO_REPORT)
"""From these states a message is sent again without --although-taken: nobody has said that it arrived."""


@dataclass(frozen=True, slots=True)
class Resent:
    """How many messages of a delivery are pending again."""

    kind: Kind
    name: str
    resent: int

    @property
    def next(self) -> str:
        """What to do now."""
        return f"run `{self.kind.command} send` with the same file again: it sends them"


def resend_failed(kind: Kind, name: str, *, by: str, why: str) -> Resent:
    """Have every message sent again that was rejected or reported as not delivered.

    Raises:
        AlreadyRunning: the delivery is being sent, or looked after by another process.
        DeliveryNotFound: there is none of that name and kind.
        InputError: nothing of it has failed, or it was cancelled.
    """
    return _resend_all(kind, name, FAILED, f"no {kind.item} of {name} was rejected or reported as not delivered", by, why)


def resend_all(kind: Kind, name: str, *, by: str, why: str) -> Resent:
    """Have everything sent again, except what is unknown, still scheduled, cancelled or suppressed.

    Raises:
        AlreadyRunning, DeliveryNotFound, InputError: as ``resend_failed``.
    """
    return _resend_all(kind, name, RESENDABLE, f"no {kind.item} of {name} can be sent again", by, why)


def resend_named(
    kind: Kind, name: str, *, numbers: Sequence[str] = (), codes: Sequence[str] = (), although_taken: bool, by: str, why: str
) -> Resent:
    """Have the messages to these numbers, or with these codes, sent again; all of them or none.

    ``although_taken``: also those that the provider took or reports as delivered, which somebody then gets twice.

    Raises:
        AlreadyRunning, DeliveryNotFound: as ``resend_failed``.
        InputError: a number cannot be read, there is no such message, or it cannot be sent again; what to do is said.
    """
    _refuse_without_reason(why)
    which = named(numbers, codes, load_settings())
    with looked_after(kind, name) as (ledger, delivery):
        _refuse_cancelled(delivery)
        states = (*(RESENDABLE if although_taken else _NOT_TAKEN_TWICE), MessageState.SUPPRESSED)
        word = resolving.resend(ledger, delivery, which, states, by=by, why=why)
        taken = [
            one
            for one in word.others
            if one.state in RESENDABLE and not (one.is_sending or one.is_out or one.is_barred or one.is_absent)
        ]
        if taken and not word.strangers and len(taken) == len(word.others):
            raise InputError(
                "--phone",
                f"{len(taken):,} of them were taken already, as {taken[0].state.name.lower()}; nothing was changed."
                " Add --although-taken if they are to get it twice",
            )
        refuse_others(delivery, word, f"no {kind.item} that can be sent again", "changed", "status")
    return Resent(kind, name, word.moved)


def _resend_all(kind: Kind, name: str, states: Sequence[MessageState], none: str, by: str, why: str) -> Resent:
    _refuse_without_reason(why)
    with looked_after(kind, name) as (ledger, delivery):
        _refuse_cancelled(delivery)
        word = resolving.resend(ledger, delivery, EVERYTHING, states, by=by, why=why)
        if not word.moved:
            raise InputError("NAME", f"{none}; `{kind.command} status {name}` shows how it stands")
    return Resent(kind, name, word.moved)


def _refuse_without_reason(why: str) -> None:
    if not why.strip():
        raise InputError("--why", "say why it is sent a second time; it is kept with the decision")


def _refuse_cancelled(delivery: Delivery) -> None:
    if delivery.cancelled_at is not None:
        raise InputError(
            "NAME", f"{delivery.name} was cancelled for good, so nothing of it is sent; give the file another name"
        )
