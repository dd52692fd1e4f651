"""Every message of a campaign or event, one after the other, in the order of its file: for exports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from posthorn.ledger.campaigns import CampaignRecord
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import ChunkState, MessageState, Phone

_PAGE = 5_000
_PAGES = sql(
    "SELECT m.chunk_id, m.position, m.line, m.phone, m.state, k.state AS chunk_state, m.error, m.provider_id, t.barcode,"
    " k.claimed_at, m.delivered_at FROM message m JOIN chunk k ON k.id = m.chunk_id"
    " LEFT JOIN ticket t ON t.chunk_id = m.chunk_id AND t.position = m.position"
    " WHERE (m.chunk_id, m.position) > (:chunk, :position) AND m.chunk_id <= :last"
    " ORDER BY m.chunk_id, m.position LIMIT :size"
)
_NEVER_SENT = (MessageState.PENDING, MessageState.SUPPRESSED)


class Listed(NamedTuple):
    """One message. ``state`` is a key of the totals, ``error`` the provider's code or reason, times seconds since 1970.

    ``sent_at`` is when its request was last made; None where none was, or where the message waits to be sent again.
    """

    line: int
    phone: Phone
    state: str
    error: str | None
    provider_id: str | None
    barcode: str | None
    sent_at: float | None
    delivered_at: float | None


def messages(ledger: Ledger, campaign: CampaignRecord) -> Iterator[Listed]:
    """Every message once, as it stands when its page is read; a running send is not kept waiting."""
    chunk, position = campaign.first_chunk, -1
    names = {int(state): state.name.lower() for state in MessageState}
    while True:
        values = {"chunk": chunk, "position": position, "last": campaign.last_chunk, "size": _PAGE}
        with ledger.read() as connection:
            page = connection.execute(_PAGES, values).all()
        for row in page:
            waits = row.state == MessageState.PENDING
            state = "sending" if waits and row.chunk_state == ChunkState.SENDING else names[row.state]
            sent_at = None if row.state in _NEVER_SENT and state != "sending" else row.claimed_at
            yield Listed(
                row.line, Phone(row.phone), state, row.error, row.provider_id, row.barcode, sent_at, row.delivered_at
            )
        if len(page) < _PAGE:
            return
        chunk, position = page[-1].chunk_id, page[-1].position
