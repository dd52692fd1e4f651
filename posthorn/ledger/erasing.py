"""Erasing what may not be kept for ever: the numbers of campaigns that ended long ago. The counts and the name stay.

A campaign is never forgotten altogether: running its file again must find that everything was sent.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.ledger import proof_exclusion
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import ChunkState

_CHUNKS_PER_TRANSACTION = 500
_OF_MESSAGES = (tables.message, tables.ticket, tables.settlement, tables.taken_out, tables.absent)


def erasable(ledger: Ledger, *, ended_before: float) -> list[int]:
    """The ids of campaigns, events and tests that last ran before that time and have nothing open.

    Accepted messages of a test wait for no report: nothing was sent.
    """
    with ledger.read() as connection:
        return list(connection.scalars(_erasable(ended_before)))


def is_erasable(ledger: Ledger, delivery: Delivery, *, ended_before: float) -> bool:
    """Whether the campaign is (still) one of them; its lock is held."""
    with ledger.read() as connection:
        return connection.execute(_erasable(ended_before).where(tables.campaign.c.id == delivery.id)).first() is not None


def shares_rejects_file(ledger: Ledger, delivery: Delivery) -> bool:
    """Whether another campaign that is kept has the same rejects file, as a test and its campaign have."""
    other = tables.campaign.c
    query = sa.select(other.id).where(
        other.id != delivery.id, other.rejects_file == delivery.rejects_file, other.erased_at.is_(None)
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


def erase(ledger: Ledger, delivery: Delivery) -> int:
    """Delete the campaign's messages, tickets, settlements, proofs and kept answers; returns how many messages those were.

    It is closed first: with rows missing, a merge would plan everybody as new. Hashes of its codes stay. The caller holds
    its lock. It may be interrupted and called again.
    """
    erased = 0
    now = sa.func.coalesce(tables.campaign.c.closed_at, time.time())
    with ledger.write() as connection:
        connection.execute(tables.campaign.update().where(tables.campaign.c.id == delivery.id).values(closed_at=now))
        void = tables.void_code.c
        _keep_hashes(ledger, connection, delivery, sa.select(void.code).where(void.campaign_id == delivery.id))
        connection.execute(tables.void_code.delete().where(void.campaign_id == delivery.id))
        if not delivery.test:
            proof_exclusion.erase_within(connection, delivery.kind, delivery.name)
    for chunks in _chunks(ledger, delivery):
        with ledger.write() as connection:
            connection.execute(_forget_news(chunks))
            ticket = tables.ticket.c
            _keep_hashes(ledger, connection, delivery, sa.select(ticket.barcode).where(ticket.chunk_id.in_(chunks)))
            for table in _OF_MESSAGES:
                deleted = connection.execute(table.delete().where(table.c.chunk_id.in_(chunks))).rowcount
                erased += deleted if table is tables.message else 0
            answers = tables.attempt.update().where(tables.attempt.c.chunk_id.in_(chunks)).values(raw=None)
            connection.execute(answers)
    return erased


def code_hash(ledger: Ledger, code: str) -> str:
    """A code as an erased event keeps it: enough to recognise it in this ledger, and no more."""
    return hashlib.blake2b(code.encode(), digest_size=16, key=ledger.uuid.encode()).hexdigest()


def _keep_hashes(ledger: Ledger, connection: Connection, delivery: Delivery, codes: sa.Select[str]) -> None:
    hashes = [{"hash": code_hash(ledger, code), "campaign": delivery.id} for code in connection.scalars(codes)]
    if hashes:
        keep = "INSERT INTO erased_code (hash, campaign_id) VALUES (:hash, :campaign) ON CONFLICT DO NOTHING"
        connection.execute(sql(keep), hashes)


def _forget_news(chunks: Sequence[int]) -> sa.Delete:
    """News that contradicts a message holds a number, too."""
    message = tables.message.c
    theirs = sa.select(message.provider_id).where(message.chunk_id.in_(chunks), message.provider_id.is_not(None))
    return tables.parked_report.delete().where(tables.parked_report.c.provider_id.in_(theirs))


def _chunks(ledger: Ledger, delivery: Delivery) -> Iterator[Sequence[int]]:
    """The campaign's chunks, in groups of as many as one transaction should erase."""
    chunk = tables.chunk.c
    last = 0
    while True:
        some = sa.select(chunk.id).where(chunk.campaign_id == delivery.id, chunk.id > last).order_by(chunk.id)
        with ledger.read() as connection:
            ids = connection.scalars(some.limit(_CHUNKS_PER_TRANSACTION)).all()
        if not ids:
            return
        yield ids
        last = ids[-1]


def mark_erased(ledger: Ledger, delivery: Delivery) -> None:
    """Note that nothing of the campaign is left to erase."""
    with ledger.write() as connection:
        connection.execute(tables.campaign.update().where(tables.campaign.c.id == delivery.id).values(erased_at=time.time()))


def erase_parked(ledger: Ledger, *, received_before: float) -> int:
    """Delete news about ids that no message turned out to have; returns how many."""
    with ledger.write() as connection:
        return connection.execute(
            tables.parked_report.delete().where(tables.parked_report.c.received_at < received_before)
        ).rowcount
