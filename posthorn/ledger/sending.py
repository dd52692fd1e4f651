"""Claim, record, release: the verbs around one request. A claim is committed before the request leaves.

Every later write names the claim's epoch, so a process that slept through its own replacement cannot overwrite what is
known since.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.errors import Evidence, GatewayError, LedgerError
from posthorn.ledger import tables
from posthorn.ledger.campaigns import CampaignRecord, hold_chunks, recount
from posthorn.ledger.failures import Conflict
from posthorn.ledger.store import Ledger, sql
from posthorn.models import Answer, ChunkState, MessageState, Phone, Receipt

_RAW_KEPT_BYTES = 65_536
_IN_FLIGHT = f"{int(MessageState.PENDING)}, {int(MessageState.UNKNOWN)}"
_UNCLAIMED_SINCE = f"{int(ChunkState.PENDING)}, {int(ChunkState.SENDING)}, {int(ChunkState.UNKNOWN)}"
"""States in which a claim's answer is still welcome. PENDING: decided to be sent again, and not claimed for it yet."""
_IDS_PER_QUERY = 1_000
_LATE = "the answer came after the claim was over; what was taken by it may have been taken twice"
_logger = logging.getLogger(__name__)


class ClaimLost(LedgerError):
    """The claim is over: its outcome is recorded already, or the chunk has been claimed again since.

    What a late answer said then stands in its attempt (outcome ``late``), for it may prove a second copy.
    """


@dataclass(frozen=True, slots=True)
class Claim:
    """One chunk, claimed: ``phones`` at ``positions`` are what its request must name, exactly."""

    chunk_id: int
    epoch: int
    owner: str
    positions: tuple[int, ...]
    phones: tuple[Phone, ...]


def claim(ledger: Ledger, campaign: CampaignRecord, owner: str, first: int, last: int) -> Claim | None:
    """Claim the next pending chunk with an id from ``first`` to ``last``, durably; None when there is none left.

    Nothing is claimed of a cancelled campaign.
    """
    skip_locked = "" if ledger.is_sqlite else " FOR UPDATE SKIP LOCKED"
    with ledger.write() as connection:
        row = connection.execute(
            sql(
                "UPDATE chunk SET state = 1, epoch = epoch + 1, owner = :owner, claimed_at = :now WHERE id ="  # noqa: S608
                " (SELECT id FROM chunk WHERE campaign_id = :campaign AND state = 0 AND id BETWEEN :first AND :last"
                " AND NOT EXISTS (SELECT 1 FROM campaign WHERE id = :campaign AND cancelled_at IS NOT NULL)"
                f" ORDER BY id LIMIT 1{skip_locked}) RETURNING id, epoch"
            ),
            {"owner": owner, "now": time.time(), "campaign": campaign.id, "first": first, "last": last},
        ).first()
        if row is None:
            return None
        connection.execute(
            sql(
                "INSERT INTO attempt (chunk_id, epoch, owner, started_at, outcome)"
                " VALUES (:chunk, :epoch, :owner, :now, 'sending')"
            ),
            {"chunk": row.id, "epoch": row.epoch, "owner": owner, "now": time.time()},
        )
        pending = connection.execute(
            sql("SELECT position, phone FROM message WHERE chunk_id = :chunk AND state = 0 ORDER BY position"),
            {"chunk": row.id},
        ).all()
        if not pending:
            raise LedgerError(f"chunk {row.id} is pending but holds no pending message; nothing is sent for it")
    return Claim(
        row.id, row.epoch, owner, tuple(one.position for one in pending), tuple(Phone(one.phone) for one in pending)
    )


def record(ledger: Ledger, claimed: Claim, answer: Answer) -> None:
    """Record what the provider answered for every recipient of the claim, in one transaction.

    A late answer adds what it knows as long as the chunk has not been claimed again, even if the claim was abandoned. A
    provider id that is bound to another message already is not bound twice: that recipient becomes unknown.

    Raises:
        ClaimLost: the outcome is recorded already, or the chunk has been claimed again since; no message was moved.
    """
    try:
        try:
            _record(ledger, claimed, answer, answer.receipts)
        except Conflict:  # rare, so asked for only when the unique index has spoken
            _record(ledger, claimed, answer, _without_bound_ids(ledger, claimed, answer.receipts))
    except ClaimLost:
        _keep_late(ledger, claimed, answer)
        raise


