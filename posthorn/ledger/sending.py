"""Claim, record, release: the verbs around one request. A claim is committed before the request leaves.

Every later write names the claim's epoch, so a process that slept through its own replacement cannot overwrite what is
known since.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import orjson
import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.errors import Evidence, GatewayError, LedgerError
from posthorn.ledger import costs, suppression
from posthorn.ledger.copies import Copy, keep_within
from posthorn.ledger.costs import FREE, Limits
from posthorn.ledger.deliveries import Delivery, PlannedCampaign, hold_chunks, recount
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, change, execute, pipelined, rows, sql
from posthorn.ledger.store.failures import Conflict
from posthorn.ledger.suppression import NEWEST, Watch
from posthorn.models import TOO_OFTEN, Answer, ChunkState, Kind, MessageState, Phone, Receipt

_RAW_KEPT_BYTES = 65_536
_IN_FLIGHT = f"{int(MessageState.PENDING)}, {int(MessageState.UNKNOWN)}"
_UNCLAIMED_SINCE = f"{int(ChunkState.PENDING)}, {int(ChunkState.SENDING)}, {int(ChunkState.UNKNOWN)}"
"""States in which a claim's answer is still welcome. PENDING: decided to be sent again, and not claimed for it yet."""
_IDS_PER_QUERY = 1_000
_CLAIM = (
    "UPDATE chunk SET state = 1, epoch = epoch + 1, owner = :owner, claimed_at = :now WHERE id ="
    " (SELECT id FROM chunk WHERE campaign_id = :campaign AND state = 0 AND state <> 2 AND id BETWEEN :first AND :last"
    " AND NOT EXISTS (SELECT 1 FROM campaign WHERE id = :campaign"
    " AND (cancelled_at IS NOT NULL OR stopped_because IS NOT NULL OR halted_because IS NOT NULL OR chunk.wave > open_wave"
    " OR revision <> :revision))"
    " ORDER BY id LIMIT 1{skip_locked}) RETURNING id, epoch{lock}"
)
"""``state <> 2`` says nothing new, but lets SQLite use the index of the chunks that are not done."""
_CLAIMS = {
    True: _CLAIM.format(skip_locked="", lock=""),
    False: _CLAIM.format(skip_locked=" FOR UPDATE SKIP LOCKED", lock=f", {suppression.CLAIM_LOCK}"),
}
_ATTEMPT = (
    "INSERT INTO attempt (chunk_id, epoch, owner, started_at, outcome, title, send_at, hold_minutes)"
    " VALUES (:chunk, :epoch, :owner, :now, 'sending', :title, :send_at, :hold_minutes)"
)
_HAS_LEFT = sql(
    "SELECT EXISTS (SELECT 1 FROM chunk k WHERE k.campaign_id = :campaign AND (k.state = 1 OR k.accepted + k.scheduled"
    " + k.unknown + k.delivered + k.undelivered + k.no_report > 0)) OR EXISTS (SELECT 1 FROM chunk k JOIN message m"
    " ON m.chunk_id = k.id WHERE k.campaign_id = :campaign AND m.provider_id IS NOT NULL) OR EXISTS (SELECT 1 FROM chunk k"
    " JOIN attempt a ON a.chunk_id = k.id WHERE k.campaign_id = :campaign"
    " AND a.outcome IN ('sending', 'unknown', 'abandoned', 'late'))"
)
"""By states, by ids of what was withdrawn or sent again, and by requests whose outcome was only settled later."""
_PENDING = "SELECT position, phone FROM message WHERE chunk_id = :chunk AND state = 0 ORDER BY position"
_PENDING_JSON = f"SELECT json_group_array(position), json_group_array(phone), {NEWEST} FROM ({_PENDING})"  # noqa: S608
_PENDING_ARRAYS = f"SELECT array_agg(position), array_agg(phone), {NEWEST} FROM ({_PENDING}) AS pending"  # noqa: S608
_TICKETS = "SELECT position, barcode, fields FROM ticket WHERE chunk_id = :chunk"
_GUARD = (
    "UPDATE chunk SET finished_at = :now WHERE id = :id AND epoch = :epoch AND owner = :owner AND state IN ({states})"
    " AND NOT EXISTS (SELECT 1 FROM attempt WHERE chunk_id = :id AND epoch = :epoch AND outcome = 'answered')"
)
_IDS_ONLY = (
    "UPDATE message SET state = :state, provider_id = json_extract(:ids, '$[' || (position - :first) || ']'),"  # noqa: S608
    f" error = NULL, epoch = NULL WHERE chunk_id = :chunk AND position BETWEEN :first AND :last AND state IN ({_IN_FLIGHT})"
)
_CLOSE = (
    "UPDATE attempt SET ended_at = :now, outcome = :outcome, code = :code, status = :status, trace = :trace,"
    " problem = :problem, raw = :raw WHERE chunk_id = :chunk AND epoch = :epoch"
)
_MOVE = (
    "UPDATE message SET state = new.state, provider_id = new.provider_id, error = new.error, epoch = new.epoch"  # noqa: S608
    " FROM unnest(:states::smallint[], :ids::text[], :errors::text[], :epochs::int[], :positions::int[])"
    " AS new (state, provider_id, error, epoch, position)"
    f" WHERE chunk_id = :chunk AND message.position = new.position AND message.state IN ({_IN_FLIGHT})"
)
_IDS_PER_STATEMENT = 500
"""SQLite walks a JSON array from its beginning for each element."""
_LATE = "the answer came after the claim was over; what was taken by it may have been taken twice"
_logger = logging.getLogger(__name__)


