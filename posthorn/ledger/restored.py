"""What the restore check asks of the ledger and tells it: which marked claims it has forgotten, and what becomes of them.

A ledger that was restored from an older copy lacks the attempts made since. They are entered again as far as the mark knows
them. What they may have sent is unknown: it is looked up, or settled by a person, and never simply sent.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.ledger import proof_exclusion
from posthorn.ledger.deliveries import Delivery, hold_chunks, recount
from posthorn.ledger.marks import Mark, MarkedClaim
from posthorn.ledger.paging import PENDING, page
from posthorn.ledger.reconciling import Unconfirmed
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import ChunkState, MessageState, Phone

_ROWS_PER_QUERY = 500
_BEYOND = -1
"""The position of the settlement that says a ledger has caught up with its mark: no message has it."""
_FORGOTTEN = "this ledger had forgotten the request: it was restored from an older copy"
_CAUGHT_UP = "this ledger has caught up with what was sent before it was restored; send it again to go on"
_LISTED = "the provider lists a message that this ledger knew nothing of"
_NEVER_CLAIMED = (
    f"SELECT id FROM chunk WHERE campaign_id = :campaign AND state = {ChunkState.PENDING} AND epoch = 0 ORDER BY id"
)


@dataclass(frozen=True, slots=True)
class PendingMessage:
    """One pending message."""

    chunk_id: int
    position: int
    phone: Phone


def forgotten(ledger: Ledger, mark: Mark) -> list[MarkedClaim]:
    """The marked claims that the ledger does not know; none unless it is older than its mark.

    A copy of a ledger holds what was committed until some moment. So it knows the last claim of each process only if it
    knows all of them; that is checked first.
    """
    claims = mark.open_claims(_tokens(ledger, mark.tokens()))
    last = list({claim.owner: claim for claim in claims}.values())
    return _unknown_to(ledger, claims) if _unknown_to(ledger, last) else []


def _tokens(ledger: Ledger, tokens: Sequence[str]) -> set[str]:
    settlement = tables.settlement.c
    query = sa.select(settlement.evidence).where(settlement.position == _BEYOND, settlement.evidence.in_(tokens))
    with ledger.read() as connection:
        return set(connection.execute(query).scalars()) if tokens else set()


def _unknown_to(ledger: Ledger, claims: Sequence[MarkedClaim]) -> list[MarkedClaim]:
    attempt = tables.attempt.c
    query = sa.select(attempt.chunk_id, attempt.epoch, attempt.owner)
    known: set[tuple[int, int, str]] = set()
    with ledger.read() as connection:
        for at in range(0, len(claims), _ROWS_PER_QUERY):
            chunks = {claim.chunk_id for claim in claims[at : at + _ROWS_PER_QUERY]}
            known |= {(row[0], row[1], row[2]) for row in connection.execute(query.where(attempt.chunk_id.in_(chunks)))}
    return [claim for claim in claims if (claim.chunk_id, claim.epoch, claim.owner) not in known]


def sample(ledger: Ledger, delivery: Delivery, size: int) -> list[PendingMessage]:
    """At most ``size`` pending messages that were never claimed, spread over the chunks, from the beginning of each.

    Chunks are claimed in order, so what a copy has forgotten begins at the first of them: that one is always looked up.
    """
    with ledger.read() as connection:
        chunks = list(connection.execute(sql(_NEVER_CLAIMED), {"campaign": delivery.id}).scalars())
        step = max(1, -(-len(chunks) // size))
        some = chunks[::step]
        query = sa.select(tables.message.c.chunk_id, tables.message.c.position, tables.message.c.phone).where(
            tables.message.c.chunk_id.in_(some),
            tables.message.c.state == int(MessageState.PENDING),
            tables.message.c.position < max(1, size // max(1, len(some))),
        )
        return [PendingMessage(row.chunk_id, row.position, Phone(row.phone)) for row in connection.execute(query)]


def pending(ledger: Ledger, delivery: Delivery, size: int, after: tuple[int, int]) -> list[PendingMessage]:
    """Up to ``size`` pending messages in order, behind ``after`` (chunk, position)."""
    found = page(ledger, PENDING, {"campaign": delivery.id}, size, after)
    return [PendingMessage(row.chunk_id, row.position, Phone(row.phone)) for row in found]


def still_waiting(ledger: Ledger, some: Sequence[PendingMessage]) -> list[PendingMessage]:
    """Those of them that are still pending and were never claimed: no process of this ledger has sent them meanwhile."""
    chunk = tables.chunk.c
    query = sa.select(chunk.id).where(chunk.id.in_({one.chunk_id for one in some}), chunk.state == 0, chunk.epoch == 0)
    with ledger.read() as connection:
        unclaimed = set(connection.execute(query).scalars())
    return [one for one in some if one.chunk_id in unclaimed]


def known_ids(ledger: Ledger, ids: Sequence[str]) -> set[str]:
    """Those of the provider's ids that a message of this ledger has or had, or a second copy, or a proof."""
    message, settlement, copy = tables.message.c, tables.settlement.c, tables.second_copy.c
    found: set[str] = set()
    with ledger.read() as connection:
        for at in range(0, len(ids), _ROWS_PER_QUERY):
            some = ids[at : at + _ROWS_PER_QUERY]
            found |= set(connection.execute(sa.select(message.provider_id).where(message.provider_id.in_(some))).scalars())
            replaced = sa.select(settlement.replaced_id).where(settlement.replaced_id.in_(some))
            found |= set(connection.execute(replaced).scalars())
            found |= set(connection.execute(sa.select(copy.provider_id).where(copy.provider_id.in_(some))).scalars())
            found |= proof_exclusion.ids_among(connection, some)
    return found


