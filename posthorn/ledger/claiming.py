"""Claims are made here, and are durable before their requests leave; and what a claim asks is asked again here."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from functools import partial

import orjson
import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.errors import DeliveryNotFound, LedgerError
from posthorn.ledger import costs, suppression
from posthorn.ledger.claims import Claim
from posthorn.ledger.costs import FREE, Limits
from posthorn.ledger.deliveries import Delivery, PlannedCampaign, recount
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, execute, pipelined, sql
from posthorn.ledger.suppression import NEWEST, Watch
from posthorn.models import TOO_OFTEN, ChunkState, Kind, MessageState, Phone

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
_PENDING = (
    "SELECT chunk_id, {gathered}(position), {gathered}(phone), {newest} FROM (SELECT chunk_id, position, phone FROM message"
    f" WHERE chunk_id {{among}} AND state = {MessageState.PENDING} ORDER BY chunk_id, position) AS pending GROUP BY chunk_id"
)
_PENDINGS = {
    True: _PENDING.format(gathered="json_group_array", newest=NEWEST, among="IN (SELECT value FROM json_each(:chunks))"),
    False: _PENDING.format(gathered="array_agg", newest=NEWEST, among="= ANY(:chunks::bigint[])"),
}
_ASKED_AGAIN = f"SELECT cancelled_at, halted_because, stopped_because, {NEWEST} FROM campaign WHERE id = :id"
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
                codes = tuple(tickets[chunk, position] for position in positions) if delivery.kind == Kind.EVENT else ()
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