class ClaimLost(LedgerError):
    """The claim is over: its outcome is recorded already, or the chunk has been claimed again since.

    What a late answer said then stands in its attempt (outcome ``late``), for it may prove a second copy.
    """


@dataclass(frozen=True, slots=True)
class Claim:
    """One chunk, claimed: ``phones`` at ``positions`` are what its request must name, exactly.

    ``tickets`` holds each one's barcode and the attendee's other columns, where the chunk is an event's.
    """

    chunk_id: int
    epoch: int
    owner: str
    positions: tuple[int, ...]
    phones: tuple[Phone, ...]
    tickets: tuple[tuple[str, dict[str, str]], ...] = ()


def claim(
    ledger: Ledger,
    delivery: Delivery,
    owner: str,
    first: int,
    last: int,
    watch: Watch | None = None,
    limits: Limits = FREE,
) -> Claim | None:
    """Claim the next pending chunk with an id from ``first`` to ``last``, durably; None when there is none left.

    Nothing is claimed of a campaign that is cancelled or halted, whose run has stopped in whatever process, or whose content
    is another by now than what this process would send, nor of a wave that is not open. Who must not be
    messaged is suppressed in the same transaction; a chunk of which nobody is left is closed, and the next one claimed.
    ``watch`` is what this process has read of the suppression list, ``limits`` what may be spent, and how often a number
    may be written to: what is spent is reserved in the same transaction.

    Raises:
        CapReached: what it costs is not to be spent; nothing is claimed.
    """
    watch = watch or Watch()
    claimed = _claim(ledger, delivery, owner, (first, last), watch, limits)
    while claimed is not None and not claimed.positions:
        claimed = _claim(ledger, delivery, owner, (first, last), watch, limits)
    return claimed


