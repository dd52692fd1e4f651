"""Claim, record, release: the verbs around one request. A claim is committed before the request leaves.

Every later write names the claim's epoch. So a process that slept while another took over cannot overwrite what became
known meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

import orjson
import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.errors import DeliveryNotFound, Evidence, GatewayError, GivenBack, LedgerError
from posthorn.ledger import costs, departures, suppression
from posthorn.ledger.claims import Claim, ClaimLost, owner_key
from posthorn.ledger.costs import FREE, Limits
from posthorn.ledger.deliveries import Delivery, PlannedCampaign, hold_chunks, recount
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
from posthorn.ledger.store.engine import Ledger, execute, pipelined, rows, sql
from posthorn.ledger.store.failures import Conflict, Deadlock
from posthorn.ledger.suppression import NEWEST, Watch
from posthorn.models import ID_BOUND, OUR_CODES, TOO_OFTEN, Answer, ChunkState, Kind, MessageState, Phone, Receipt

_CLAIM = (
    f"UPDATE chunk SET state = {ChunkState.SENDING}, epoch = epoch + 1, owner = :owner, claimed_at = :now WHERE id {{among}}"
    f" (SELECT id FROM chunk WHERE campaign_id = :campaign AND state = {ChunkState.PENDING}"
    f" AND state <> {ChunkState.DONE} AND id BETWEEN :first AND :last"
    " AND NOT EXISTS (SELECT 1 FROM campaign WHERE id = :campaign"
    " AND (cancelled_at IS NOT NULL OR stopped_because IS NOT NULL OR halted_because IS NOT NULL OR chunk.wave > open_wave"
    " OR revision <> :revision))"
    " ORDER BY id LIMIT :most{skip_locked}){end} RETURNING id, epoch{lock}"
)
""""Not done" adds nothing, but it lets SQLite use the index of the chunks that are not done."""
_CLAIMS = {
    True: _CLAIM.format(among="IN", skip_locked="", end="", lock=""),
    # As an array, or the planner may look for the chunks again and again, and find others each time.
    False: _CLAIM.format(
        among="= ANY(ARRAY", skip_locked=" FOR UPDATE SKIP LOCKED", end=")", lock=f", {suppression.CLAIM_LOCK}"
    ),
}
_ATTEMPT = (
    "INSERT INTO attempt (chunk_id, epoch, owner, started_at, outcome, title, send_at, hold_minutes)"
    " VALUES (:chunk, :epoch, :owner, :now, 'sending', :title, :send_at, :hold_minutes)"
)
_HAS_LEFT = sql(
    f"SELECT EXISTS (SELECT 1 FROM chunk k WHERE k.campaign_id = :campaign AND (k.state = {ChunkState.SENDING}"
    " OR k.accepted + k.scheduled"
    " + k.unknown + k.delivered + k.undelivered + k.no_report > 0)) OR EXISTS (SELECT 1 FROM chunk k JOIN message m"
    " ON m.chunk_id = k.id WHERE k.campaign_id = :campaign AND m.provider_id IS NOT NULL) OR EXISTS (SELECT 1 FROM chunk k"
    " JOIN attempt a ON a.chunk_id = k.id WHERE k.campaign_id = :campaign"
    " AND a.outcome IN ('sending', 'unknown', 'abandoned', 'late'))"
)
"""By states, by ids of what was withdrawn or sent again, and by requests whose outcome was only settled later."""
_PENDING = (
    "SELECT chunk_id, {gathered}(position), {gathered}(phone), {newest} FROM (SELECT chunk_id, position, phone FROM message"
    f" WHERE chunk_id {{among}} AND state = {MessageState.PENDING} ORDER BY chunk_id, position) AS pending GROUP BY chunk_id"
)
_PENDINGS = {
    True: _PENDING.format(gathered="json_group_array", newest=NEWEST, among="IN (SELECT value FROM json_each(:chunks))"),
    False: _PENDING.format(gathered="array_agg", newest=NEWEST, among="= ANY(:chunks::bigint[])"),
}
_HAS_TAKEN_OUT = (
    "SELECT campaign_id FROM chunk WHERE id = :chunk AND EXISTS (SELECT 1 FROM taken_out WHERE chunk_id = :chunk)"
)
_ASKED_AGAIN = f"SELECT cancelled_at, halted_because, stopped_because, {NEWEST} FROM campaign WHERE id = :id"
_MAX_DEADLOCKS = 5
_TICKETS = "SELECT chunk_id, position, barcode, fields FROM ticket WHERE chunk_id {among}"
_TICKETS_OF = {
    True: _TICKETS.format(among="IN (SELECT value FROM json_each(:chunks))"),
    False: _TICKETS.format(among="= ANY(:chunks::bigint[])"),
}


def claim(
    ledger: Ledger,
    delivery: Delivery,
    owner: str,
    first: int,
    last: int,
    watch: Watch | None = None,
    limits: Limits = FREE,
    *,
    most: int = 1,
) -> list[Claim]:
    """Claim the next pending chunks with ids from ``first`` to ``last``, at most so many, durably. Empty: none is left.

    Nothing is claimed of a campaign that is cancelled or halted, whose run has stopped in any process, or whose content
    is no longer what this process would send; nor of a wave that is not open. Recipients who must not be messaged are
    suppressed in the same transaction. If nobody is left in a chunk, it is closed; if that is so of all, the next ones are
    claimed. ``watch`` is what this process has read of the suppression list. ``limits`` says what may be spent and how
    often a number may be messaged; the cost is reserved in the same transaction.

    Raises:
        CapReached: what they cost together would exceed a cap; nothing is claimed.
    """
    watch = watch or Watch()
    claimed: list[Claim] | None = []
    while claimed is not None and not claimed:
        claimed = _claim(ledger, delivery, owner, (first, last), watch, limits, most)
    return claimed or []


def _claim(
    ledger: Ledger, delivery: Delivery, owner: str, chunks: tuple[int, int], watch: Watch, limits: Limits, most: int
) -> list[Claim] | None:
    """The next claims; None if no chunk is pending. A chunk in which nobody was left is done, and not among them."""
    now = time.time()
    with ledger.write() as connection:
        with pipelined(connection):
            cursor = execute(
                connection,
                _CLAIMS[ledger.is_sqlite],
                {
                    "owner": owner,
                    "now": now,
                    "campaign": delivery.id,
                    "first": chunks[0],
                    "last": chunks[1],
                    "revision": delivery.revision,
                    "most": most,
                },
            )
        if not (epochs := {row[0]: row[1] for row in cursor.fetchall()}):
            return None
        pending, tickets, newest = _in_the_chunks(ledger, connection, delivery, epochs)
        claimed = []
        for chunk, epoch in sorted(epochs.items()):
            positions, phones = _let_through(connection, delivery, chunk, pending[chunk], watch, newest, limits, now)
            if positions:
                codes = tuple(tickets[chunk, position] for position in positions) if tickets else ()
                claimed.append(Claim(chunk, epoch, owner, positions, phones, codes))
            else:
                recount(connection, "id = :chunk", ends_sending=True, chunk=chunk)
        if not claimed:
            return []
        if limits.caps and limits.tariff is not None:
            for nearing in costs.reserve(connection, limits.caps, sum(limits.tariff.total(one.phones) for one in claimed)):
                ledger.when_durable(partial(limits.tell, nearing))
        as_sent = {"owner": owner, "now": now, **_as_sent(delivery)}
        with pipelined(connection):
            for one in claimed:
                execute(connection, _ATTEMPT, {**as_sent, "chunk": one.chunk_id, "epoch": one.epoch})
        return claimed


def _let_through(
    connection: Connection,
    delivery: Delivery,
    chunk: int,
    pending: tuple[tuple[int, ...], tuple[Phone, ...]],
    watch: Watch,
    newest: int,
    limits: Limits,
    now: float,
) -> tuple[tuple[int, ...], tuple[Phone, ...]]:
    """Those of a chunk's pending messages that may go; the others are suppressed."""
    positions, phones = pending
    scope = suppression.scope_for(delivery.kind, delivery.options)
    if watch.finds(connection, phones, scope, newest):
        positions, phones = suppression.leave_out(connection, scope, chunk, positions, phones)
    if limits.rate is not None and (often := costs.too_often(connection, chunk, limits.rate, _dispatch(delivery, now))):
        positions, phones = suppression.suppress(connection, chunk, positions, phones, dict.fromkeys(often, TOO_OFTEN))
    return positions, phones


