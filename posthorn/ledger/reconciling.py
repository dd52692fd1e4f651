"""Settling what is unknown: which messages wait for it, what lookups found, and the decisions, each with its evidence.

A decision moves a message only while it is still unknown, so two processes that reconcile cannot undo each other.
"""

from __future__ import annotations

import time
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
from posthorn.ledger.store.failures import Conflict
from posthorn.models import ChunkState, Kind, MessageState, Phone

_SURELY_UNSENT = "not_taken"
_NO_CHUNK_ABOVE = 2**63 - 1
MISMATCH = "mismatch"
"""The decision on a message while a control is listed, but not as it was sent."""

DOUBTS = ("no control", MISMATCH, "stray", "unsteady", "wrong clock")
"""Decisions that say why a listing proves nothing: each is kept anew when its reason changes."""


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """One message of unknown outcome, or one that was taken but whose id is not known (``is_taken``).

    It may have been taken between ``since`` and ``until`` (seconds, our clock).

    ``absent_since`` is when a lookup first did not find it, ``resends`` how often it was sent again. ``last_decision`` and
    ``last_evidence`` are what was decided last, and why. ``status`` is the HTTP status that answered its request, if any.
    ``attempts`` is how many requests of its chunk may have reached the provider; ``title`` and ``send_at`` (seconds, the
    latest) are what those named.
    """

    chunk_id: int
    position: int
    phone: Phone
    since: float
    until: float
    absent_since: float | None
    resends: int
    last_decision: str | None = None
    is_taken: bool = False
    status: int | None = None
    attempts: int = 1
    last_evidence: str | None = None
    title: str | None = None
    send_at: float | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """A message that the provider surely took under ``provider_id``: its request was under way from ``since`` to ``until``.

    ``title``, ``send_at`` (seconds) and ``hold_minutes`` are as it was sent. Its campaign need not be the one that is looked
    up.
    """

    provider_id: str
    phone: Phone
    since: float
    until: float
    campaign: str
    title: str
    send_at: float | None
    hold_minutes: int | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is decided for one unknown message: found, look, absent, resend, refused, or one of ``DOUBTS``."""

    message: Unconfirmed
    decision: str
    state: MessageState
    evidence: str
    provider_id: str | None = None
    error: str | None = None

    @property
    def is_news(self) -> bool:
        """Whether it says anything new."""
        last = self.message
        says_why = self.decision in DOUBTS and self.evidence != last.last_evidence
        return self.state != MessageState.UNKNOWN or self.decision != last.last_decision or says_why


def unconfirmed(
    ledger: Ledger, campaign: PlannedCampaign, size: int, after: tuple[int, int] = (0, 0), last_chunk: int | None = None
) -> list[Unconfirmed]:
    """Up to ``size`` messages of unknown outcome, in order, behind ``after`` (chunk, position), to ``last_chunk``."""
    where = f"k.state <> {ChunkState.DONE} AND k.unknown > 0 AND m.state = {MessageState.UNKNOWN}"
    return _select(ledger, campaign, where, "k.id", size=size, after=after, last_chunk=last_chunk)


def without_id(ledger: Ledger, campaign: PlannedCampaign, size: int, after: tuple[int, int] = (0, 0)) -> list[Unconfirmed]:
    """Up to ``size`` messages that the provider took without naming their ids, in order, behind ``after``."""
    where = f"m.campaign_id = :campaign AND m.provider_id IS NULL AND m.state IN ({states.UNREPORTED})"
    return _select(ledger, campaign, where, "m.chunk_id", size=size, after=after)


def _unconfirmed_query(where: str, chunk: str) -> sa.TextClause:
    """Messages with what is known of the requests that named them. ``chunk`` is the column whose index is read."""
    return sql(
        "SELECT m.chunk_id, m.position, m.phone, m.state, own.status, coalesce(own.ended_at, own.started_at) AS until,"
        " (SELECT min(started_at) FROM attempt a WHERE a.chunk_id = m.chunk_id AND a.outcome <> :unsent) AS since,"
        " (SELECT min(settled_at) FROM settlement s WHERE s.chunk_id = m.chunk_id AND s.position = m.position"
        " AND s.decision = 'look' AND s.settled_at >= own.started_at) AS absent_since,"
        " (SELECT count(*) FROM settlement s WHERE s.chunk_id = m.chunk_id AND s.position = m.position"
        " AND s.decision = 'resend') AS resends,"
        " (SELECT count(*) FROM attempt a WHERE a.chunk_id = m.chunk_id AND a.outcome <> :unsent) AS attempts,"
        " (SELECT max(a.send_at) FROM attempt a WHERE a.chunk_id = m.chunk_id AND a.outcome <> :unsent) AS send_at,"
        " own.title,"
        " (SELECT s.decision FROM settlement s WHERE s.chunk_id = m.chunk_id AND s.position = m.position"
        " AND s.settled_at >= own.started_at ORDER BY s.id DESC LIMIT 1) AS last_decision,"
        " (SELECT s.evidence FROM settlement s WHERE s.chunk_id = m.chunk_id AND s.position = m.position"
        " AND s.settled_at >= own.started_at ORDER BY s.id DESC LIMIT 1) AS last_evidence"
        " FROM chunk k JOIN message m ON m.chunk_id = k.id"
        " JOIN attempt own ON own.chunk_id = m.chunk_id AND own.epoch = m.epoch"
        f" WHERE k.campaign_id = :campaign AND {where} AND {behind(chunk)} AND k.id <= :last"
        f" {in_order(chunk)}"
    )


def _select(
    ledger: Ledger,
    campaign: PlannedCampaign,
    where: str,
    chunk: str,
    *,
    size: int,
    after: tuple[int, int],
    last_chunk: int | None = None,
) -> list[Unconfirmed]:
    values = {
        "campaign": campaign.id,
        "unsent": _SURELY_UNSENT,
        "last": _NO_CHUNK_ABOVE if last_chunk is None else last_chunk,
    }
    return [
        Unconfirmed(
            row.chunk_id,
            row.position,
            Phone(row.phone),
            row.since,
            row.until,
            row.absent_since,
            row.resends,
            row.last_decision,
            row.state != MessageState.UNKNOWN,
            row.status,
            row.attempts,
            row.last_evidence,
            row.title,
            row.send_at,
        )
        for row in page(ledger, _unconfirmed_query(where, chunk), values, size, after)
    ]


_CONTROLS = (
    "SELECT m.provider_id, m.phone, a.started_at, coalesce(a.ended_at, a.started_at) AS ended_at, own.name, own.definition,"
    " a.title, a.send_at, a.hold_minutes FROM chunk c JOIN campaign own ON own.id = c.campaign_id"
    " JOIN attempt a ON a.chunk_id = c.id AND a.outcome <> :unsent JOIN message m ON m.chunk_id = c.id AND m.position ="
    " (SELECT min(k.position) FROM message k WHERE k.chunk_id = c.id AND k.provider_id IS NOT NULL"
    f" AND k.state IN ({states.TAKEN}))"
    " WHERE {of} AND c.accepted + c.scheduled + c.delivered + c.undelivered + c.no_report > 0"
    " AND a.started_at >= :not_before"
    " AND (SELECT count(*) FROM attempt b WHERE b.chunk_id = c.id AND b.outcome <> :unsent) = 1"
    " ORDER BY a.started_at < :near, abs(a.started_at - :near), c.id LIMIT :size"
)
_CONTROLS_OF = [
    sql(_CONTROLS.format(of=of)).columns(definition=sa.JSON())
    for of in (
        "c.campaign_id = :campaign AND own.gateway = :gateway",
        f"c.campaign_id <> :campaign AND own.gateway = :gateway AND own.kind = {Kind.CAMPAIGN} AND NOT own.test",
    )
]
"""Of the campaign itself, and of all others."""


def controls(ledger: Ledger, campaign: PlannedCampaign, near: float, size: int, *, not_before: float) -> list[Control]:
    """Messages that the provider surely took, each of another chunk: a listing without them proves nothing.

    First come those whose request began at ``near`` or later, the nearest first: a listing that lags may show all that was
    taken before, but not yet what is looked for. Then come the latest before it.

    If this campaign has none, those of other campaigns of the same gateway count. Only chunks count that had one request
    which may have been carried out, made after ``not_before``: with more, nobody could say when a message was taken.
    """
    values = {
        "campaign": campaign.id,
        "gateway": campaign.gateway,
        "near": near,
        "not_before": not_before,
        "size": size,
        "unsent": _SURELY_UNSENT,
    }
    with ledger.read() as connection:
        found = next((rows for query in _CONTROLS_OF if (rows := connection.execute(query, values).all())), [])
    return [
        Control(
            row.provider_id,
            Phone(row.phone),
            row.started_at,
            row.ended_at,
            row.name,
            row.title or CampaignContent.read(row.definition).title,
            row.send_at,
            row.hold_minutes,
        )
        for row in found
    ]


def bound_ids(ledger: Ledger, ids: Sequence[str]) -> set[str]:
    """Those of the provider's ids that another message or a proof has or had; an unknown message's own id settles it."""
    message, settlement = tables.message.c, tables.settlement.c
    now = sa.select(message.provider_id).where(message.provider_id.in_(ids), message.state != int(MessageState.UNKNOWN))
    once = sa.select(settlement.replaced_id).where(settlement.replaced_id.in_(ids))
    with ledger.read() as connection:
        messages = {one for query in (now, once) for one in connection.execute(query).scalars() if one is not None}
        return messages | proof_exclusion.ids_among(connection, ids)


def settle(ledger: Ledger, campaign: PlannedCampaign, decisions: Iterable[Settlement], *, by: str) -> int:
    """Carry out decisions and keep them with their evidence; returns how many messages are no longer unknown.

    A decision is dropped if another message has got its provider id meanwhile: the next lookup decides anew.
    """
    news = [one for one in decisions if one.is_news]
    try:
        return _settle(ledger, campaign, news, by)
    except Conflict:  # rare, so asked for only when the unique index has spoken
        return _settle(ledger, campaign, _without_bound_ids(ledger, news), by)


def _settle(ledger: Ledger, campaign: PlannedCampaign, news: Sequence[Settlement], by: str) -> int:
    now = time.time()
    settled = 0
    chunks = sorted({decision.message.chunk_id for decision in news})
    with ledger.write() as connection:
        for chunk in chunks:
            hold_chunks(connection, "id = :chunk", chunk=chunk)
        for decision in news:
            if _move(connection, decision):
                settled += decision.state != MessageState.UNKNOWN
                _keep(connection, campaign, decision, by, now)
        for chunk in chunks:
            recount(connection, "id = :chunk", chunk=chunk)
    return settled


def _move(connection: Connection, decision: Settlement) -> bool:
    """Move a message as decided, if it has not changed since the decision; returns whether it moved."""
    if decision.message.is_taken:
        still = f"provider_id IS NULL AND state IN ({states.UNREPORTED})"
    else:
        still = f"state = {MessageState.UNKNOWN}"
    stays = decision.state == MessageState.UNKNOWN
    change = "state = state" if stays else "state = :state, provider_id = :id, error = :error, epoch = NULL"
    moved = connection.execute(
        sql(f"UPDATE message SET {change} WHERE chunk_id = :chunk AND position = :position AND {still}"),
        {
            "chunk": decision.message.chunk_id,
            "position": decision.message.position,
            **({} if stays else {"state": int(decision.state), "id": decision.provider_id, "error": decision.error}),
        },
    )
    return bool(moved.rowcount)


def _without_bound_ids(ledger: Ledger, decisions: Sequence[Settlement]) -> list[Settlement]:
    """The decisions without those whose provider id another message (or another decision) has already."""
    message = tables.message.c
    ids = [decision.provider_id for decision in decisions if decision.provider_id]
    with ledger.read() as connection:
        query = sa.select(message.provider_id, message.chunk_id, message.position).where(message.provider_id.in_(ids))
        owners = {row.provider_id: (row.chunk_id, row.position) for row in connection.execute(query)}
    free = []
    for decision in decisions:
        place = decision.message.chunk_id, decision.message.position
        if decision.provider_id is None or owners.setdefault(decision.provider_id, place) == place:
            free.append(decision)
    return free


@dataclass(frozen=True, slots=True)
class Finding:
    """Why the lookups of a campaign prove nothing: how many of its messages stay unknown because of that."""

    campaign: str
    what: str
    messages: int


_FINDINGS = (
    "SELECT c.name, s.evidence, count(*) AS messages FROM settlement s JOIN campaign c ON c.id = s.campaign_id"
    " JOIN message m ON m.chunk_id = s.chunk_id AND m.position = s.position AND m.state = :unknown"
    " WHERE s.decision = :mismatch AND (:campaign = 0 OR s.campaign_id = :campaign) AND s.id ="
    " (SELECT max(x.id) FROM settlement x WHERE x.chunk_id = s.chunk_id AND x.position = s.position)"
    " GROUP BY c.name, s.evidence ORDER BY c.name, messages DESC"
)


def findings(ledger: Ledger, campaign: PlannedCampaign | None = None) -> list[Finding]:
    """The differences that the last lookups found between the listing and what was sent; for one campaign, or for all."""
    values = {"unknown": MessageState.UNKNOWN, "mismatch": MISMATCH, "campaign": campaign.id if campaign else 0}
    with ledger.read() as connection:
        return [Finding(row.name, row.evidence, row.messages) for row in connection.execute(sql(_FINDINGS), values)]


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """Why a message of unknown outcome still is: what happened to its request, what the last lookup showed.

    ``code`` is a ticket's.
    """

    chunk_id: int
    line: int
    phone: Phone
    problem: str | None
    evidence: str | None
    code: str | None = None


def evidence_of(ledger: Ledger, delivery: Delivery) -> list[UnknownMessage]:
    """The evidence on every message of unknown outcome, in order."""
    query = sql(
        "SELECT m.chunk_id, m.line, m.phone, own.problem, t.barcode,"
        " (SELECT s.evidence FROM settlement s WHERE s.chunk_id = m.chunk_id AND s.position = m.position"
        " ORDER BY s.id DESC LIMIT 1) AS evidence"
        " FROM chunk c JOIN message m ON m.chunk_id = c.id"
        " LEFT JOIN attempt own ON own.chunk_id = m.chunk_id AND own.epoch = m.epoch"
        " LEFT JOIN ticket t ON t.chunk_id = m.chunk_id AND t.position = m.position"
        " WHERE c.campaign_id = :campaign AND c.unknown > 0 AND m.state = :unknown ORDER BY m.chunk_id, m.position"
    )
    with ledger.read() as connection:
        rows = connection.execute(query, {"campaign": delivery.id, "unknown": MessageState.UNKNOWN})
        return [
            UnknownMessage(row.chunk_id, row.line, Phone(row.phone), row.problem, row.evidence, row.barcode) for row in rows
        ]


def _keep(connection: Connection, campaign: PlannedCampaign, decision: Settlement, by: str, now: float) -> None:
    connection.execute(
        tables.settlement.insert().values(
            campaign_id=campaign.id,
            chunk_id=decision.message.chunk_id,
            position=decision.message.position,
            settled_at=now,
            decision=decision.decision,
            state=int(decision.state),
            by=by,
            evidence=decision.evidence,
        )
    )


def count_refused(ledger: Ledger, delivery: Delivery) -> int:
    """How many messages are unknown only because their request was answered with a bare HTTP 429."""
    query = sql(
        "SELECT count(*) FROM chunk c JOIN message m ON m.chunk_id = c.id"
        " JOIN attempt a ON a.chunk_id = m.chunk_id AND a.epoch = m.epoch"
        " WHERE c.campaign_id = :campaign AND c.unknown > 0 AND m.state = :unknown AND a.status = 429"
    )
    with ledger.read() as connection:
        values = {"campaign": delivery.id, "unknown": MessageState.UNKNOWN}
        return int(connection.execute(query, values).scalar_one())