def matched(
    ledger: Ledger, delivery: Delivery, mark: Mark, claims: Sequence[MarkedClaim]
) -> tuple[dict[int, list[MarkedClaim]], list[MarkedClaim]]:
    """The forgotten claims by the chunk of this ledger that each was for, and those for which there is none (any more).

    A wave that is older than the claim still has its chunks, even those that it believes sent or under way. A wave that was
    planned anew has others: there, the same numbers identify the chunk.
    """
    claims = _not_remembered(ledger, delivery, claims)
    by_place: dict[int, list[MarkedClaim]] = defaultdict(list)
    by_numbers: dict[str, list[MarkedClaim]] = defaultdict(list)
    for claim in claims:
        by_place[claim.chunk_id].append(claim)
        by_numbers[claim.numbers].append(claim)
    found: dict[int, list[MarkedClaim]] = {}
    for chunk, epoch, planned_at, phones in _pending_chunks(ledger, delivery):
        same = [claim for claim in by_place[chunk] if claim.epoch > epoch and claim.claimed_at >= planned_at]
        if here := list(dict.fromkeys(same + by_numbers[mark.fingerprint(phones)])):
            found[chunk] = here
    for chunk, epoch, planned_at in _other_chunks(ledger, delivery, by_place):
        if here := [claim for claim in by_place[chunk] if claim.epoch > epoch and claim.claimed_at >= planned_at]:
            found[chunk] = here
    matched_claims = {claim for here in found.values() for claim in here}
    return found, [claim for claim in claims if claim not in matched_claims]


def _not_remembered(ledger: Ledger, delivery: Delivery, claims: Sequence[MarkedClaim]) -> list[MarkedClaim]:
    """The claims without those that were entered again before something interrupted it."""
    attempt = tables.attempt.c
    query = sa.select(attempt.owner, attempt.started_at).where(
        attempt.chunk_id.in_(sa.select(tables.chunk.c.id).where(tables.chunk.c.campaign_id == delivery.id)),
        attempt.problem == _FORGOTTEN,
    )
    with ledger.read() as connection:
        entered = {(row.owner, row.started_at) for row in connection.execute(query)}
    return [claim for claim in claims if (claim.owner, claim.claimed_at) not in entered]


