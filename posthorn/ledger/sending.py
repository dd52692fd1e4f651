"""What becomes of a claim: recorded, unknown, released, abandoned.

Every write names the claim's epoch. So a process that slept while another took over cannot overwrite what became
known meanwhile.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.errors import Evidence, GatewayError, GivenBack
from posthorn.ledger import departures
from posthorn.ledger.claims import Claim, ClaimLost, owner_key
from posthorn.ledger.deliveries import Delivery, hold_chunks, recount
from posthorn.ledger.merging import restore_left
from posthorn.ledger.receipts import (
    UNCLAIMED_SINCE,
    close_attempt,
    close_failed,
    is_clean,
    keep_late,
    keep_surplus,
    move_messages,
    require_current_claim,
    without_bound_ids,
)
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, pipelined, rows, sql
from posthorn.ledger.store.failures import Conflict, Deadlock
from posthorn.models import ID_BOUND, OUR_CODES, Answer, ChunkState, MessageState, Receipt

_HAS_LEFT = sql(
    f"SELECT EXISTS (SELECT 1 FROM chunk k WHERE k.campaign_id = :campaign AND (k.state = {ChunkState.SENDING}"
    " OR k.accepted + k.scheduled"
    " + k.unknown + k.delivered + k.undelivered + k.no_report > 0)) OR EXISTS (SELECT 1 FROM chunk k JOIN message m"
    " ON m.chunk_id = k.id WHERE k.campaign_id = :campaign AND m.provider_id IS NOT NULL) OR EXISTS (SELECT 1 FROM chunk k"
    " JOIN attempt a ON a.chunk_id = k.id WHERE k.campaign_id = :campaign"
    " AND a.outcome IN ('sending', 'unknown', 'abandoned', 'late'))"
)
"""By states, by ids of what was withdrawn or sent again, and by requests whose outcome was only settled later."""
_HAS_TAKEN_OUT = (
    "SELECT campaign_id FROM chunk WHERE id = :chunk AND EXISTS (SELECT 1 FROM taken_out WHERE chunk_id = :chunk)"
)
_MAX_DEADLOCKS = 5


def record(ledger: Ledger, claimed: Claim, answer: Answer) -> None:
    """Record what the provider answered for every recipient of the claim, in one transaction.

    A late answer adds what it knows as long as the chunk has not been claimed again, even if the claim was abandoned. A
    provider id that is bound to another message already is not bound twice: that recipient becomes unknown.

    Raises:
        ClaimLost: the outcome is recorded already, or the chunk has been claimed again since; no message was moved.
    """
    try:
        _record_free(ledger, claimed, answer)
    except ClaimLost:
        keep_late(ledger, claimed, answer)
        raise


def record_unknown(ledger: Ledger, claimed: Claim, error: GatewayError | None = None) -> None:
    """Record that nobody can tell whether the claim's request was carried out.

    Raises:
        ClaimLost: as ``record``.
    """
    receipts = [Receipt(MessageState.UNKNOWN, error=error.code if error else None)] * len(claimed.positions)
    with ledger.write() as connection:
        require_current_claim(connection, claimed, UNCLAIMED_SINCE)
        with pipelined(connection):
            move_messages(ledger, connection, claimed, receipts)
            close_failed(connection, claimed, "unknown", error)


def release(ledger: Ledger, claimed: Claim, error: GatewayError | None = None) -> None:
    """Record that the claim's request was surely not carried out: its recipients are pending again.

    Only the process that made the claim may say so, and only while the claim stands.

    Raises:
        ClaimLost: the claim was abandoned, or its outcome is recorded already.
    """
    with ledger.write() as connection:
        require_current_claim(connection, claimed, f"{ChunkState.SENDING}")
        with pipelined(connection):
            recount(connection, "id = :chunk", ends_sending=True, chunk=claimed.chunk_id)
            close_failed(connection, claimed, "not_taken", error)
        _restore_taken_out(connection, claimed.chunk_id)


def abandon_dead(ledger: Ledger, delivery: Delivery) -> int:
    """Make every chunk that a dead process left ``sending`` unknown; returns how many chunks that were.

    An owner is dead when nobody holds its lock. The operating system or the database frees it; no clock is involved. What it
    surely had not handed to the provider is pending again (``departures``), and does not count.
    """
    with ledger.read() as connection:
        owners = list(
            connection.execute(
                sa.select(tables.chunk.c.owner)
                .distinct()
                .where(tables.chunk.c.campaign_id == delivery.id, tables.chunk.c.state == int(ChunkState.SENDING))
            ).scalars()
        )
    dead = [owner for owner in owners if ledger.locks.is_free(owner_key(owner))]
    for owner in dead:
        _give_back_unsent(ledger, delivery, owner)
    return sum(_abandon(ledger, delivery, owner) for owner in dead)


def may_be_kept(ledger: Ledger, delivery: Delivery) -> bool:
    """Whether any of its requests named a moment or a hold, so that the provider may keep its messages."""
    attempt, chunk = tables.attempt.c, tables.chunk.c
    dated = sa.or_(attempt.send_at.is_not(None), attempt.hold_minutes > 0)
    of_it = attempt.chunk_id.in_(sa.select(chunk.id).where(chunk.campaign_id == delivery.id))
    with ledger.read() as connection:
        return connection.execute(sa.select(attempt.epoch).where(of_it, dated).limit(1)).first() is not None


def has_left(ledger: Ledger, delivery: Delivery) -> bool:
    """Whether anything of it has left or may have. Content that reached somebody is not changed for the others."""
    with ledger.read() as connection:
        return bool(connection.execute(_HAS_LEFT, {"campaign": delivery.id}).scalar_one())


def in_flight(ledger: Ledger, delivery: Delivery) -> int:
    """How many chunks are claimed right now, by whatever process."""
    with ledger.read() as connection:
        query = sql(f"SELECT count(*) FROM chunk WHERE campaign_id = :campaign AND state = {ChunkState.SENDING}")
        count: int = connection.execute(query, {"campaign": delivery.id}).scalar_one()
    return count


def _give_back_unsent(ledger: Ledger, delivery: Delivery, owner: str) -> None:
    """Release the claims of a dead process that are known not to have been handed to the provider."""
    handed_over = departures.handed_over(ledger.uuid, owner)
    if handed_over is None:
        return
    chunk, attempt = tables.chunk.c, tables.attempt.c
    query = sa.select(chunk.id, chunk.epoch).where(
        chunk.campaign_id == delivery.id, chunk.owner == owner, chunk.state == int(ChunkState.SENDING)
    )
    with ledger.read() as connection:
        claimed = [(row.id, row.epoch) for row in connection.execute(query)]
        attempts = connection.execute(sa.select(attempt.chunk_id, attempt.epoch).where(attempt.owner == owner))
        if not handed_over <= {(row.chunk_id, row.epoch) for row in attempts}:
            return  # a copy of the ledger, older than what was sent: the same chunks may have left under a later claim
    for chunk_id, epoch in claimed:
        if (chunk_id, epoch) not in handed_over:
            with suppress(ClaimLost):  # another process settles the same
                release(ledger, Claim(chunk_id, epoch, owner, (), ()), GivenBack("its process died before it was its turn"))


def _abandon(ledger: Ledger, delivery: Delivery, owner: str) -> int:
    with ledger.write() as connection:
        where = f"campaign_id = :campaign AND owner = :owner AND state = {ChunkState.SENDING}"
        values = {"campaign": delivery.id, "owner": owner}
        chunks = hold_chunks(connection, where, **values)
        for chunk in chunks:
            connection.execute(
                sql(
                    f"UPDATE message SET state = {MessageState.UNKNOWN}, epoch = (SELECT epoch FROM chunk WHERE id = :chunk)"
                    f" WHERE chunk_id = :chunk AND state = {MessageState.PENDING}"
                ),
                {"chunk": chunk},
            )
            connection.execute(
                sql(
                    "UPDATE attempt SET outcome = 'abandoned', ended_at = :now, problem = 'the sending process died'"
                    " WHERE chunk_id = :chunk AND outcome = 'sending'"
                ),
                {"chunk": chunk, "now": time.time()},
            )
            connection.execute(sql("UPDATE chunk SET finished_at = :now WHERE id = :id"), {"id": chunk, "now": time.time()})
        recount(connection, where, ends_sending=True, **values)
    return len(chunks)


def _record_free(ledger: Ledger, claimed: Claim, answer: Answer) -> None:
    """Record the answer without the ids that are bound already. Needed only when the unique index refused one: rare.

    Others bind ids meanwhile: if a provider gives many messages the same id, their answers are recorded at the same time.
    """
    recorded, deadlocks = answer, 0
    while True:
        try:
            return _record(ledger, claimed, recorded)
        except Deadlock:  # they bind the same ids in another order
            deadlocks += 1
            if deadlocks > _MAX_DEADLOCKS:
                raise
        except Conflict:
            free = without_bound_ids(ledger, claimed, recorded.receipts)
            if free == list(recorded.receipts):
                raise
            recorded = replace(answer, receipts=free, anomalies=[*answer.anomalies, OUR_CODES[ID_BOUND]])


def _record(ledger: Ledger, claimed: Claim, answer: Answer) -> None:
    problem = "; ".join(answer.anomalies) or (str(answer.stop) if answer.stop else None)
    evidence = Evidence("answer", 200, b"" if is_clean(answer) else answer.raw)
    with ledger.write() as connection:
        require_current_claim(connection, claimed, UNCLAIMED_SINCE)
        with pipelined(connection):
            move_messages(ledger, connection, claimed, answer.receipts)
            close_attempt(connection, claimed, "answered", problem=problem, evidence=evidence)
        if answer.surplus:
            keep_surplus(connection, claimed, answer)
        if MessageState.PENDING in answer.states:
            _restore_taken_out(connection, claimed.chunk_id)


def _restore_taken_out(connection: Connection, chunk: int) -> None:
    """Have whoever was taken out while only a second message was under way, which did not leave, be what it was."""
    for (campaign,) in rows(connection, _HAS_TAKEN_OUT, {"chunk": chunk}):
        restore_left(connection, campaign, [chunk])
