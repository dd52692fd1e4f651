"""Whom a delivery suppressed, and why, as the ledger says it."""

from __future__ import annotations

import sqlalchemy as sa

from posthorn.ledger import deliveries
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MessageState


def codes(ledger: Ledger, name: str) -> dict[str, str]:
    """The code of every suppressed message of a delivery, by its number."""
    message = tables.message.c
    delivery = deliveries.get(ledger, name)
    query = sa.select(message.phone, message.error).where(
        message.campaign_id == delivery.id, message.state == int(MessageState.SUPPRESSED)
    )
    with ledger.read() as connection:
        return {f"+{row.phone}": row.error for row in connection.execute(query)}
