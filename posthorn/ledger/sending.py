"""Claim, record, release: the verbs around one request. A claim is committed before the request leaves.

Every later write names the claim's epoch, so a process that slept through its own replacement cannot overwrite what is
known since.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.errors import Evidence, GatewayError, LedgerError
from posthorn.ledger import tables
from posthorn.ledger.campaigns import CampaignRecord, recount
from posthorn.ledger.store import Ledger
from posthorn.models import Answer, ChunkState, MessageState, Phone, Receipt

_RAW_KEPT_BYTES = 65_536
_IN_FLIGHT = f"{int(MessageState.PENDING)}, {int(MessageState.UNKNOWN)}"


class ClaimLost(LedgerError):
    """The chunk has been claimed again since; what this claim learned stands in its attempt and must be looked at."""


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
            sa.text(
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
            tables.attempt.insert().values(
                chunk_id=row.id, epoch=row.epoch, owner=owner, started_at=time.time(), outcome="sending"
            )
        )
        pending = connection.execute(
            sa.text("SELECT position, phone FROM message WHERE chunk_id = :chunk AND state = 0 ORDER BY position"),
            {"chunk": row.id},
        ).all()
        if not pending:
            raise LedgerError(f"chunk {row.id} is pending but holds no pending message; nothing is sent for it")
    return Claim(
        row.id, row.epoch, owner, tuple(one.position for one in pending), tuple(Phone(one.phone) for one in pending)
    )


def record(ledger: Ledger, claimed: Claim, answer: Answer) -> None:
    """Record what the provider answered for every recipient of the claim, in one transaction. May be repeated.

    A provider id that is bound to another message already is not bound twice: that recipient becomes unknown.

    Raises:
        ClaimLost: the chunk has been claimed again since.
    """
    try:
        _record(ledger, claimed, answer, answer.receipts)
    except sa.exc.IntegrityError:  # rare, so asked for only when the unique index has spoken
        _record(ledger, claimed, answer, _without_bound_ids(ledger, claimed, answer.receipts))


def record_unknown(ledger: Ledger, claimed: Claim, error: GatewayError | None = None) -> None:
    """Record that nobody can tell whether the claim's request was carried out."""
    receipts = [Receipt(MessageState.UNKNOWN, error=error.code if error else None)] * len(claimed.positions)
    with ledger.write() as connection:
        _move(ledger, connection, claimed, receipts)
        _close_failed(connection, claimed, "unknown", error)


def release(ledger: Ledger, claimed: Claim, error: GatewayError | None = None) -> None:
    """Record that the claim's request was surely not carried out: its recipients are pending again.

    Only the process that made the claim may say so.
    """
    with ledger.write() as connection:
        _guard(connection, claimed, f"{int(ChunkState.SENDING)}")
        recount(connection, "id = :chunk", chunk=claimed.chunk_id)
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
        chunks = list(connection.execute(sa.text(f"SELECT id FROM chunk WHERE {where}"), values).scalars())  # noqa: S608
        for chunk in chunks:
            connection.execute(
                sa.text(
                    "UPDATE message SET state = 4, epoch = (SELECT epoch FROM chunk WHERE id = :chunk)"
                    " WHERE chunk_id = :chunk AND state = 0"
                ),
                {"chunk": chunk},
            )
            connection.execute(
                sa.text(
                    "UPDATE attempt SET outcome = 'abandoned', ended_at = :now, problem = 'the sending process died'"
                    " WHERE chunk_id = :chunk AND outcome = 'sending'"
                ),
                {"chunk": chunk, "now": time.time()},
            )
            connection.execute(
                sa.text("UPDATE chunk SET finished_at = :now WHERE id = :id"), {"id": chunk, "now": time.time()}
            )
        recount(connection, where, **values)
    return len(chunks)


def _guard(connection: Connection, claimed: Claim, states: str) -> None:
    """The compare-and-set of every write after a claim."""
    moved = connection.execute(
        sa.text(
            f"UPDATE chunk SET finished_at = :now WHERE id = :id AND epoch = :epoch AND state IN ({states})"  # noqa: S608
        ),
        {"now": time.time(), "id": claimed.chunk_id, "epoch": claimed.epoch},
    ).rowcount
    if moved != 1:
        raise ClaimLost(f"chunk {claimed.chunk_id} has been claimed again since its request of epoch {claimed.epoch}")


def _move(ledger: Ledger, connection: Connection, claimed: Claim, receipts: Sequence[Receipt]) -> None:
    _guard(connection, claimed, f"{int(ChunkState.SENDING)}, {int(ChunkState.UNKNOWN)}")
    rows = [
        (int(receipt.state), receipt.provider_id, receipt.error, claimed.chunk_id, position)
        for position, receipt in zip(claimed.positions, receipts, strict=True)
    ]
    if ledger.is_sqlite:
        connection.exec_driver_sql(
            "UPDATE message SET state = ?, provider_id = ?, error = ?"  # noqa: S608
            f" WHERE chunk_id = ? AND position = ? AND state IN ({_IN_FLIGHT})",
            rows,
        )
    else:
        states, ids, errors, _, positions = (list(column) for column in zip(*rows, strict=True))
        connection.exec_driver_sql(
            "UPDATE message SET state = new.state, provider_id = new.provider_id, error = new.error"  # noqa: S608
            " FROM unnest(%s::smallint[], %s::text[], %s::text[], %s::int[]) AS new (state, provider_id, error, position)"
            f" WHERE chunk_id = %s AND message.position = new.position AND message.state IN ({_IN_FLIGHT})",
            (states, ids, errors, positions, claimed.chunk_id),
        )
    if any(_needs_lookup(receipt) for receipt in receipts):
        connection.execute(
            sa.text(
                "UPDATE message SET epoch = :epoch WHERE chunk_id = :chunk AND epoch IS NULL"
                " AND (state = 4 OR (provider_id IS NULL AND state IN (1, 2)))"
            ),
            {"epoch": claimed.epoch, "chunk": claimed.chunk_id},
        )
    recount(connection, "id = :chunk", chunk=claimed.chunk_id)


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
    with ledger.read() as connection:
        bound = {
            row.provider_id
            for row in connection.execute(
                sa.select(tables.message.c.provider_id, tables.message.c.chunk_id, tables.message.c.position).where(
                    tables.message.c.provider_id.in_(ids)
                )
            )
            if row.chunk_id != claimed.chunk_id or row.position not in claimed.positions
        }
    free = []
    for receipt in receipts:
        is_bound = receipt.provider_id is not None and receipt.provider_id in bound
        free.append(Receipt(MessageState.UNKNOWN, error="id bound already") if is_bound else receipt)
        bound |= {receipt.provider_id} - {None}
    return free


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
        tables.attempt.update()
        .where(tables.attempt.c.chunk_id == claimed.chunk_id, tables.attempt.c.epoch == claimed.epoch)
        .values(
            ended_at=time.time(),
            outcome=outcome,
            code=code,
            status=evidence.status,
            trace=evidence.trace,
            problem=problem,
            raw=evidence.raw[:_RAW_KEPT_BYTES] or None,
        )
    )
