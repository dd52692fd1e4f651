"""News that providers push: applied where its message is known, parked where it is not (yet), harmless when repeated."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from posthorn.ledger import tables
from posthorn.ledger.reporting import apply_reports, hold_messages
from posthorn.ledger.store import Ledger
from posthorn.ledger.tickets import settle_by_postback
from posthorn.models import MessageState, Phone, Report

_PARKED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class News:
    """One piece of pushed news about the message that the provider calls ``provider_id``."""

    provider_id: str
    state: MessageState
    phone: Phone | None = None
    mms_id: str | None = None
    reason: str | None = None


def take_news(ledger: Ledger, news: Sequence[News]) -> int:
    """Apply or park news, durably; returns how many messages it moved.

    A final state never goes back. News of an unknown ticket settles it; news with an id of no message is parked, for it may
    have come before the answer of the send was recorded.
    """
    moved = 0
    with ledger.group():
        hold_messages(ledger, [one.provider_id for one in news])
        for one in news:
            moved += _apply(ledger, one)
            if not _is_known(ledger, one.provider_id):
                _park(ledger, one)
    return moved


def apply_parked(ledger: Ledger) -> int:
    """Apply parked news whose message is known by now; returns how many messages it moved."""
    parked = tables.parked_report
    known = (
        sa.select(parked)
        .join(tables.message, tables.message.c.provider_id == parked.c.provider_id)
        .order_by(parked.c.id)
        .limit(_PARKED_AT_ONCE)
    )
    moved = 0
    with ledger.group():
        with ledger.read() as connection:
            rows = connection.execute(known).all()
        hold_messages(ledger, [row.provider_id for row in rows])
        for row in rows:
            moved += _apply(ledger, News(row.provider_id, MessageState(row.state), reason=row.reason))
        with ledger.write() as connection:
            connection.execute(parked.delete().where(parked.c.id.in_([row.id for row in rows])))
    return moved


def _apply(ledger: Ledger, news: News) -> int:
    report = Report(news.provider_id, news.state, news.state.name.lower(), reason=news.reason)
    if _is_known(ledger, news.provider_id):
        return apply_reports(ledger, [report])
    if news.phone is None or news.mms_id is None:
        return 0
    return int(settle_by_postback(ledger, news.phone, news.mms_id, news.provider_id, news.state))


def _is_known(ledger: Ledger, provider_id: str) -> bool:
    query = sa.select(tables.message.c.chunk_id).where(tables.message.c.provider_id == provider_id)
    with ledger.read() as connection:
        return connection.execute(query).first() is not None


def _park(ledger: Ledger, news: News) -> None:
    """Keep it once, however often it is pushed."""
    parked = tables.parked_report
    same = sa.and_(parked.c.provider_id == news.provider_id, parked.c.state == int(news.state))
    with ledger.write() as connection:
        if connection.execute(sa.select(parked.c.id).where(same)).first() is None:
            connection.execute(
                parked.insert().values(
                    received_at=time.time(),
                    provider_id=news.provider_id,
                    phone=news.phone,
                    mms_id=news.mms_id,
                    state=int(news.state),
                    reason=news.reason,
                )
            )
