"""The same message under a new name: which other campaigns sent it to the same numbers lately."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from posthorn.ledger.deliveries import Delivery, all_records
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.ledger.store.tables import message
from posthorn.models import Kind, MessageState, Phone

_NEVER_SENT = (int(MessageState.REJECTED), int(MessageState.CANCELLED), int(MessageState.SUPPRESSED))

_CONTENT = {Kind.CAMPAIGN: ("title", "text", "media"), Kind.EVENT: ("mms_id",)}
"""What is the same content: for an event the stored MMS, whatever else its tickets say."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Another campaign with the same content, and how many of the numbers it has in common."""

    name: str
    created_at: float
    numbers: int


def repeats(
    ledger: Ledger, kind: Kind, campaign_id: int, name: str, definition: Mapping[str, Any], *, since: float
) -> list[Repeat]:
    """Others of that kind planned since then with the same content, and numbers in common that they may have sent to.

    The campaign of that id need not count as planned yet; its rows are written.
    """
    found = []
    for other in same_content(ledger, kind, name, definition, since=since):
        numbers = _in_common(ledger, campaign_id, other)
        if numbers:
            found.append(Repeat(other.name, other.created_at, numbers))
    return found


def same_content(ledger: Ledger, kind: Kind, name: str, definition: Mapping[str, Any], *, since: float) -> list[Delivery]:
    """Others of that kind, tests aside, planned since then with the same content."""
    return [
        other
        for other in all_records(ledger, kind)
        if other.name != name
        and not other.test
        and other.created_at >= since
        and all(other.definition.get(key) == definition.get(key) for key in _CONTENT[kind])
    ]


class CommonNumbers:
    """Counts, of numbers that are not planned yet, those that others with the same content sent to since then, or may."""

    def __init__(self, ledger: Ledger, kind: Kind, name: str, definition: Mapping[str, Any], *, since: float) -> None:
        self._ledger = ledger
        self._others = same_content(ledger, kind, name, definition, since=since)
        self._counts: Counter[int] = Counter()

    def add(self, phones: Sequence[Phone]) -> None:
        """Look up a batch of numbers, of which each is given once."""
        if not self._others or not phones:
            return
        query = sa.select(message.c.campaign_id, sa.func.count()).where(
            message.c.phone.in_(set(phones)),
            message.c.campaign_id.in_([other.id for other in self._others]),
            message.c.state.not_in(_NEVER_SENT),
        )
        with self._ledger.read() as connection:
            for campaign_id, count in connection.execute(query.group_by(message.c.campaign_id)):
                self._counts[campaign_id] += count

    def found(self) -> list[Repeat]:
        """The others that have numbers in common, with how many."""
        counted = ((other, self._counts[other.id]) for other in self._others)
        return [Repeat(other.name, other.created_at, count) for other, count in counted if count]


def _in_common(ledger: Ledger, campaign_id: int, other: Delivery) -> int:
    """How many numbers of the campaign the other has sent to, or may still send to."""
    query = sql(
        "SELECT count(*) FROM chunk k JOIN message o ON o.chunk_id = k.id"
        " JOIN message m ON m.phone = o.phone AND m.campaign_id = :mine"
        " WHERE k.campaign_id = :other AND o.state NOT IN (:rejected, :cancelled, :suppressed)"
    )
    values = {
        "mine": campaign_id,
        "other": other.id,
        "rejected": MessageState.REJECTED,
        "cancelled": MessageState.CANCELLED,
        "suppressed": MessageState.SUPPRESSED,
    }
    with ledger.read() as connection:
        return int(connection.execute(query, values).scalar_one())
