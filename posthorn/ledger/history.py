"""One number's history over every campaign and event of the ledger, and how long requests took lately."""

from __future__ import annotations

from dataclasses import dataclass

from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import ChunkState, Kind, MessageState, Phone


@dataclass(frozen=True, slots=True)
class Entry:
    """One message to the number. Times are seconds since 1970; ``state`` is a key of the totals; ``code`` is a ticket's."""

    kind: str
    name: str
    test: bool
    line: int
    state: str
    provider_id: str | None
    error: str | None
    code: str | None
    sent_at: float | None
    delivered_at: float | None


_OF_NUMBER = (
    "SELECT c.kind, c.name, c.test, m.line, m.state, k.state AS chunk_state, m.provider_id, m.error, t.barcode,"
    " k.claimed_at, m.delivered_at FROM message m JOIN campaign c ON c.id = m.campaign_id JOIN chunk k ON k.id = m.chunk_id"
    " LEFT JOIN ticket t ON t.chunk_id = m.chunk_id AND t.position = m.position"
    " WHERE m.phone = :phone AND c.planned_at IS NOT NULL ORDER BY c.id, m.chunk_id"
)

_NEWEST_REQUESTS = (
    "SELECT avg(seconds) FROM (SELECT a.ended_at - a.started_at AS seconds FROM attempt a JOIN chunk k ON k.id = a.chunk_id"
    " JOIN campaign c ON c.id = k.campaign_id WHERE a.outcome = 'answered' AND c.gateway = :gateway AND NOT c.test"
    " ORDER BY a.chunk_id DESC LIMIT 200) AS newest"
)


def history(ledger: Ledger, phone: Phone) -> list[Entry]:
    """Every message to that number, oldest campaign first."""
    with ledger.read() as connection:
        rows = connection.execute(sql(_OF_NUMBER), {"phone": phone}).all()
    return [
        Entry(
            Kind(row.kind).name.lower(),
            row.name,
            bool(row.test),
            row.line,
            _state(row.state, row.chunk_state),
            row.provider_id,
            row.error,
            row.barcode,
            row.claimed_at,
            row.delivered_at,
        )
        for row in rows
    ]


def _state(state: int, chunk_state: int) -> str:
    if state == MessageState.PENDING and chunk_state == ChunkState.SENDING:
        return "sending"
    return MessageState(state).name.lower()


def seconds_per_request(ledger: Ledger, gateway: str) -> float | None:
    """The mean time of this gateway's newest answered requests, or None if there are none."""
    with ledger.read() as connection:
        mean: float | None = connection.execute(sql(_NEWEST_REQUESTS), {"gateway": gateway}).scalar()
    return mean
