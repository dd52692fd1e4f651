"""Second copies: which messages may have one, what was found of them, and which still count.

A copy is a message at the provider that no message of ours accounts for. It counts while no message has its id and it was
not withdrawn. Both are checked anew each time, so an id that turns out to be another message's stops counting by itself.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.content.definition import CampaignContent
from posthorn.ledger import proof_exclusion, states
from posthorn.ledger.deliveries import Delivery, PlannedCampaign, hold_chunks, recount
from posthorn.ledger.paging import behind, in_order, page
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import UNREPORTED_STATES, ChunkState, Kind, MessageState, Phone

_TAKEN_WITHOUT_ID = f"provider_id IS NULL AND m.state IN ({states.UNREPORTED})"


@dataclass(frozen=True, slots=True)
class Suspect:
    """A message that may have been taken twice: it was looked up and settled, or an answer came after its claim was over.

    ``attempts`` holds the beginning and the end (seconds, our clock) of each request that may have named it. If the request
    named a later moment of dispatch, that is the end.
    """

    chunk_id: int
    position: int
    phone: Phone
    state: MessageState
    provider_id: str | None
    attempts: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy beyond the one that the message at this place accounts for."""

    provider_id: str
    chunk_id: int
    position: int
    state: MessageState
    evidence: str


_SETTLED = sql(
    "SELECT m.chunk_id, m.position, m.phone, m.state, m.provider_id FROM ("
    f"SELECT chunk_id, position FROM settlement WHERE campaign_id = :campaign AND state <> {MessageState.UNKNOWN}"
    " UNION SELECT m.chunk_id, m.position FROM chunk k JOIN attempt a ON a.chunk_id = k.id"
    " JOIN message m ON m.chunk_id = k.id WHERE k.campaign_id = :campaign AND a.outcome = 'late') s"
    " JOIN message m ON m.chunk_id = s.chunk_id AND m.position = s.position"
    f" WHERE m.state NOT IN ({states.UNSETTLED}) AND NOT ({_TAKEN_WITHOUT_ID})"
    f" AND {behind('m.chunk_id')} {in_order('m.chunk_id')}"
)
_ATTEMPTS = sql(
    "SELECT chunk_id, started_at, CASE WHEN send_at > coalesce(ended_at, started_at) THEN send_at"
    " ELSE coalesce(ended_at, started_at) END AS ended_at FROM attempt"
    " WHERE chunk_id IN :chunks AND outcome <> 'not_taken' ORDER BY chunk_id, epoch"
).bindparams(sa.bindparam("chunks", expanding=True))


def suspects(ledger: Ledger, campaign: PlannedCampaign, size: int, after: tuple[int, int] = (0, -1)) -> list[Suspect]:
    """Up to ``size`` messages that may have been taken twice, in order, behind ``after`` (chunk, position).

    Left out is what cannot be decided yet: a message that is unknown or in flight, or whose own id is not known.
    """
    rows = page(ledger, _SETTLED, {"campaign": campaign.id}, size, after)
    with ledger.read() as connection:
        attempts: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
        for row in connection.execute(_ATTEMPTS, {"chunks": sorted({row.chunk_id for row in rows})}):
            attempts[row.chunk_id].append((row.started_at, row.ended_at))
    return [
        Suspect(
            row.chunk_id,
            row.position,
            Phone(row.phone),
            MessageState(row.state),
            row.provider_id,
            tuple(attempts[row.chunk_id]),
        )
        for row in rows
    ]