def _dispatch(delivery: Delivery, now: float) -> float:
    """When the provider sends on what is claimed now."""
    if not isinstance(delivery, PlannedCampaign):
        return now
    return _seconds(delivery.named_moment) or now + delivery.content.hold_seconds


def _as_sent(delivery: Delivery) -> dict[str, object]:
    """The part of the content that a lookup compares; an event's tickets are not looked up."""
    if not isinstance(delivery, PlannedCampaign):
        return {"title": None, "send_at": None, "hold_minutes": None}
    content, send_at = delivery.content, _seconds(delivery.named_moment)
    return {"title": content.title, "send_at": send_at, "hold_minutes": content.hold_minutes}


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _in_the_chunks(
    ledger: Ledger, connection: Connection, delivery: Delivery, chunks: Collection[int]
) -> tuple[dict[int, tuple[tuple[int, ...], tuple[Phone, ...]]], dict[tuple[int, int], tuple[str, dict[str, str]]], int]:
    """Positions and numbers of each chunk's pending messages, an event's tickets by chunk and position, and the number of
    the suppression list's newest entry.

    In one row for each chunk, because the driver is slow with each row.
    """
    named = {"chunks": orjson.dumps(list(chunks)).decode() if ledger.is_sqlite else list(chunks)}
    with pipelined(connection):
        gathering = execute(connection, _PENDINGS[ledger.is_sqlite], named)
        coding = execute(connection, _TICKETS_OF[ledger.is_sqlite], named) if delivery.kind == Kind.EVENT else None
    gathered = gathering.fetchall()
    read = orjson.loads if ledger.is_sqlite else iter
    pending = {chunk: (tuple(read(positions)), tuple(read(phones))) for chunk, positions, phones, _ in gathered}
    if empty := set(chunks) - pending.keys():
        raise LedgerError(f"chunk {min(empty)} is pending but holds no pending message; nothing is sent for it")
    tickets = {}
    for chunk, position, barcode, fields in coding.fetchall() if coding is not None else ():
        # SQLite's driver gives JSON as the text it is kept as.
        tickets[chunk, position] = barcode, orjson.loads(fields) if isinstance(fields, str) else fields
    return pending, tickets, gathered[0][-1]


def asked_again(ledger: Ledger, delivery: Delivery) -> tuple[Delivery, int]:
    """What a claim asks besides its chunk: whether the delivery may still go on, and the suppression list's newest entry.

    Only what may stop the delivery is as it is now. Quick, because requests wait for it.

    Raises:
        DeliveryNotFound: it is gone.
    """
    with ledger.read() as connection:
        with pipelined(connection):
            cursor = execute(connection, _ASKED_AGAIN, {"id": delivery.id})
        found = cursor.fetchone()
    if found is None:
        raise DeliveryNotFound(f"{delivery.name} is gone from the ledger; nothing more is sent")
    cancelled_at, halted_because, stopped_because, newest = found
    now = replace(delivery, cancelled_at=cancelled_at, halted_because=halted_because, stopped_because=stopped_because)
    return now, newest


def stands(ledger: Ledger, claimed: Claim) -> bool:
    """Whether the claim is still the chunk's current one, and has no outcome yet."""
    is_ours = f"id = :id AND state = {ChunkState.SENDING} AND epoch = :epoch AND owner = :owner"
    query = sql(f"SELECT count(*) FROM chunk WHERE {is_ours}")
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