def _claim(
    ledger: Ledger, delivery: Delivery, owner: str, chunks: tuple[int, int], watch: Watch, limits: Limits
) -> Claim | None:
    """The next claim; of a chunk in which nobody was left, one of nobody, and the chunk is done."""
    now = time.time()
    with ledger.write() as connection:
        with pipelined(connection):
            claim = execute(
                connection,
                _CLAIMS[ledger.is_sqlite],
                {
                    "owner": owner,
                    "now": now,
                    "campaign": delivery.id,
                    "first": chunks[0],
                    "last": chunks[1],
                    "revision": delivery.revision,
                },
            )
        if not (claimed := claim.fetchall()):
            return None
        chunk, epoch = claimed[0][:2]
        positions, phones, newest = _pending(ledger, connection, chunk)
        scope = suppression.heeded(delivery.kind, delivery.options)
        if watch.finds(connection, phones, scope, newest):
            positions, phones = suppression.leave_out(connection, scope, chunk, positions, phones)
        if limits.rate is not None and (often := costs.too_often(connection, chunk, limits.rate, _dispatch(delivery, now))):
            positions, phones = suppression.suppress(connection, chunk, positions, phones, dict.fromkeys(often, TOO_OFTEN))
        if not positions:
            recount(connection, "id = :chunk", ends_sending=True, chunk=chunk)
            return Claim(chunk, epoch, owner, (), ())
        if limits.caps and limits.tariff is not None:
            for nearing in costs.reserve(connection, limits.caps, limits.tariff.total(phones)):
                ledger.when_durable(partial(limits.tell, nearing))
        of_attempt = {"chunk": chunk, "epoch": epoch, "owner": owner, "now": now}
        change(connection, _ATTEMPT, {**of_attempt, **_as_sent(delivery)})
        found = _tickets(connection, chunk, positions) if delivery.kind == Kind.EVENT else ()
    return Claim(chunk, epoch, owner, positions, phones, found)


def _dispatch(delivery: Delivery, now: float) -> float:
    """When the provider sends on what is claimed now."""
    if not isinstance(delivery, PlannedCampaign):
        return now
    return _seconds(delivery.named_moment) or now + delivery.content.hold_seconds


def _as_sent(delivery: Delivery) -> dict[str, object]:
    """What of the content a lookup goes by; an event's tickets are not looked up."""
    if not isinstance(delivery, PlannedCampaign):
        return {"title": None, "send_at": None, "hold_minutes": None}
    content, send_at = delivery.content, _seconds(delivery.named_moment)
    return {"title": content.title, "send_at": send_at, "hold_minutes": content.hold_minutes}


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _pending(ledger: Ledger, connection: Connection, chunk: int) -> tuple[tuple[int, ...], tuple[Phone, ...], int]:
    """Positions and numbers of a chunk's pending messages, and the number of the suppression list's newest entry.

    As one row, for the driver takes its time over each.
    """
    if ledger.is_sqlite:
        ((listed, numbers, newest),) = rows(connection, _PENDING_JSON, {"chunk": chunk})
        positions, phones = tuple(orjson.loads(listed)), tuple(orjson.loads(numbers))
    else:
        ((listed, numbers, newest),) = rows(connection, _PENDING_ARRAYS, {"chunk": chunk})
        positions, phones = tuple(listed or ()), tuple(numbers or ())
    if not positions:
        raise LedgerError(f"chunk {chunk} is pending but holds no pending message; nothing is sent for it")
    return positions, phones, newest


def _tickets(connection: Connection, chunk: int, positions: Sequence[int]) -> tuple[tuple[str, dict[str, str]], ...]:
    found = {position: (barcode, fields) for position, barcode, fields in rows(connection, _TICKETS, {"chunk": chunk})}
    # SQLite's driver gives JSON as the text it is kept as.
    return tuple(
        (code, orjson.loads(own) if isinstance(own, str) else own) for code, own in map(found.__getitem__, positions)
    )


def stands(ledger: Ledger, claimed: Claim) -> bool:
    """Whether the claim is the chunk's, and nothing has become of it yet."""
    query = sql("SELECT count(*) FROM chunk WHERE id = :id AND state = 1 AND epoch = :epoch AND owner = :owner")
    values = {"id": claimed.chunk_id, "epoch": claimed.epoch, "owner": claimed.owner}
    with ledger.read() as connection:
        return bool(connection.execute(query, values).scalar_one())


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
        _guard(connection, claimed, _UNCLAIMED_SINCE)
        with pipelined(connection):
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
        with pipelined(connection):
            recount(connection, "id = :chunk", ends_sending=True, chunk=claimed.chunk_id)
            _close_failed(connection, claimed, "not_taken", error)