def open_elsewhere(
    ledger: Ledger, campaign: PlannedCampaign, phones: Sequence[Phone]
) -> dict[Phone, list[tuple[float, float]]]:
    """Those of the numbers for which another campaign of the same title, or a proof, has something open.

    A stray row of such a number may be that campaign's own message, whose answer is not known or not recorded yet. Each
    number comes with the spans in which the requests of those messages were under way (seconds, our clock), one for each.
    """
    message, chunk, other, attempt = tables.message.c, tables.chunk.c, tables.campaign.c, tables.attempt.c
    is_open = sa.or_(
        message.state == int(MessageState.UNKNOWN),
        sa.and_(message.state == int(MessageState.PENDING), chunk.state == int(ChunkState.SENDING)),
        sa.and_(message.provider_id.is_(None), message.state.in_([int(state) for state in UNREPORTED_STATES])),
    )
    ends = sa.func.coalesce(attempt.ended_at, time.time())
    asked = sa.and_(attempt.chunk_id == message.chunk_id, attempt.outcome != "not_taken")
    query = (
        sa.select(
            message.phone,
            other.definition,
            sa.select(sa.func.min(attempt.started_at)).where(asked).scalar_subquery().label("since"),
            sa.select(sa.func.max(ends)).where(asked).scalar_subquery().label("until"),
        )
        .join(tables.chunk, chunk.id == message.chunk_id)
        .join(tables.campaign, other.id == message.campaign_id)
        .where(other.kind == int(Kind.CAMPAIGN), other.id != campaign.id, sa.not_(other.test))
        .where(message.phone.in_(phones), is_open)
    )
    title = campaign.content.title.strip()
    found: defaultdict[Phone, list[tuple[float, float]]] = defaultdict(list)
    with ledger.read() as connection:
        for row in connection.execute(query):
            if CampaignContent.read(row.definition).title.strip() == title:
                found[Phone(row.phone)].append((row.since or 0.0, row.until or 0.0))
    for phone, spans in proof_exclusion.open_with(ledger, campaign.gateway, phones, 0.0, title).items():
        found[phone] += spans
    return dict(found)


def keep(ledger: Ledger, campaign: PlannedCampaign, copies: Sequence[Copy]) -> None:
    """Keep copies that the provider lists now, in the state it says."""
    if copies:
        with ledger.write() as connection:
            keep_within(connection, campaign.id, copies)


def keep_within(connection: Connection, campaign_id: int, copies: Iterable[Copy]) -> None:
    """``keep`` in a transaction that is under way. A copy that is listed again was not withdrawn."""
    connection.execute(
        sql(
            "INSERT INTO second_copy (provider_id, campaign_id, chunk_id, position, state, found_at, evidence)"
            " VALUES (:id, :campaign, :chunk, :position, :state, :now, :evidence)"
            " ON CONFLICT (provider_id) DO UPDATE SET state = excluded.state, withdrawn_at = NULL"
        ),
        [
            {
                "id": copy.provider_id,
                "campaign": campaign_id,
                "chunk": copy.chunk_id,
                "position": copy.position,
                "state": int(copy.state),
                "now": time.time(),
                "evidence": copy.evidence,
            }
            for copy in copies
        ],
    )


def mark_withdrawn(ledger: Ledger, ids: Sequence[str]) -> None:
    """Stop counting these copies: the provider has withdrawn them."""
    copy = tables.second_copy
    if ids:
        with ledger.write() as connection:
            connection.execute(copy.update().where(copy.c.provider_id.in_(ids)).values(withdrawn_at=time.time()))


_COUNTS = (
    "FROM second_copy k LEFT JOIN message m ON m.chunk_id = k.chunk_id AND m.position = k.position"
    " WHERE k.withdrawn_at IS NULL"
    f" AND (m.state IS NULL OR m.state NOT IN ({states.UNSETTLED}) AND NOT (m.{_TAKEN_WITHOUT_ID}))"
    " AND NOT EXISTS (SELECT 1 FROM message own WHERE own.provider_id = k.provider_id)"
)
_COUNTED = sql(f"SELECT k.provider_id, k.state {_COUNTS} AND k.campaign_id = :campaign ORDER BY k.found_at, k.provider_id")
_BY_DELIVERY = sql(f"SELECT k.campaign_id, count(*) AS copies {_COUNTS} GROUP BY k.campaign_id")


def counted(ledger: Ledger, delivery: Delivery) -> dict[str, MessageState]:
    """The provider's ids of the copies that count, with their states."""
    with ledger.read() as connection:
        rows = connection.execute(_COUNTED, {"campaign": delivery.id})
        return {row.provider_id: MessageState(row.state) for row in rows}


def count_by_delivery(ledger: Ledger) -> dict[int, int]:
    """How many copies count, by the id of the delivery that has some."""
    with ledger.read() as connection:
        return {row.campaign_id: row.copies for row in connection.execute(_BY_DELIVERY)}


