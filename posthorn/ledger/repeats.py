"""The same message under a new name: which other campaigns sent it to the same numbers lately."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posthorn.ledger.campaigns import CampaignRecord, all_records
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import Kind, MessageState

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


def same_content(
    ledger: Ledger, kind: Kind, name: str, definition: Mapping[str, Any], *, since: float
) -> list[CampaignRecord]:
    """Others of that kind, tests aside, planned since then with the same content."""
    return [
        other
        for other in all_records(ledger, kind)
        if other.name != name
        and not other.test
        and other.created_at >= since
        and all(other.definition.get(key) == definition.get(key) for key in _CONTENT[kind])
    ]


def _in_common(ledger: Ledger, campaign_id: int, other: CampaignRecord) -> int:
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