def abandon_dead(ledger: Ledger, delivery: Delivery) -> int:
    """Make every chunk that a dead process left ``sending`` unknown; returns how many chunks that were.

    An owner is dead when nobody holds its lock: the operating system or the database frees it, no clock is asked.
    """
    with ledger.read() as connection:
        owners = list(
            connection.execute(
                sa.select(tables.chunk.c.owner)
                .distinct()
                .where(tables.chunk.c.campaign_id == delivery.id, tables.chunk.c.state == int(ChunkState.SENDING))
            ).scalars()
        )
    return sum(_abandon(ledger, delivery, owner) for owner in owners if ledger.locks.is_free(owner_key(owner)))


def owner_key(owner: str) -> str:
    """The name of the lock that a sending process holds while it lives."""
    return f"owner-{owner}"


def pending_chunks(ledger: Ledger, delivery: Delivery) -> list[int]:
    """The ids of the chunks of open waves that still have something to send, in order."""
    chunk = tables.chunk.c
    opened = sa.select(sa.func.coalesce(tables.campaign.c.open_wave, chunk.wave)).where(
        tables.campaign.c.id == chunk.campaign_id
    )
    query = sa.select(chunk.id).where(
        chunk.campaign_id == delivery.id, chunk.state == int(ChunkState.PENDING), chunk.wave <= opened.scalar_subquery()
    )
    with ledger.read() as connection:
        return list(connection.execute(query.order_by(chunk.id)).scalars())


def may_be_kept(ledger: Ledger, delivery: Delivery) -> bool:
    """Whether a request of it named a moment or a hold, so that the provider may keep messages of it."""
    attempt, chunk = tables.attempt.c, tables.chunk.c
    dated = sa.or_(attempt.send_at.is_not(None), attempt.hold_minutes > 0)
    of_it = attempt.chunk_id.in_(sa.select(chunk.id).where(chunk.campaign_id == delivery.id))
    with ledger.read() as connection:
        return connection.execute(sa.select(attempt.epoch).where(of_it, dated).limit(1)).first() is not None


def has_left(ledger: Ledger, delivery: Delivery) -> bool:
    """Whether anything of it has left or may have: content that reached somebody is not changed for the others."""
    with ledger.read() as connection:
        return bool(connection.execute(_HAS_LEFT, {"campaign": delivery.id}).scalar_one())


def in_flight(ledger: Ledger, delivery: Delivery) -> int:
    """How many chunks are claimed right now, by whatever process."""
    with ledger.read() as connection:
        query = sql("SELECT count(*) FROM chunk WHERE campaign_id = :campaign AND state = 1")
        count: int = connection.execute(query, {"campaign": delivery.id}).scalar_one()
    return count


def _abandon(ledger: Ledger, delivery: Delivery, owner: str) -> int:
    with ledger.write() as connection:
        where = "campaign_id = :campaign AND owner = :owner AND state = 1"
        values = {"campaign": delivery.id, "owner": owner}
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
    values = {"now": time.time(), "id": claimed.chunk_id, "epoch": claimed.epoch, "owner": claimed.owner}
    with pipelined(connection):
        moved = execute(connection, _GUARD.format(states=states), values)
    if moved.rowcount != 1:
        raise ClaimLost(f"the claim of chunk {claimed.chunk_id}, epoch {claimed.epoch}, is over; its outcome stands already")


