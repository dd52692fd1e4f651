"""Reading many messages page by page, in the order of their chunks: no reader keeps a writer waiting for long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Executable, Row

from posthorn.ledger.store.engine import Ledger

BEHIND = "k.id >= :chunk AND (k.id, m.position) > (:chunk, :position)"
"""What a paged query of chunks ``k`` and their messages ``m`` demands. Its first half tells SQLite where to start."""
IN_ORDER = "ORDER BY k.id, m.position LIMIT :size"
"""How a paged query ends. Among its columns are ``chunk_id`` and ``position``."""


def pages(ledger: Ledger, query: Executable, values: Mapping[str, object], size: int) -> Iterator[Sequence[Row[Any]]]:
    """Pages of up to ``size`` rows, none of them empty.

    Each page is read when it is asked for, in a transaction of its own: what moved meanwhile is shown as it is then.
    """
    chunk, position = 0, -1
    while True:
        with ledger.read() as connection:
            page = connection.execute(query, {**values, "chunk": chunk, "position": position, "size": size}).all()
        if page:
            yield page
            chunk, position = page[-1].chunk_id, page[-1].position
        if len(page) < size:
            return
