"""What is left to say of a delivery whose rows are erased: that they are, instead of a list that looks whole."""

from __future__ import annotations

from posthorn.errors import InputError
from posthorn.ledger.deliveries import Delivery


def refuse_incomplete(delivery: Delivery, count: int) -> None:
    """Refuse where fewer messages were read than were planned: its numbers were erased, or are being.

    Raises:
        InputError: they were.
    """
    if count < delivery.input - delivery.invalid - delivery.duplicate:
        status = f"`{delivery.kind.command} status {delivery.name}`"
        raise InputError("export", f"the numbers of {delivery.name} were erased; {status} still has the counts")