def _move(ledger: Ledger, connection: Connection, claimed: Claim, receipts: Sequence[Receipt]) -> None:
    if ledger.is_sqlite and (ids := _ids_only(claimed, receipts)):
        state = int(receipts[0].state)
        for first in range(0, len(ids), _IDS_PER_STATEMENT):
            some = ids[first : first + _IDS_PER_STATEMENT]
            values = {"ids": orjson.dumps(some).decode(), "first": first, "last": first + len(some) - 1}
            change(connection, _IDS_ONLY, {**values, "chunk": claimed.chunk_id, "state": state})
    else:
        _move_each(ledger, connection, claimed, receipts)
    recount(connection, "id = :chunk", ends_sending=True, chunk=claimed.chunk_id)


def _ids_only(claimed: Claim, receipts: Sequence[Receipt]) -> list[str | None]:
    """The ids of what is usual, a whole chunk taken in one state, each message under an id; empty for anything else."""
    state = receipts[0].state
    ids = [receipt.provider_id for receipt in receipts if receipt.state == state and receipt.error is None]
    is_usual = (
        state in (MessageState.ACCEPTED, MessageState.SCHEDULED)
        and len(ids) == len(receipts)
        and None not in ids
        and claimed.positions == tuple(range(len(ids)))
    )
    return ids if is_usual else []


def _move_each(ledger: Ledger, connection: Connection, claimed: Claim, receipts: Sequence[Receipt]) -> None:
    """Move the claim's messages, each as its receipt says."""
    moves = [
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
            moves,
        )
        return
    states, ids, errors, epochs, _, positions = (list(column) for column in zip(*moves, strict=True))
    values = {"states": states, "ids": ids, "errors": errors, "epochs": epochs, "positions": positions}
    change(connection, _MOVE, {**values, "chunk": claimed.chunk_id})


def _needs_lookup(receipt: Receipt) -> bool:
    """Whether the provider must be asked again: unknown, or taken without an id that reports could name."""
    if receipt.state in (MessageState.ACCEPTED, MessageState.SCHEDULED):
        return receipt.provider_id is None
    return receipt.state == MessageState.UNKNOWN


def is_clean(answer: Answer) -> bool:
    """Whether the answer says everything about everyone: its text is worth nothing then."""
    return not answer.anomalies and all(receipt.state != MessageState.UNKNOWN for receipt in answer.receipts)


def _record(ledger: Ledger, claimed: Claim, answer: Answer, receipts: Sequence[Receipt]) -> None:
    clean = is_clean(replace(answer, receipts=receipts))
    problem = "; ".join(answer.anomalies) or (str(answer.stop) if answer.stop else None)
    evidence = Evidence("answer", 200, b"" if clean else answer.raw)
    with ledger.write() as connection:
        _guard(connection, claimed, _UNCLAIMED_SINCE)
        with pipelined(connection):
            _move(ledger, connection, claimed, receipts)
            _close(connection, claimed, "answered", problem=problem, evidence=evidence)


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
        if kept and (copies := _copies_of(claimed, answer)):
            chunk = tables.chunk.c
            campaign_id = connection.execute(sa.select(chunk.campaign_id).where(chunk.id == claimed.chunk_id)).scalar_one()
            keep_within(connection, campaign_id, copies)
    if kept:
        _logger.warning("chunk %d, epoch %d: %s", claimed.chunk_id, claimed.epoch, _LATE)


def _copies_of(claimed: Claim, answer: Answer) -> list[Copy]:
    """What a late answer says was taken, by ids. Those that a lookup has bound meanwhile do not count as copies."""
    evidence = f"named in an answer that came after the claim was over (chunk {claimed.chunk_id}, epoch {claimed.epoch})"
    return [
        Copy(receipt.provider_id, claimed.chunk_id, position, receipt.state, evidence)
        for position, receipt in zip(claimed.positions, answer.receipts, strict=True)
        if receipt.provider_id is not None and receipt.state in (MessageState.ACCEPTED, MessageState.SCHEDULED)
    ]


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
    change(
        connection,
        _CLOSE,
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