_PENDING_CHUNKS = sql(
    "SELECT k.id, k.epoch, w.planned_at FROM chunk k JOIN wave w ON w.campaign_id = k.campaign_id AND w.number = k.wave"
    f" WHERE k.campaign_id = :campaign AND k.state = {ChunkState.PENDING} ORDER BY k.id"
)


def _pending_chunks(ledger: Ledger, delivery: Delivery) -> Iterator[tuple[int, int, float, list[Phone]]]:
    """Every pending chunk with its epoch, when its wave was planned, and the numbers that a claim of it would name."""
    its = tables.message.c
    phones = sa.select(its.phone).where(its.state == int(MessageState.PENDING)).order_by(its.position)
    with ledger.read() as connection:
        for chunk, epoch, planned_at in connection.execute(_PENDING_CHUNKS, {"campaign": delivery.id}).all():
            numbers = [Phone(phone) for phone in connection.scalars(phones.where(its.chunk_id == chunk))]
            yield chunk, epoch, planned_at, numbers


def _other_chunks(ledger: Ledger, delivery: Delivery, ids: Iterable[int]) -> list[tuple[int, int, float]]:
    """Those of the chunks that are the campaign's and not pending, each with its epoch and when its wave was planned."""
    chunk, wave, wanted = tables.chunk.c, tables.wave.c, sorted(ids)
    its_wave = sa.and_(wave.campaign_id == chunk.campaign_id, wave.number == chunk.wave)
    query = sa.select(chunk.id, chunk.epoch, wave.planned_at).join(tables.wave, its_wave)
    query = query.where(chunk.campaign_id == delivery.id, chunk.state != 0)
    found: list[tuple[int, int, float]] = []
    with ledger.read() as connection:
        for at in range(0, len(wanted), _ROWS_PER_QUERY):
            rows = connection.execute(query.where(chunk.id.in_(wanted[at : at + _ROWS_PER_QUERY])))
            found += [(row.id, row.epoch, row.planned_at) for row in rows]
    return found


def of_later_waves(ledger: Ledger, delivery: Delivery, unmatched: Sequence[MarkedClaim]) -> list[MarkedClaim]:
    """Those of the unmatched claims that were made after the newest wave was planned, and for no chunk of this plan.

    They were for rows merged after the copy was made. The ledger has not planned those rows and would treat them as new.
    """
    chunk, wave = tables.chunk.c, tables.wave.c
    newest = sa.select(sa.func.max(wave.planned_at)).where(wave.campaign_id == delivery.id)
    with ledger.read() as connection:
        planned_at: float = connection.execute(newest).scalar_one()
        own = set(connection.execute(sa.select(chunk.id).where(chunk.campaign_id == delivery.id)).scalars())
    return [claim for claim in unmatched if claim.claimed_at >= planned_at and claim.chunk_id not in own]


def remember(ledger: Ledger, chunk: int, claims: Sequence[MarkedClaim]) -> int:
    """Enter forgotten claims of a chunk again; its pending messages become unknown. Returns how many those were.

    The caller holds the delivery's lock.
    """
    with ledger.write() as connection:
        hold_chunks(connection, "id = :chunk", chunk=chunk)
        epoch = _epoch(connection, chunk)
        for claim in sorted(claims, key=lambda claim: claim.epoch):
            epoch = claim.epoch if claim.chunk_id == chunk and claim.epoch > epoch else epoch + 1
            _enter(connection, chunk, epoch, claim.owner, claim.claimed_at, _FORGOTTEN)
        moved = connection.execute(_made_unknown(chunk, epoch)).rowcount
        recount(connection, "id = :chunk", ends_sending=True, chunk=chunk)
    return moved


