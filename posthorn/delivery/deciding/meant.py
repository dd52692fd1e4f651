"""Which messages a person means, as typed at a terminal; and why some of them cannot be meant, in words, numbers masked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, overload

from posthorn.content.plain import plain
from posthorn.content.recipients.number import read_phone
from posthorn.delivery.running.locks import lock_for_lookup
from posthorn.errors import InputError
from posthorn.ledger import deliveries, sending
from posthorn.ledger.deliveries import Delivery, PlannedEvent
from posthorn.ledger.resolving import Meant, Which, Word
from posthorn.ledger.spool import import_spool
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Kind, MessageState, Phone, mask_phone
from posthorn.settings import Settings, load_settings

_SHOWN = 5
_WAY_ON = {
    MessageState.PENDING: "It is not sent yet: `{command} send` with the same file sends it",
    MessageState.UNKNOWN: "Nobody can tell yet whether it went out: `{command} resolve {name}` settles that first",
    MessageState.SCHEDULED: "The provider keeps it until its time, so it will still go out",
    MessageState.CANCELLED: "It was cancelled, so nothing more goes there",
    MessageState.SUPPRESSED: (
        "That number must not be messaged: `posthorn suppress check PHONE` says why, and"
        " `posthorn suppress remove PHONE --why …` takes it off the list first"
    ),
}
"""What to know, or to do, about a message of that state when a person names it."""


@overload
def looked_after(kind: Literal[Kind.EVENT], name: str) -> AbstractContextManager[tuple[Ledger, PlannedEvent]]: ...
@overload
def looked_after(kind: Kind, name: str) -> AbstractContextManager[tuple[Ledger, Delivery]]: ...
@contextmanager
def looked_after(kind: Kind, name: str) -> Iterator[tuple[Ledger, Any]]:
    """A delivery of that kind. What a dead process left of it is unknown first, and no other process is at work on it.

    Raises:
        AlreadyRunning: it is being sent, or looked after by another process.
        DeliveryNotFound: there is none of that name and kind.
    """
    settings = load_settings()
    with open_ledger(settings) as ledger:
        delivery = deliveries.get(ledger, name, kind=kind)
        lock_for_lookup(ledger, delivery)
        import_spool(settings.state_dir / "spool", ledger)
        sending.abandon_dead(ledger, delivery)
        yield ledger, deliveries.get(ledger, name, kind=kind)


def named(numbers: Sequence[str], codes: Sequence[str], settings: Settings) -> Which:
    """The messages with these numbers, written any way, or with these codes.

    Raises:
        InputError: a number cannot be read; or both are given, or an empty code.
    """
    if numbers and codes:
        raise InputError("CODE", "say either codes or --phone NUMBER")
    if not all(code.strip() for code in codes):
        raise InputError("CODE", "expected a code, not nothing")
    return Which([read_phone(number, settings) for number in numbers], codes)


def refuse_others(delivery: Delivery, word: Word, wanted: str, undone: str, look: str) -> None:
    """Refuse if some of the named messages cannot be meant. Nothing is changed then.

    ``wanted`` says what they are not, such as ``no unknown message``. ``undone`` is what was not done, such as ``settled``.
    ``look`` is the command that shows more.

    Raises:
        InputError: who is meant, masked, why not, and what to do.
    """
    if not (word.strangers or word.others):
        return
    listed = [_shown(one) for one in (*word.strangers, *(one.code or one.phone for one in word.others))]
    more = f" and {len(listed) - _SHOWN:,} more" if len(listed) > _SHOWN else ""
    said = [f"{', '.join(listed[:_SHOWN])}{more}: {wanted} of {delivery.name}; nothing was {undone}"]
    said += dict.fromkeys(_why(one, delivery) for one in word.others)
    field = "CODE" if any(isinstance(one, str) for one in word.strangers) else "--phone"
    raise InputError(field, f"{'. '.join(said)}. `{delivery.kind.command} {look} {delivery.name}` shows how it stands")


def _why(one: Meant, delivery: Delivery) -> str:
    """``It is accepted``, or what to know and to do about that state."""
    if one.is_absent and not one.is_out:
        return (
            "Its row has left the list, so nothing more goes there: put it back, run"
            f" `{delivery.kind.command} send` with the file, and say this again"
        )
    barred = MessageState.SUPPRESSED if one.is_barred else None
    state = MessageState.CANCELLED if one.is_out else barred or (MessageState.PENDING if one.is_sending else one.state)
    words = _WAY_ON.get(state, f"It is {state.name.lower().replace('_', ' ')}")
    return words.format(command=delivery.kind.command, name=delivery.name)


def _shown(one: Phone | str) -> str:
    return plain(one, most=64) if isinstance(one, str) else mask_phone(one)
