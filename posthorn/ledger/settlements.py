"""Decisions on single messages, kept for good: what was decided, by whom, why, and which attempt it replaces."""

from __future__ import annotations

import time
from typing import Protocol

from sqlalchemy import Connection

from posthorn.ledger.store import tables
from posthorn.models import MessageState


class Place(Protocol):
    """Where a message stands."""

    @property
    def chunk_id(self) -> int:
        """Its chunk."""

    @property
    def position(self) -> int:
        """Its place in it."""


def keep(
    connection: Connection,
    delivery_id: int,
    place: Place,
    decision: str,
    state: MessageState,
    *,
    by: str,
    why: str,
    replaced_id: str | None = None,
) -> None:
    """Keep a decision on the message at this place. News about ``replaced_id``, a former attempt's, is old from then on."""
    connection.execute(
        tables.settlement.insert().values(
            campaign_id=delivery_id,
            chunk_id=place.chunk_id,
            position=place.position,
            settled_at=time.time(),
            decision=decision,
            state=int(state),
            by=by,
            evidence=why,
            replaced_id=replaced_id,
        )
    )