def suspect(ledger: Ledger, some: Sequence[PendingMessage], *, since: float, problem: str = _LISTED) -> list[Unconfirmed]:
    """Make those pending messages unknown that a forgotten request, made at ``since`` or later, may have been for.

    Returns those that were still pending, to be settled.
    """
    moved: list[Unconfirmed] = []
    by_chunk: dict[int, list[PendingMessage]] = {}
    for one in some:
        by_chunk.setdefault(one.chunk_id, []).append(one)
    with ledger.write() as connection:
        for chunk in sorted(by_chunk):
            if hold_chunks(connection, f"id = :chunk AND state = {ChunkState.PENDING}", chunk=chunk):
                moved += _suspect(connection, by_chunk[chunk], since, problem)
    return moved


def _suspect(connection: Connection, some: Sequence[PendingMessage], since: float, problem: str) -> list[Unconfirmed]:
    chunk = some[0].chunk_id
    epoch = _epoch(connection, chunk) + 1
    _enter(connection, chunk, epoch, "unknown", since, problem)
    update, position = _made_unknown(chunk, epoch), tables.message.c.position
    moved = [one for one in some if connection.execute(update.where(position == one.position)).rowcount]
    recount(connection, "id = :chunk", ends_sending=True, chunk=chunk)
    now = time.time()
    return [Unconfirmed(chunk, one.position, one.phone, since, now, None, 0) for one in moved]


def _made_unknown(chunk: int, epoch: int) -> sa.Update:
    its = tables.message.c
    pending = tables.message.update().where(its.chunk_id == chunk, its.state == int(MessageState.PENDING))
    return pending.values(state=int(MessageState.UNKNOWN), epoch=epoch)


def _epoch(connection: Connection, chunk: int) -> int:
    epoch: int = connection.execute(sa.select(tables.chunk.c.epoch).where(tables.chunk.c.id == chunk)).scalar_one()
    return epoch


def _enter(connection: Connection, chunk: int, epoch: int, owner: str, started_at: float, problem: str) -> None:
    connection.execute(
        tables.attempt.insert().values(
            chunk_id=chunk,
            epoch=epoch,
            owner=owner,
            started_at=started_at,
            ended_at=time.time(),
            outcome="abandoned",
            problem=problem,
        )
    )
    claimed_at = (
        tables.chunk.c.claimed_at
    )  # the first claim stays: news of a ticket that was sent then does not contradict it
    first = sa.case((claimed_at < started_at, claimed_at), else_=started_at)
    connection.execute(
        tables.chunk.update()
        .where(tables.chunk.c.id == chunk)
        .values(epoch=epoch, owner=owner, claimed_at=first, finished_at=time.time())
    )


def count_settled(ledger: Ledger, delivery: Delivery, *, by: str) -> int:
    """How many messages ``by`` has found taken so far."""
    settlement = tables.settlement.c
    query = sa.select(sa.func.count()).where(
        settlement.campaign_id == delivery.id, settlement.by == by, settlement.decision == "found"
    )
    with ledger.read() as connection:
        count: int = connection.execute(query).scalar_one()
    return count


def catch_up(ledger: Ledger, delivery: Delivery, *, by: str) -> str:
    """Note, also as the reason why it stopped, that all its mark knows was settled; returns the token for the mark.

    A ledger that is restored from an earlier copy has no such token, and is behind again.
    """
    token = uuid.uuid4().hex
    stopped = tables.campaign.update().where(
        tables.campaign.c.id == delivery.id, tables.campaign.c.stopped_because.is_not(None)
    )
    any_chunk = sa.select(sa.func.coalesce(sa.func.min(tables.chunk.c.id), 0)).where(
        tables.chunk.c.campaign_id == delivery.id
    )
    with ledger.write() as connection:
        connection.execute(stopped.values(stopped_because=_CAUGHT_UP))
        connection.execute(
            tables.settlement.insert().values(
                campaign_id=delivery.id,
                chunk_id=any_chunk.scalar_subquery(),
                position=_BEYOND,
                settled_at=time.time(),
                decision="caught up",
                state=int(MessageState.UNKNOWN),
                by=by,
                evidence=token,
            )
        )
    return token
