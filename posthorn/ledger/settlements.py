"""Decisions on single messages, kept for good: what was decided, by whom, why, and which attempt it replaces."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Container, Iterable
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.ledger.store import tables
from posthorn.models import LEFT_STATES, ChunkState, MessageState

RESEND = "resend"
_NO_ID = "no id"
_BEFORE = re.compile(r".*; was ([a-z_]+) as (.+)", re.DOTALL)
TO_ANOTHER_NUMBER = "; to another number"
"""The end of a person's reason where a ticket is sent again to another number than before."""

_MOVED = re.compile(rf".*{TO_ANOTHER_NUMBER}; was [a-z_]+ as .+", re.DOTALL)
_SENT_AGAIN = sa.text(
    "SELECT DISTINCT s.chunk_id, s.position FROM settlement s"
    " JOIN message m ON m.chunk_id = s.chunk_id AND m.position = s.position JOIN chunk k ON k.id = s.chunk_id"
    " WHERE s.campaign_id = :campaign AND s.decision = :resend AND m.state = :state"
    f" AND (m.state <> {MessageState.PENDING} OR k.state <> {ChunkState.SENDING}) ORDER BY s.chunk_id, s.position"
)


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
    """Keep a decision on the message at this place. News about ``replaced_id``, of a former attempt, is old from then on."""
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
    return f"; was {state.name.lower()} as {provider_id or _NO_ID}"


def restore(connection: Connection, chunk: int, positions: Iterable[int], why: str, *, by: str = "send") -> set[int]:
    """Undo a person's resend of pending messages that will not go after all; returns the positions that had left before.

    Each is again what it was, under its id: the id is not replaced, and its news counts. If that attempt was refused, an
    older one that was taken counts. If a message's code or number has changed since, no former attempt says anything of it.
    """
    kept = tables.settlement.c
    query = sa.select(tables.settlement).where(kept.chunk_id == chunk, kept.position.in_(list(positions)))
    again = query.where(kept.evidence.like("%; was % as %")).order_by(kept.id.desc())
    over: set[int] = set()  # positions of which no older decision says anything
    refused: set[tuple[int, str]] = set()
    restored = set()
    for row in connection.execute(again):
        was = _BEFORE.fullmatch(row.evidence)
        if row.position in over or was is None:
            continue
        if row.decision != RESEND or _MOVED.fullmatch(row.evidence):
            over.add(row.position)
        elif (state := MessageState[was[1].upper()]) not in LEFT_STATES:
            refused.add((row.position, was[2]))
        elif was[2] == _NO_ID or (row.position, was[2]) not in refused:  # else it was taken first, and refused later
            _restore(connection, row, state, why, by)
            restored.add(row.position)
            over.add(row.position)
    return restored


def restore_all(
    connection: Connection, campaign_id: int, state: MessageState, why: str, *, by: str, among: Container[int] | None = None
) -> list[int]:
    """``restore`` every message in that state, of all chunks or of those ``among``, unless it is under way.

    The chunks are held already. Returns those of which something was restored, to be counted anew.
    """
    values = {"campaign": campaign_id, "resend": RESEND, "state": int(state)}
    found: defaultdict[int, list[int]] = defaultdict(list)
    for row in connection.execute(_SENT_AGAIN, values).all():
        if among is None or row.chunk_id in among:
            found[row.chunk_id].append(row.position)
    return [chunk for chunk, positions in found.items() if restore(connection, chunk, positions, why, by=by)]


def _restore(connection: Connection, resend: sa.Row[tuple[object, ...]], state: MessageState, why: str, by: str) -> None:
    message, kept = tables.message, tables.settlement
    here = sa.and_(message.c.chunk_id == resend.chunk_id, message.c.position == resend.position)
    connection.execute(
        message.update().where(here).values(state=int(state), provider_id=resend.replaced_id, error=None, epoch=None)
    )
    connection.execute(kept.update().where(kept.c.id == resend.id).values(replaced_id=None))
    keep(connection, resend.campaign_id, resend, "not again", state, by=by, why=f"it was not sent again: {why}")