def record_unknown(ledger: Ledger, claimed: Claim, error: GatewayError | None = None) -> None:
    """Record that nobody can tell whether the claim's request was carried out.

    Raises:
        ClaimLost: as ``record``.
    """
    receipts = [Receipt(MessageState.UNKNOWN, error=error.code if error else None)] * len(claimed.positions)
    with ledger.write() as connection:
        _move(ledger, connection, claimed, receipts)
        _close_failed(connection, claimed, "unknown", error)


def release(ledger: Ledger, claimed: Claim, error: GatewayError | None = None) -> None:
    """Record that the claim's request was surely not carried out: its recipients are pending again.

    Only the process that made the claim may say so, and only while the claim stands.

    Raises:
        ClaimLost: the claim was abandoned, or its outcome is recorded already.
    """
    with ledger.write() as connection:
        _guard(connection, claimed, f"{int(ChunkState.SENDING)}")
        recount(connection, "id = :chunk", ends_sending=True, chunk=claimed.chunk_id)
        _close_failed(connection, claimed, "not_taken", error)


def abandon_dead(ledger: Ledger, campaign: CampaignRecord) -> int:
    """Make every chunk that a dead process left ``sending`` unknown; returns how many chunks that were.

    An owner is dead when nobody holds its lock: the operating system or the database frees it, no clock is asked.
    """
    with ledger.read() as connection:
        owners = list(
            connection.execute(
                sa.select(tables.chunk.c.owner)
                .distinct()
                .where(tables.chunk.c.campaign_id == campaign.id, tables.chunk.c.state == int(ChunkState.SENDING))
            ).scalars()
        )
    return sum(_abandon(ledger, campaign, owner) for owner in owners if ledger.locks.is_free(owner_key(owner)))


def owner_key(owner: str) -> str:
    """The name of the lock that a sending process holds while it lives."""
    return f"owner-{owner}"


def pending_chunks(ledger: Ledger, campaign: CampaignRecord) -> list[int]:
    """The ids of the chunks that still have something to send, in order."""
    with ledger.read() as connection:
        return list(
            connection.execute(
                sa.select(tables.chunk.c.id)
                .where(tables.chunk.c.campaign_id == campaign.id, tables.chunk.c.state == int(ChunkState.PENDING))
                .order_by(tables.chunk.c.id)
            ).scalars()
        )


