"""News that is kept apart: no message has its id (yet), or it contradicts the message that has its id.

Contradictory news is never applied. A person sees it in the status and with ``posthorn webhooks --parked``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.content.definition import EventContent
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import PROVIDER_SKEW_SECONDS, Kind, MessageState, News, Phone, may_be_same_number, mms_number

AHEAD_SECONDS = 86_400.0
"""News from further ahead is absurd, whatever zone a clock is set to."""


class Subject(NamedTuple):
    """What the ledger knows of the message that news names: ``since`` is when it may have been sent at the earliest."""

    phone: Phone
    gateway: str
    mms_id: str | None
    since: float | None


class ParkedNews(NamedTuple):
    """One piece of parked news: ``campaign`` is where its message is, ``contradicts`` what does not fit it, if anything."""

    received_at: float
    provider_id: str
    state: MessageState
    phone: Phone | None
    contradicts: str | None
    campaign: str | None


# The chunk of a campaign may have been claimed again for those who were not taken: the others were sent by an earlier claim.
_SUBJECTS = (
    sql(
        f"SELECT m.provider_id, m.phone, c.gateway, c.kind, c.definition, CASE WHEN c.kind = {Kind.EVENT} THEN k.claimed_at"
        " ELSE coalesce((SELECT min(a.started_at) FROM attempt a WHERE a.chunk_id = m.chunk_id), k.claimed_at) END AS since"
        " FROM message m JOIN chunk k ON k.id = m.chunk_id JOIN campaign c ON c.id = m.campaign_id"
        " WHERE m.provider_id IN :ids"
    )
    .bindparams(sa.bindparam("ids", expanding=True))
    .columns(definition=sa.JSON())
)


def subjects(ledger: Ledger, ids: Sequence[str]) -> dict[str, Subject]:
    """Those of the ids that messages have, with what is known of each."""
    with ledger.read() as connection:
        rows = connection.execute(_SUBJECTS, {"ids": list(ids)}).all()
    return {
        row.provider_id: Subject(
            Phone(row.phone),
            row.gateway,
            EventContent.read(row.definition).mms_id if row.kind == Kind.EVENT else None,
            row.since,
        )
        for row in rows
    }


def contradiction(
    subject: Subject,
    *,
    gateway: str | None,
    phone: int | None,
    mms_id: str | None,
    happened_at: float | None,
    received_at: float,
) -> str | None:
    """What in the news does not fit the message that has its id; None if it fits."""
    if gateway is not None and gateway != subject.gateway:
        return "another provider"
    if phone is not None and not may_be_same_number(phone, subject.phone):
        return "another number"
    if mms_id is not None and subject.mms_id is not None and mms_number(mms_id) != mms_number(subject.mms_id):
        return "another template"
    times = [received_at] if happened_at is None else [received_at, happened_at]
    if subject.since is not None and min(times) < subject.since - PROVIDER_SKEW_SECONDS:
        return "a time before it was sent"
    return "a time to come" if max(times) > received_at + AHEAD_SECONDS else None


def park(
    connection: Connection, news: News, state: MessageState, *, contradicts: str | None = None, now: float | None = None
) -> None:
    """Keep the news once, however often it is pushed. News that differs in anything is another piece.

    So is the same news that comes again much later: the first may be too old for the message that the second is about.
    """
    parked = tables.parked_report
    now = time.time() if now is None else now
    told = {
        "provider_id": news.provider_id,
        "state": int(state),
        "phone": news.phone,
        "mms_id": news.mms_id,
        "gateway": news.gateway,
        "happened_at": news.happened_at and news.happened_at.timestamp(),
        "contradicts": contradicts,
    }
    same = sa.and_(*(parked.c[name].is_not_distinct_from(value) for name, value in told.items()))
    if contradicts is None:
        same = sa.and_(same, parked.c.received_at > now - PROVIDER_SKEW_SECONDS)
    if connection.execute(sa.select(parked.c.id).where(same)).first() is None:
        connection.execute(
            parked.insert().values(
                **told,
                received_at=now,
                reason=news.reason,
                delivered_at=news.delivered_at and news.delivered_at.timestamp(),
            )
        )


def count_contradictory(ledger: Ledger, delivery: Delivery | None = None) -> int:
    """How many pieces of news contradict a message: of one campaign, or of all."""
    parked, message = tables.parked_report.c, tables.message.c
    query = sa.select(sa.func.count()).select_from(tables.parked_report).where(parked.contradicts.is_not(None))
    if delivery is not None:
        ours = sa.exists().where(message.provider_id == parked.provider_id, message.campaign_id == delivery.id)
        query = query.where(ours)
    with ledger.read() as connection:
        return connection.execute(query).scalar_one()


def listed(ledger: Ledger, most: int) -> list[ParkedNews]:
    """Parked news, what contradicts first, then the newest."""
    parked, message, campaign = tables.parked_report.c, tables.message.c, tables.campaign.c
    columns = (parked.received_at, parked.provider_id, parked.state, parked.phone, parked.contradicts, campaign.name)
    query = (
        sa.select(*columns)
        .select_from(
            tables.parked_report.outerjoin(tables.message, message.provider_id == parked.provider_id).outerjoin(
                tables.campaign, campaign.id == message.campaign_id
            )
        )
        .order_by(parked.contradicts.is_(None), parked.received_at.desc(), parked.id)
        .limit(most)
    )
    with ledger.read() as connection:
        return [
            ParkedNews(at, one, MessageState(state), phone, why, name)
            for at, one, state, phone, why, name in connection.execute(query)
        ]


def count_parked(ledger: Ledger) -> int:
    """How many pieces of news are parked, for whatever reason."""
    with ledger.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(tables.parked_report)).scalar_one()
