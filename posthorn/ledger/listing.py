"""Every message of a campaign or event, one after the other, in the order of its file: for exports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.paging import BEHIND, IN_ORDER, pages
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import ChunkState, MessageState, Phone

_PAGE = 5_000
_PAGES = sql(
    "SELECT m.chunk_id, m.position, m.line, m.phone, m.state, k.state AS chunk_state, m.error, m.provider_id, t.barcode,"
    " k.claimed_at, m.delivered_at FROM chunk k JOIN message m ON m.chunk_id = k.id"
    " LEFT JOIN ticket t ON t.chunk_id = m.chunk_id AND t.position = m.position"
    f" WHERE k.campaign_id = :campaign AND {BEHIND} {IN_ORDER}"
)
_NEVER_SENT = (MessageState.PENDING, MessageState.SUPPRESSED)


class Listed(NamedTuple):
    """One message. ``state`` is a key of the totals, ``error`` the provider's code or reason, times seconds since 1970.

    ``sent_at`` is when its request was last made; None if none was, or if the message waits to be sent again.
    """

    line: int
    phone: Phone
    state: str
    error: str | None
    provider_id: str | None
    barcode: str | None
    sent_at: float | None
    delivered_at: float | None


def messages(ledger: Ledger, delivery: Delivery) -> Iterator[Listed]:
    """Every message once, as it stands when its page is read; a running send is not kept waiting."""
    names = {int(state): state.name.lower() for state in MessageState}
    for page in pages(ledger, _PAGES, {"campaign": delivery.id}, _PAGE):
        for row in page:
            waits = row.state == MessageState.PENDING
            state = "sending" if waits and row.chunk_state == ChunkState.SENDING else names[row.state]
            sent_at = None if row.state in _NEVER_SENT and state != "sending" else row.claimed_at
            yield Listed(
                row.line, Phone(row.phone), state, row.error, row.provider_id, row.barcode, sent_at, row.delivered_at
            )
