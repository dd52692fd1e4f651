"""A delivery whose rows are erased: it is refused, so that no list looks whole that is not."""

from __future__ import annotations

from posthorn.errors import InputError
from posthorn.ledger.deliveries import Delivery


def refuse_incomplete(delivery: Delivery, count: int) -> None:
    """Refuse if fewer messages were read than were planned: its numbers were erased, or are being erased.

    Raises:
        InputError: they were.
    """
    if count < delivery.input - delivery.invalid - delivery.duplicate:
        status = f"`{delivery.kind.command} status {delivery.name}`"
        raise InputError("export", f"the numbers of {delivery.name} were erased; {status} still has the counts")
