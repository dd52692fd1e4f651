"""The same message under another name: a slip that neither a lock nor a ledger row would catch, so it is asked for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from posthorn.delivery.wish import Batch, Wish
from posthorn.errors import InputError
from posthorn.ledger.repeats import CommonNumbers, Repeat
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind, Phone

REPEAT_DAYS = 7
"""How far back the same message to the same numbers under another name is taken for a slip."""

_REPEATED = {
    Kind.CAMPAIGN: ("the same title, text and media", "Go on with that campaign"),
    Kind.EVENT: ("the same stored MMS", "Go on with that event, leave only who is new in the file"),
}


class Repeats:
    """Asks, of the new rows of a file, who has had the same lately under another name."""

    def __init__(self, ledger: Ledger, wish: Wish, definition: Mapping[str, Any]) -> None:
        self._kind = wish.kind
        is_asked = wish.repeat == "refuse"
        self._common = CommonNumbers(ledger, wish.kind, wish.name, definition, since=repeat_since()) if is_asked else None

    def add(self, batch: Batch) -> None:
        """Look up a batch of rows."""
        if self._common is not None:
            phones: list[Phone] = [one[1] if isinstance(one, tuple) else one.phone for one in batch]
            self._common.add(phones)

    def refuse(self) -> None:
        """Refuse where others with the same content have numbers in common.

        Raises:
            InputError: they are named.
        """
        refuse_repeats(self._kind, self._common.found() if self._common is not None else [])


def repeat_since() -> float:
    """Since when the same message to the same numbers is taken for a slip."""
    return time.time() - REPEAT_DAYS * 86_400


def refuse_repeats(kind: Kind, found: Sequence[Repeat]) -> None:
    """Refuse where others with the same content have numbers in common.

    Raises:
        InputError: they are named.
    """
    if not found:
        return
    listed = "; ".join(
        f"{one.numbers:,} of them in {one.name} of {datetime.fromtimestamp(one.created_at).astimezone():%Y-%m-%d %H:%M}"
        for one in found
    )
    what, way = _REPEATED[kind]
    raise InputError(
        "name",
        f"{what} went to some of these numbers in the last {REPEAT_DAYS} days: {listed}. Nothing was sent. {way}, or set"
        " allow_repeat = true to send it to them again on purpose",
    )
