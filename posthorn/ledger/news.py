"""News that providers push: applied if it fits its message, parked if it does not (yet), harmless when repeated."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Row

from posthorn.ledger.parked import Subject, contradiction, park, subjects
from posthorn.ledger.reporting import apply_reports, ask_soon, hold_messages
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.ledger.tickets import settle_by_postback
from posthorn.models import MessageState, News, Report

_PARKED_AT_ONCE = 1_000


def take_news(ledger: Ledger, news: Sequence[News], *, now: float | None = None) -> int:
    """Apply or park news, durably; returns how many messages it moved.

    A final state never goes back. News of an unknown ticket settles it. News with an id of no message is parked: it may have
    come before the answer of the send was recorded. News that contradicts the message that has its id (another number,
    template or provider, a time before it was sent) is parked for good. ``now`` is when it came, as of the epoch.
    """
    now = time.time() if now is None else now
    ids = list(dict.fromkeys(one.provider_id for one in news))
    if not ids:
        return 0
    with ledger.group():
        hold_messages(ledger, ids)
        known = subjects(ledger, ids)
        told = [(one, one.state) for one in news if one.state is not None]
        moved = _apply(ledger, known, [(one, state) for one, state in told if one.provider_id in known], now)
        ask_soon(ledger, [one.provider_id for one in news if one.state is None])
        for one, state in told:
            if one.provider_id not in known:
                moved += _settle_or_park(ledger, one, state, now)
    return moved


def apply_parked(ledger: Ledger, ids: Sequence[str] | None = None) -> int:
    """Apply parked news (with these ids, or all) whose message is known by now; returns how many moves it made.

    Either the message's answer was recorded meanwhile, or it was lost and the news settles the unknown ticket. News that
    contradicts its message is marked and stays parked. Each settlement and each batch is a transaction of its own, and so
    holds its chunks in order.

    Raises:
        RuntimeError: it is called in a group.
    """
    ledger.refuse_group()
    moved = _settle_by_parked(ledger, ids)
    parked = tables.parked_report
    known = sa.select(parked).join(tables.message, tables.message.c.provider_id == parked.c.provider_id)
    known = _of(known.where(parked.c.contradicts.is_(None)), ids).limit(_PARKED_AT_ONCE)
    while rows := _rows(ledger, known):
        with ledger.group():
            hold_messages(ledger, [row.provider_id for row in rows])
            moved += _apply_rows(ledger, rows)
    return moved


def _apply_rows(ledger: Ledger, rows: Sequence[Row[Any]]) -> int:
    """Apply parked news that fits, and forget it; mark the rest with what it contradicts."""
    known = subjects(ledger, [row.provider_id for row in rows])
    why = {row.id: _why(known[row.provider_id], row, row.received_at) for row in rows if row.provider_id in known}
    fitting = [row for row in rows if row.id in why and why[row.id] is None]
    moved = apply_reports(ledger, [_report(row, MessageState(row.state)) for row in fitting])
    parked = tables.parked_report
    with ledger.write() as connection:
        connection.execute(parked.delete().where(parked.c.id.in_([row.id for row in fitting])))
        for row_id, said in why.items():
            if said is not None:
                connection.execute(parked.update().where(parked.c.id == row_id).values(contradicts=said))
    return moved


def _settle_by_parked(ledger: Ledger, ids: Sequence[str] | None) -> int:
    parked, message = tables.parked_report, tables.message
    may_be_about = sa.exists().where(
        message.c.phone == parked.c.phone,
        message.c.provider_id.is_(None),
        message.c.state.in_([MessageState.UNKNOWN, MessageState.ACCEPTED]),
    )
    query = sa.select(parked).where(
        parked.c.phone.is_not(None), parked.c.mms_id.is_not(None), parked.c.contradicts.is_(None), may_be_about
    )
    return sum(
        settle_by_postback(
            ledger, row.phone, row.mms_id, row.provider_id, received_at=row.received_at, happened_at=row.happened_at
        )
        for row in _rows(ledger, _of(query, ids))
    )


def _of(query: sa.Select[Any], ids: Sequence[str] | None) -> sa.Select[Any]:
    return query if ids is None else query.where(tables.parked_report.c.provider_id.in_(ids))


def _rows(ledger: Ledger, query: sa.Select[Any]) -> Sequence[Row[Any]]:
    with ledger.read() as connection:
        return connection.execute(query).all()


def _apply(ledger: Ledger, known: dict[str, Subject], told: Sequence[tuple[News, MessageState]], now: float) -> int:
    """Apply what fits its message, and park what contradicts it; returns how many messages moved."""
    reports = []
    for one, state in told:
        said = _why(known[one.provider_id], one, now)
        if said is None:
            reports.append(_report(one, state))
            continue
        with ledger.write() as connection:
            park(connection, one, state, contradicts=said, now=now)
    return apply_reports(ledger, reports)


def _why(subject: Subject, news: News | Row[Any], received_at: float) -> str | None:
    return contradiction(
        subject,
        gateway=news.gateway,
        phone=news.phone,
        mms_id=news.mms_id,
        happened_at=_seconds(news.happened_at),
        received_at=received_at,
    )


def _seconds(moment: datetime | float | None) -> float | None:
    return moment.timestamp() if isinstance(moment, datetime) else moment


def _report(news: News | Row[Any], state: MessageState) -> Report:
    delivered_at = news.delivered_at
    if isinstance(delivered_at, float):
        delivered_at = datetime.fromtimestamp(delivered_at, UTC)
    return Report(news.provider_id, state, state.name.lower(), reason=news.reason, delivered_at=delivered_at)


def _settle_or_park(ledger: Ledger, news: News, state: MessageState, now: float) -> int:
    """What to do with an id of no message, unless an earlier piece of the same news has just given it to one."""
    if known := subjects(ledger, [news.provider_id]):
        return _apply(ledger, known, [(news, state)], now)
    if (
        news.phone is not None
        and news.mms_id is not None
        and settle_by_postback(
            ledger,
            news.phone,
            news.mms_id,
            news.provider_id,
            received_at=now,
            happened_at=_seconds(news.happened_at),
        )
    ):
        apply_reports(ledger, [_report(news, state)])
        return 1
    with ledger.write() as connection:
        park(connection, news, state, now=now)
    return 0