def adopt(ledger: Ledger, campaign: PlannedCampaign, suspect: Suspect, copy: Copy) -> bool:
    """Let the message stand for this copy, which reached the person, instead of its own; returns whether it does.

    If the provider still keeps the copy that it stood for before, that one is the surplus from then on.
    """
    with ledger.write() as connection:
        hold_chunks(connection, "id = :chunk", chunk=suspect.chunk_id)
        message = tables.message
        moved = connection.execute(
            message.update()
            .where(
                message.c.chunk_id == suspect.chunk_id,
                message.c.position == suspect.position,
                message.c.state == int(suspect.state),
                message.c.provider_id.is_not_distinct_from(suspect.provider_id),
            )
            .values(state=int(copy.state), provider_id=copy.provider_id, error=None, epoch=None)
        ).rowcount
        if moved:
            _keep_adoption(connection, campaign, suspect, copy)
        recount(connection, "id = :chunk", chunk=suspect.chunk_id)
    return bool(moved)


def _keep_adoption(connection: Connection, campaign: PlannedCampaign, suspect: Suspect, copy: Copy) -> None:
    connection.execute(
        tables.settlement.insert().values(
            campaign_id=campaign.id,
            chunk_id=suspect.chunk_id,
            position=suspect.position,
            settled_at=time.time(),
            decision="found",
            state=int(copy.state),
            by="reconcile",
            evidence=copy.evidence,
            replaced_id=suspect.provider_id,
        )
    )
    if suspect.provider_id is not None and suspect.state == MessageState.SCHEDULED:
        former = Copy(suspect.provider_id, suspect.chunk_id, suspect.position, suspect.state, "another copy went out first")
        keep_within(connection, campaign.id, [former])


_BEGUN = sql(
    "SELECT DISTINCT a.started_at FROM attempt a JOIN chunk c ON c.id = a.chunk_id"
    " WHERE c.campaign_id = :campaign AND a.outcome <> 'not_taken' AND (EXISTS (SELECT 1 FROM settlement s"
    f" WHERE s.chunk_id = a.chunk_id AND s.state = {MessageState.PENDING}) OR (:cancelled AND (c.unknown > 0 OR a.outcome IN"
    " ('unknown', 'abandoned', 'late')))) ORDER BY a.started_at"
)


def begun(ledger: Ledger, campaign: PlannedCampaign) -> list[float]:
    """When each request began (seconds) that may still leave a copy which must not go out.

    Those are the requests of chunks of which something was sent again. Of a cancelled campaign, it is every request whose
    answer was lost.
    """
    values = {"campaign": campaign.id, "cancelled": campaign.cancelled_at is not None}
    with ledger.read() as connection:
        return list(connection.execute(_BEGUN, values).scalars())


def span_of_attempts(ledger: Ledger, campaign: PlannedCampaign) -> tuple[float, float] | None:
    """When the first and the last of the campaign's requests began (seconds); None if there was none."""
    attempt, chunk = tables.attempt.c, tables.chunk.c
    query = (
        sa.select(sa.func.min(attempt.started_at), sa.func.max(attempt.started_at))
        .join(tables.chunk, chunk.id == attempt.chunk_id)
        .where(chunk.campaign_id == campaign.id)
    )
    with ledger.read() as connection:
        first, last = connection.execute(query).one()
    return None if first is None else (first, last)


_NEWEST = sql(
    "SELECT s.campaign_id, max(a.started_at) AS newest FROM settlement s JOIN campaign c ON c.id = s.campaign_id"
    f" JOIN attempt a ON a.chunk_id = s.chunk_id WHERE s.state <> {MessageState.UNKNOWN} AND c.kind = {Kind.CAMPAIGN}"
    " AND NOT c.test GROUP BY s.campaign_id"
)


def newest_attempts(ledger: Ledger) -> dict[int, float]:
    """For each campaign of which a look has settled something: when the newest of those requests began, by campaign id."""
    with ledger.read() as connection:
        return {row.campaign_id: row.newest for row in connection.execute(_NEWEST)}
