"""What the ledger says of a campaign as a whole: the shape of ``status --json`` and of the table artifact."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from posthorn.ledger import tables
from posthorn.ledger.campaigns import CampaignRecord
from posthorn.ledger.store import Ledger
from posthorn.models import TOTALS, ChunkState

_OWN_COUNTERS = [name for name in tables.COUNTERS if name != "pending"]


def totals(ledger: Ledger, campaign: CampaignRecord) -> dict[str, int]:
    """How many input rows are in each state; keys and order of ``posthorn.models.TOTALS``, all present."""
    chunk = tables.chunk
    is_sending = chunk.c.state == int(ChunkState.SENDING)
    query = sa.select(
        sa.func.coalesce(sa.func.sum(chunk.c.pending).filter(sa.not_(is_sending)), 0).label("pending"),
        sa.func.coalesce(sa.func.sum(chunk.c.pending).filter(is_sending), 0).label("sending"),
        *(sa.func.coalesce(sa.func.sum(chunk.c[name]), 0).label(name) for name in _OWN_COUNTERS),
    ).where(chunk.c.id.between(campaign.first_chunk, campaign.last_chunk))
    with ledger.read() as connection:
        counted = connection.execute(query).mappings().one()
    own = {"input": campaign.input, "invalid": campaign.invalid, "duplicate": campaign.duplicate}
    return {name: own[name] if name in own else int(counted[name]) for name in TOTALS}


def errors(ledger: Ledger, campaign: CampaignRecord) -> dict[str, int]:
    """How many messages carry each provider code or reason, most frequent first."""
    message = tables.message
    query = (
        sa.select(message.c.error, sa.func.count())
        .where(message.c.campaign_id == campaign.id, message.c.error.is_not(None))
        .group_by(message.c.error)
        .order_by(sa.desc(sa.func.count()), message.c.error)
    )
    with ledger.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def status(ledger: Ledger, campaign: CampaignRecord) -> dict[str, Any]:
    """The status of a campaign or event: name, kind, state, totals, balanced, errors (design of ``status --json``).

    ``balanced`` is whether the states add up to the input, counted now. ``because`` says why it is stopped, if it is.
    """
    counted = totals(ledger, campaign)
    return {
        "name": campaign.name,
        "kind": campaign.kind.name.lower(),
        "state": _state(ledger, campaign, counted),
        "totals": counted,
        "balanced": sum(count for name, count in counted.items() if name != "input") == counted["input"],
        "errors": errors(ledger, campaign),
        "test": campaign.test,
        "because": campaign.stopped_because,
    }


def _state(ledger: Ledger, campaign: CampaignRecord, counted: dict[str, int]) -> str:
    if not ledger.locks.is_free(campaign.lock_key):
        return "running"
    if campaign.cancelled_at is not None:
        return "cancelled"
    if counted["pending"] or counted["sending"]:
        return "stopped"
    return "needs_attention" if counted["unknown"] or counted["rejected"] else "finished"
