"""Erasing what may not be kept for ever: the numbers of campaigns that ended long ago. The counts stay, and the name.

A campaign is never forgotten altogether: running its file again must find that everything was sent.
"""

from __future__ import annotations

import time

import sqlalchemy as sa

from posthorn.ledger.campaigns import CampaignRecord
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import ChunkState

_CHUNKS_PER_TRANSACTION = 500
_OF_MESSAGES = ("message", "ticket", "settlement")


def erasable(ledger: Ledger, *, ended_before: float) -> list[int]:
    """The ids of campaigns, events and tests that were last run before that time, and of which nothing is open.

    What a test had accepted waits for no report: nothing was sent.
    """
    with ledger.read() as connection:
        return list(connection.scalars(_erasable(ended_before)))


def is_erasable(ledger: Ledger, campaign: CampaignRecord, *, ended_before: float) -> bool:
    """Whether the campaign is (still) one of them; its lock is held."""
    with ledger.read() as connection:
        return connection.execute(_erasable(ended_before).where(tables.campaign.c.id == campaign.id)).first() is not None


def shares_rejects_file(ledger: Ledger, campaign: CampaignRecord) -> bool:
    """Whether another campaign that is kept has the same rejects file: a test and what it was a test for have."""
    other = tables.campaign.c
    query = sa.select(other.id).where(
        other.id != campaign.id, other.rejects_file == campaign.rejects_file, other.erased_at.is_(None)
    )
    with ledger.read() as connection:
        return connection.execute(query).first() is not None


def _erasable(ended_before: float) -> sa.Select[int]:
    campaign, chunk = tables.campaign.c, tables.chunk.c
    waits = sa.and_(sa.not_(campaign.test), sa.or_(chunk.accepted > 0, chunk.scheduled > 0))
    is_open = sa.or_(chunk.state != int(ChunkState.DONE), waits, chunk.finished_at >= ended_before)
    return sa.select(campaign.id).where(
        campaign.erased_at.is_(None),
        campaign.planned_at < ended_before,
        sa.func.coalesce(campaign.run_ended_at, campaign.run_started_at, campaign.planned_at) < ended_before,
        ~sa.exists().where(chunk.campaign_id == campaign.id, is_open),
    )


def erase(ledger: Ledger, campaign: CampaignRecord) -> int:
    """Delete the campaign's messages, tickets, settlements and kept answers; returns how many messages those were.

    The caller holds its lock. It may be interrupted, and be called again.
    """
    erased = 0
    for first in range(campaign.first_chunk, campaign.last_chunk + 1, _CHUNKS_PER_TRANSACTION):
        span = {"first": first, "last": min(first + _CHUNKS_PER_TRANSACTION - 1, campaign.last_chunk)}
        with ledger.write() as connection:
            connection.execute(_FORGET_NEWS, span)
            for table in _OF_MESSAGES:
                deleted = connection.execute(
                    sql(f"DELETE FROM {table} WHERE chunk_id BETWEEN :first AND :last"),  # noqa: S608 - own words
                    span,
                ).rowcount
                erased += deleted if table == "message" else 0
            connection.execute(sql("UPDATE attempt SET raw = NULL WHERE chunk_id BETWEEN :first AND :last"), span)
    return erased


_FORGET_NEWS = sql(
    "DELETE FROM parked_report WHERE provider_id IN"
    " (SELECT provider_id FROM message WHERE chunk_id BETWEEN :first AND :last AND provider_id IS NOT NULL)"
)
"""News that contradicts a message holds a number, too."""


def mark_erased(ledger: Ledger, campaign: CampaignRecord) -> None:
    """Note that nothing of the campaign is left to erase."""
    with ledger.write() as connection:
        connection.execute(tables.campaign.update().where(tables.campaign.c.id == campaign.id).values(erased_at=time.time()))


def erase_parked(ledger: Ledger, *, received_before: float) -> int:
    """Delete news about ids that turned out to be nobody's; returns how many."""
    with ledger.write() as connection:
        return connection.execute(
            tables.parked_report.delete().where(tables.parked_report.c.received_at < received_before)
        ).rowcount
