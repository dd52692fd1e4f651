"""Reading many messages page by page, in the order of their chunks: no reader keeps a writer waiting for long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Executable, Row

from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import ChunkState, MessageState


def behind(chunk: str) -> str:
    """The condition of a paged query of messages ``m``; ``chunk`` is the column of their chunk that its index starts with.

    Its first half tells SQLite where to start. Among the columns of the query are ``chunk_id`` and ``position``.
    """
    return f"{chunk} >= :chunk AND ({chunk}, m.position) > (:chunk, :position)"


def in_order(chunk: str) -> str:
    """How a paged query ends."""
    return f"ORDER BY {chunk}, m.position LIMIT :size"


BEHIND, IN_ORDER = behind("k.id"), in_order("k.id")
"""For a query that begins with chunks ``k``, as most do."""
PENDING = sql(
    "SELECT m.chunk_id, m.position, m.line, m.phone FROM chunk k JOIN message m ON m.chunk_id = k.id"
    f" WHERE k.campaign_id = :campaign AND k.state = {ChunkState.PENDING} AND m.state = {MessageState.PENDING}"
    f" AND {BEHIND} {IN_ORDER}"
)
"""What of the delivery ``campaign`` is pending and in no request."""


def page(
    ledger: Ledger, query: Executable, values: Mapping[str, object], size: int, after: tuple[int, int] = (0, -1)
) -> Sequence[Row[Any]]:
    """Up to ``size`` rows behind ``after`` (chunk, position)."""
    with ledger.read() as connection:
        return connection.execute(query, {**values, "chunk": after[0], "position": after[1], "size": size}).all()


def pages(ledger: Ledger, query: Executable, values: Mapping[str, object], size: int) -> Iterator[Sequence[Row[Any]]]:
    """Pages of up to ``size`` rows, none of them empty.

    Each page is read when it is asked for, in a transaction of its own: what moved meanwhile is shown as it is then.
    """
    after = (0, -1)
    while True:
        found = page(ledger, query, values, size, after)
        if found:
            yield found
            after = (found[-1].chunk_id, found[-1].position)
        if len(found) < size:
            return
