"""News that providers push: applied where its message is known, parked where it is not (yet), harmless when repeated."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Row

from posthorn.ledger.reporting import apply_reports, ask_soon, hold_messages
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.ledger.tickets import settle_by_postback
from posthorn.models import MessageState, Phone, Report

_PARKED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class News:
    """One piece of pushed news about the message that the provider calls ``provider_id``.

    ``state`` is None where it only says that there is news: the provider is asked about the message soon.
    """

    provider_id: str
    state: MessageState | None
    phone: Phone | None = None
    mms_id: str | None = None
    reason: str | None = None
    delivered_at: datetime | None = None


def take_news(ledger: Ledger, news: Sequence[News]) -> int:
    """Apply or park news, durably; returns how many messages it moved.

    A final state never goes back. News of an unknown ticket settles it; news with an id of no message is parked, for it may
    have come before the answer of the send was recorded.
    """
    ids = list(dict.fromkeys(one.provider_id for one in news))
    if not ids:
        return 0
    with ledger.group():
        hold_messages(ledger, ids)
        known = _known(ledger, ids)
        told = [(one, one.state) for one in news if one.state is not None]
        moved = apply_reports(ledger, [_report(one, state) for one, state in told if one.provider_id in known])
        ask_soon(ledger, [one.provider_id for one in news if one.state is None])
        for one, state in told:
            if one.provider_id not in known:
                moved += _settle_or_park(ledger, one, state)
    return moved


def apply_parked(ledger: Ledger, ids: Sequence[str] | None = None) -> int:
    """Apply parked news (with these ids, or all) whose message can be told by now; returns how many moves it made.

    Its answer was recorded meanwhile; or it was lost, and the news settles the ticket that is unknown since then.
    Each settlement and each batch is a transaction of its own, and so holds its chunks in order.

    Raises:
        RuntimeError: it is called in a group.
    """
    ledger.refuse_group()
    moved = _settle_by_parked(ledger, ids)
    parked = tables.parked_report
    known = sa.select(parked).join(tables.message, tables.message.c.provider_id == parked.c.provider_id)
    with ledger.read() as connection:
        rows = connection.execute(_of(known, ids).limit(_PARKED_AT_ONCE)).all()
    while rows:
        with ledger.group():
            hold_messages(ledger, [row.provider_id for row in rows])
            moved += apply_reports(ledger, [_report(row, MessageState(row.state)) for row in rows])
            with ledger.write() as connection:
                connection.execute(parked.delete().where(parked.c.id.in_([row.id for row in rows])))
        with ledger.read() as connection:
            rows = connection.execute(_of(known, ids).limit(_PARKED_AT_ONCE)).all()
    return moved


def _settle_by_parked(ledger: Ledger, ids: Sequence[str] | None) -> int:
    parked, message = tables.parked_report, tables.message
    may_be_about = sa.exists().where(
        message.c.phone == parked.c.phone,
        message.c.provider_id.is_(None),
        message.c.state.in_([MessageState.UNKNOWN, MessageState.ACCEPTED]),
    )
    query = sa.select(parked).where(parked.c.phone.is_not(None), parked.c.mms_id.is_not(None), may_be_about)
    with ledger.read() as connection:
        rows = connection.execute(_of(query, ids)).all()
    return sum(
        settle_by_postback(ledger, row.phone, row.mms_id, row.provider_id, received_at=row.received_at) for row in rows
    )


def _of(query: sa.Select[Any], ids: Sequence[str] | None) -> sa.Select[Any]:
    return query if ids is None else query.where(tables.parked_report.c.provider_id.in_(ids))


def _report(news: News | Row[Any], state: MessageState) -> Report:
    delivered_at = news.delivered_at
    if isinstance(delivered_at, float):
        delivered_at = datetime.fromtimestamp(delivered_at, UTC)
    return Report(news.provider_id, state, state.name.lower(), reason=news.reason, delivered_at=delivered_at)


def _settle_or_park(ledger: Ledger, news: News, state: MessageState) -> int:
    """What to do with an id of no message, unless an earlier piece of the same news has just made it one."""
    if _known(ledger, [news.provider_id]):
        return apply_reports(ledger, [_report(news, state)])
    if (
        news.phone is not None
        and news.mms_id is not None
        and settle_by_postback(ledger, news.phone, news.mms_id, news.provider_id, received_at=time.time())
    ):
        apply_reports(ledger, [_report(news, state)])
        return 1
    _park(ledger, news, state)
    return 0


def _known(ledger: Ledger, ids: Sequence[str]) -> set[str]:
    """Those of the ids that are messages'."""
    message = tables.message.c
    query = sa.select(message.provider_id).where(message.provider_id.in_(ids))
    with ledger.read() as connection:
        return {one for one in connection.execute(query).scalars() if one is not None}


def _park(ledger: Ledger, news: News, state: MessageState) -> None:
    """Keep it once, however often it is pushed."""
    parked = tables.parked_report
    same = sa.and_(parked.c.provider_id == news.provider_id, parked.c.state == int(state))
    with ledger.write() as connection:
        if connection.execute(sa.select(parked.c.id).where(same)).first() is None:
            connection.execute(
                parked.insert().values(
                    received_at=time.time(),
                    provider_id=news.provider_id,
                    phone=news.phone,
                    mms_id=news.mms_id,
                    state=int(state),
                    reason=news.reason,
                    delivered_at=news.delivered_at and news.delivered_at.timestamp(),
                )
            )
