"""Decisions on single messages, kept for good: what was decided, by whom, why, and which attempt it replaces."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.ledger.store import tables
from posthorn.models import LEFT_STATES, MessageState

RESEND = "resend"
_LEFT = "|".join(state.name.lower() for state in LEFT_STATES)
_BEFORE = re.compile(rf"; was ({_LEFT}) as (.+)\Z")


class HasPosition(Protocol):
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
    place: HasPosition,
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


def before(state: MessageState, provider_id: str | None) -> str:
    """The end of the evidence of a decision to send again: how the message stood. ``restore`` reads it."""
    return f"; was {state.name.lower()} as {provider_id or 'no id'}"


def restore(connection: Connection, chunk: int, positions: Iterable[int], why: str) -> set[int]:
    """Undo a person's resend of pending messages that are not to go after all; the positions of those that had left before.

    Each is again what it was, under its id: the id is not replaced, and its news counts. Of a message whose code or number
    has changed since, the former attempt says nothing.
    """
    kept = tables.settlement.c
    query = sa.select(tables.settlement).where(kept.chunk_id == chunk, kept.position.in_(list(positions)))
    again = query.where(kept.evidence.like("%; was % as %")).order_by(kept.id)
    newest = {row.position: row for row in connection.execute(again)}
    restored = set()
    for position, row in newest.items():
        left = _BEFORE.search(row.evidence) if row.decision == RESEND else None
        if left is not None:
            _restore(connection, row, MessageState[left[1].upper()], why)
            restored.add(position)
    return restored


def _restore(connection: Connection, resend: sa.Row[tuple[object, ...]], state: MessageState, why: str) -> None:
    message, kept = tables.message, tables.settlement
    here = sa.and_(message.c.chunk_id == resend.chunk_id, message.c.position == resend.position)
    connection.execute(
        message.update().where(here).values(state=int(state), provider_id=resend.replaced_id, error=None, epoch=None)
    )
    connection.execute(kept.update().where(kept.c.id == resend.id).values(replaced_id=None))
    keep(connection, resend.campaign_id, resend, "not again", state, by="send", why=f"it was not sent again: {why}")