def _abandon(ledger: Ledger, campaign: CampaignRecord, owner: str) -> int:
    with ledger.write() as connection:
        where = "campaign_id = :campaign AND owner = :owner AND state = 1"
        values = {"campaign": campaign.id, "owner": owner}
        chunks = hold_chunks(connection, where, **values)
        for chunk in chunks:
            connection.execute(
                sql(
                    "UPDATE message SET state = 4, epoch = (SELECT epoch FROM chunk WHERE id = :chunk)"
                    " WHERE chunk_id = :chunk AND state = 0"
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


def _guard(connection: Connection, claimed: Claim, states: str) -> None:
    """The compare-and-set of every write after a claim."""
    moved = connection.execute(
        sql(
            "UPDATE chunk SET finished_at = :now"  # noqa: S608
            f" WHERE id = :id AND epoch = :epoch AND owner = :owner AND state IN ({states})"
            " AND NOT EXISTS (SELECT 1 FROM attempt WHERE chunk_id = :id AND epoch = :epoch AND outcome = 'answered')"
        ),
        {"now": time.time(), "id": claimed.chunk_id, "epoch": claimed.epoch, "owner": claimed.owner},
    ).rowcount
    if moved != 1:
        raise ClaimLost(f"the claim of chunk {claimed.chunk_id}, epoch {claimed.epoch}, is over; its outcome stands already")


def _move(ledger: Ledger, connection: Connection, claimed: Claim, receipts: Sequence[Receipt]) -> None:
    _guard(connection, claimed, _UNCLAIMED_SINCE)
    rows = [
        (
            int(receipt.state),
            receipt.provider_id,
            receipt.error,
            claimed.epoch if _needs_lookup(receipt) else None,
            claimed.chunk_id,
            position,
        )
        for position, receipt in zip(claimed.positions, receipts, strict=True)
    ]
    if ledger.is_sqlite:
        connection.exec_driver_sql(
            "UPDATE message SET state = ?, provider_id = ?, error = ?, epoch = ?"  # noqa: S608
            f" WHERE chunk_id = ? AND position = ? AND state IN ({_IN_FLIGHT})",
            rows,
        )
    else:
        states, ids, errors, epochs, _, positions = (list(column) for column in zip(*rows, strict=True))
        connection.exec_driver_sql(
            "UPDATE message SET state = new.state, provider_id = new.provider_id, error = new.error, epoch = new.epoch"  # noqa: S608
            " FROM unnest(%s::smallint[], %s::text[], %s::text[], %s::int[], %s::int[])"
            " AS new (state, provider_id, error, epoch, position)"
            f" WHERE chunk_id = %s AND message.position = new.position AND message.state IN ({_IN_FLIGHT})",
            (states, ids, errors, epochs, positions, claimed.chunk_id),
        )
    recount(connection, "id = :chunk", ends_sending=True, chunk=claimed.chunk_id)


def _needs_lookup(receipt: Receipt) -> bool:
    """Whether the provider must be asked again: unknown, or taken without an id that reports could name."""
    if receipt.state in (MessageState.ACCEPTED, MessageState.SCHEDULED):
        return receipt.provider_id is None
    return receipt.state == MessageState.UNKNOWN


def _record(ledger: Ledger, claimed: Claim, answer: Answer, receipts: Sequence[Receipt]) -> None:
    clean = all(receipt.state != MessageState.UNKNOWN for receipt in receipts) and not answer.anomalies
    problem = "; ".join(answer.anomalies) or (str(answer.stop) if answer.stop else None)
    with ledger.write() as connection:
        _move(ledger, connection, claimed, receipts)
        _close(
            connection, claimed, "answered", problem=problem, evidence=Evidence("answer", 200, b"" if clean else answer.raw)
        )


def _without_bound_ids(ledger: Ledger, claimed: Claim, receipts: Sequence[Receipt]) -> list[Receipt]:
    """The receipts, unknown where their provider id is another message's (or another receipt's) already."""
    ids = [receipt.provider_id for receipt in receipts if receipt.provider_id]
    message = tables.message.c
    query = sa.select(message.provider_id, message.chunk_id, message.position)
    bound: set[str | None] = set()
    with ledger.read() as connection:
        for at in range(0, len(ids), _IDS_PER_QUERY):
            for row in connection.execute(query.where(message.provider_id.in_(ids[at : at + _IDS_PER_QUERY]))):
                if row.chunk_id != claimed.chunk_id or row.position not in claimed.positions:
                    bound.add(row.provider_id)
    free = []
    for receipt in receipts:
        is_bound = receipt.provider_id is not None and receipt.provider_id in bound
        free.append(Receipt(MessageState.UNKNOWN, error="id bound already") if is_bound else receipt)
        bound |= {receipt.provider_id} - {None}
    return free


def _keep_late(ledger: Ledger, claimed: Claim, answer: Answer) -> None:
    """Keep an answer that came after its claim was over, unless it is the very one that is recorded."""
    attempt = tables.attempt.c
    of_claim = sa.and_(attempt.chunk_id == claimed.chunk_id, attempt.epoch == claimed.epoch, attempt.owner == claimed.owner)
    with ledger.write() as connection:
        kept = connection.execute(
            tables.attempt.update()
            .where(of_claim, attempt.outcome.not_in(("answered", "late")))
            .values(outcome="late", problem=_LATE, raw=answer.raw[:_RAW_KEPT_BYTES] or None)
        ).rowcount
    if kept:
        _logger.warning("chunk %d, epoch %d: %s", claimed.chunk_id, claimed.epoch, _LATE)


def _close_failed(connection: Connection, claimed: Claim, outcome: str, error: GatewayError | None) -> None:
    _close(
        connection,
        claimed,
        outcome,
        problem=str(error) if error else "interrupted",
        evidence=error.evidence if error else Evidence(),
        code=error.code if error else None,
    )


def _close(
    connection: Connection, claimed: Claim, outcome: str, *, problem: str | None, evidence: Evidence, code: str | None = None
) -> None:
    connection.execute(
        sql(
            "UPDATE attempt SET ended_at = :now, outcome = :outcome, code = :code, status = :status, trace = :trace,"
            " problem = :problem, raw = :raw WHERE chunk_id = :chunk AND epoch = :epoch"
        ),
        {
            "now": time.time(),
            "outcome": outcome,
            "code": code,
            "status": evidence.status,
            "trace": evidence.trace,
            "problem": problem,
            "raw": evidence.raw[:_RAW_KEPT_BYTES] or None,
            "chunk": claimed.chunk_id,
            "epoch": claimed.epoch,
        },
    )
