"""Delivery reports meet the ledger here: which messages are open, and which moves news of them may make."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.ledger import merging, states
from posthorn.ledger.deliveries import Delivery, hold_chunks, recount
from posthorn.ledger.paging import BEHIND, IN_ORDER, pages
from posthorn.ledger.parked import park
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, change, pipelined, rows, sql
from posthorn.models import FINAL_STATES, ChunkState, MessageState, News, Report, may_be_same_number

_MAX_ERROR_LENGTH = 64
_CHUNKS_PER_QUERY = 100
_AMONG = {True: "IN (SELECT value FROM json_each(:{}))", False: "= ANY(:{})"}
"""By ``is_sqlite``, as those below; ``_listed`` gives the value that goes with it."""

_REPORTABLE = {
    is_sqlite: "SELECT chunk_id, position, provider_id, phone, state FROM message"
    f" WHERE provider_id {among.format('ids')} AND state IN ({states.REPORTABLE})"
    for is_sqlite, among in _AMONG.items()
}
_HOLD_REPORTABLE = f"id IN (SELECT chunk_id FROM message WHERE provider_id = ANY(:ids) AND state IN ({states.REPORTABLE}))"
_OPEN = {
    is_sqlite: f"SELECT chunk_id, provider_id FROM message WHERE chunk_id {among.format('chunks')}"
    f" AND chunk_id BETWEEN :first AND :last AND state IN ({states.UNREPORTED}) AND provider_id IS NOT NULL"
    " ORDER BY chunk_id, position"
    for is_sqlite, among in _AMONG.items()
}
"""The bounds say nothing new. Before its first ANALYZE, PostgreSQL would read every message for want of them."""
_MOVES_PER_STATEMENT = 500
_MOVE_MANY = (
    "UPDATE message SET state = new.column1, error = new.column2, delivered_at = new.column3"
    f" FROM (VALUES {', '.join(['(?, ?, ?, ?, ?)'] * _MOVES_PER_STATEMENT)}) AS new"
    " WHERE message.chunk_id = new.column4 AND message.position = new.column5"
)
_NO_MOVE = (None,) * 5
_MOVE_ALL = (
    "UPDATE message SET state = new.state, error = new.error, delivered_at = new.delivered"
    " FROM unnest(:states::smallint[], :errors::text[], :delivered::float8[], :chunks::bigint[], :positions::int[])"
    " AS new (state, error, delivered, chunk, position)"
    " WHERE message.chunk_id = new.chunk AND message.position = new.position"
)
"""By the driver alone: a pull moves a million messages, and SQLAlchemy takes longer for each than the database.

A statement for many of them, not one for each: after each, the ledger's thread waits for the one that reads the answers.
"""


@dataclass(frozen=True, slots=True)
class OpenChunk:
    """A chunk with messages that wait for their reports.

    ``sent_at`` is when its last request was over, ``asked_at`` when the provider was last asked about it, ``send_at`` the
    latest moment of dispatch that its requests named, 0 where they named none.
    """

    id: int
    campaign_id: int
    sent_at: float
    asked_at: float | None
    messages: int
    send_at: float = 0.0


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """One request's worth of open messages: their provider ids, their chunks, and the chunks that are asked about in full.

    A chunk may extend into the next question. It stands in ``completes`` of the question about its last message.
    """

    ids: list[str]
    chunks: frozenset[int]
    completes: frozenset[int]


def open_chunks(ledger: Ledger, delivery: Delivery | None = None) -> list[OpenChunk]:
    """Every chunk with messages that wait for their reports, of one campaign or of all (tests and events too), in order."""
    chunk = tables.chunk.c
    waiting = chunk.accepted + chunk.scheduled
    sent_at = sa.func.coalesce(chunk.finished_at, chunk.claimed_at, 0.0)
    attempt = tables.attempt.c
    dated = sa.select(sa.func.coalesce(sa.func.max(attempt.send_at), 0.0)).where(attempt.chunk_id == chunk.id)
    query = (
        sa.select(chunk.id, chunk.campaign_id, sent_at, chunk.reported_at, waiting, dated.scalar_subquery())
        .where(waiting > 0)
        .order_by(chunk.id)
    )
    if delivery is not None:
        query = query.where(chunk.campaign_id == delivery.id)
    with ledger.read() as connection:
        return [OpenChunk(*row) for row in connection.execute(query)]


def questions(ledger: Ledger, chunks: Sequence[int], size: int) -> Iterator[ReportQuery]:
    """The open messages of these chunks, ``size`` to a question, from any of the chunks, so that there are few requests.

    The messages are read as they are asked for, so moves made meanwhile shorten the list.
    """
    waiting: list[tuple[int, str]] = []
    for at in range(0, len(chunks), _CHUNKS_PER_QUERY):
        waiting += _open_messages(ledger, chunks[at : at + _CHUNKS_PER_QUERY])
        start = 0
        while len(waiting) - start > size:  # more than one question: what follows it says which chunks it completes
            yield _question(waiting[start : start + size], followed_by=waiting[start + size][0])
            start += size
        waiting = waiting[start:]
    if waiting:
        yield _question(waiting, followed_by=None)


def note_asked(ledger: Ledger, chunks: Iterable[int], at: float) -> None:
    """Note that the provider was asked at that time about every open message of these chunks."""
    _set_asked(ledger, sorted(chunks), at)


def ask_soon(ledger: Ledger, ids: Sequence[str]) -> None:
    """Have the next pull ask about the open messages among these, as if their chunks had not been asked about yet."""
    if not ids:
        return
    query = sql(
        f"SELECT DISTINCT chunk_id FROM message WHERE provider_id IN :ids AND state IN ({states.UNREPORTED})"
    ).bindparams(sa.bindparam("ids", expanding=True))
    with ledger.read() as connection:
        chunks = sorted(connection.execute(query, {"ids": list(ids)}).scalars())
    _set_asked(ledger, chunks, None)


def _open_messages(ledger: Ledger, chunks: Sequence[int]) -> list[tuple[int, str]]:
    with ledger.read() as connection:
        values = {"chunks": _listed(connection, chunks), "first": min(chunks), "last": max(chunks)}
        return rows(connection, _OPEN[ledger.is_sqlite], values)


def _question(rows: Sequence[tuple[int, str]], *, followed_by: int | None) -> ReportQuery:
    chunks = frozenset(chunk for chunk, _ in rows)
    return ReportQuery([provider_id for _, provider_id in rows], chunks, chunks - {followed_by})


def _set_asked(ledger: Ledger, chunks: Sequence[int], at: float | None) -> None:
    if chunks:
        with ledger.write() as connection:
            connection.execute(
                sql("UPDATE chunk SET reported_at = :at WHERE id = :id"), [{"at": at, "id": chunk} for chunk in chunks]
            )


def ids_in(ledger: Ledger, delivery: Delivery, states: Sequence[MessageState], size: int) -> Iterator[list[str]]:
    """The provider ids of every message in these states, in pages of ``size``, oldest first.

    Each page is read when it is asked for, so moves made meanwhile shorten the list.
    """
    query = sql(
        "SELECT m.chunk_id, m.position, m.provider_id FROM chunk k JOIN message m ON m.chunk_id = k.id"
        f" WHERE k.campaign_id = :campaign AND {BEHIND} AND m.state IN :states"
        f" AND m.provider_id IS NOT NULL {IN_ORDER}"
    ).bindparams(sa.bindparam("states", expanding=True))
    values = {"campaign": delivery.id, "states": [int(state) for state in states]}
    for page in pages(ledger, query, values, size):
        yield [row.provider_id for row in page]


def newest_ids_in(ledger: Ledger, delivery: Delivery, state: MessageState, count: int) -> list[str]:
    """The provider ids of the last ``count`` messages in that state."""
    message, chunk = tables.message.c, tables.chunk.c
    query = (
        sa.select(message.provider_id)
        .join(tables.chunk, chunk.id == message.chunk_id)
        .where(
            chunk.campaign_id == delivery.id,
            message.state == int(state),
            message.provider_id.is_not(None),
        )
        .order_by(message.chunk_id.desc(), message.position.desc())
        .limit(count)
    )
    with ledger.read() as connection:
        return [one for one in connection.execute(query).scalars() if one is not None]


def mark_cancelled(ledger: Ledger, ids: Sequence[str]) -> int:
    """Cancel what the provider held and has withdrawn; returns how many messages that were.

    If that was a second attempt, and the first had left, the message is what it was before.
    """
    if not ids:
        return 0
    named = "provider_id IN :ids AND state = :from"
    values = {"ids": list(ids), "from": MessageState.SCHEDULED}
    with ledger.write() as connection:
        chunks = _hold_chunks_of(connection, named, values)
        moved = connection.execute(
            sql(f"UPDATE message SET state = :to WHERE {named}").bindparams(sa.bindparam("ids", expanding=True)),
            {**values, "to": MessageState.CANCELLED},
        ).rowcount
        _recount(connection, chunks)
        _restore_left(connection, chunks)
    return moved


def _restore_left(connection: Connection, chunks: Sequence[int]) -> None:
    chunk = tables.chunk.c
    found: defaultdict[int, list[int]] = defaultdict(list)
    for row in connection.execute(sa.select(chunk.campaign_id, chunk.id).where(chunk.id.in_(chunks))):
        found[row.campaign_id].append(row.id)
    for campaign_id, its_chunks in found.items():
        merging.restore_left(connection, campaign_id, its_chunks)


def hold_messages(ledger: Ledger, ids: Sequence[str]) -> None:
    """Hold the chunks of all these messages first, if several verbs of one group will move them one after the other."""
    if ids:
        with ledger.write() as connection:
            _hold_chunks_of(connection, "provider_id IN :ids", {"ids": list(ids)})


def apply_reports(ledger: Ledger, reports: Sequence[Report]) -> int:
    """Move messages as their reports say; returns how many changed. Unknown ids and stale news change nothing.

    If a report has another number than the message with its id, it is about something else: it is parked, not applied.
    """
    if not reports:
        return 0
    ids = list(dict.fromkeys(report.provider_id for report in reports))
    with ledger.write() as connection:
        held = None if ledger.is_sqlite else {*hold_chunks(connection, _HOLD_REPORTABLE, ids=ids)}
        waiting = [row for row in _reportable(ledger, connection, ids) if held is None or row.chunk in held]
        news = _most_telling(_of_its_number(connection, reports, {row.provider_id: row.phone for row in waiting}))
        moves = [
            (row, news[row.provider_id])
            for row in waiting
            if row.provider_id in news and _is_news(row.state, news[row.provider_id].state)
        ]
        if moves:
            with pipelined(connection):
                _move(ledger, connection, moves)
                _recount(connection, sorted({row.chunk for row, _ in moves}))
    return len(moves)


def expire(
    ledger: Ledger,
    delivery: Delivery,
    *,
    sent_before: float,
    states: Sequence[MessageState] = (MessageState.ACCEPTED,),
) -> int:
    """Set what is in ``states`` and was sent before that time to ``no_report``; a later report still counts."""
    counted = " + ".join(state.name.lower() for state in states)
    where = f"campaign_id = :campaign AND state <> {ChunkState.SENDING} AND {counted} > 0 AND finished_at < :before"
    query = sql("UPDATE message SET state = :to WHERE chunk_id = :chunk AND state IN :states").bindparams(
        sa.bindparam("states", expanding=True)
    )
    with ledger.write() as connection:
        chunks = hold_chunks(connection, where, campaign=delivery.id, before=sent_before)
        expired = 0
        for chunk in chunks:
            values = {"to": int(MessageState.NO_REPORT), "chunk": chunk, "states": [int(state) for state in states]}
            expired += connection.execute(query, values).rowcount
        _recount(connection, chunks)
    return expired


class _Reportable(NamedTuple):
    """A message that a report may still move."""

    chunk: int
    position: int
    provider_id: str
    phone: int
    state: int


def _reportable(ledger: Ledger, connection: Connection, ids: Sequence[str]) -> list[_Reportable]:
    found = rows(connection, _REPORTABLE[ledger.is_sqlite], {"ids": _listed(connection, ids)})
    return [_Reportable._make(row) for row in found]


def _listed(connection: Connection, values: Sequence[object]) -> object:
    return orjson.dumps(values).decode() if connection.dialect.name == "sqlite" else list(values)


def _hold_chunks_of(connection: Connection, named: str, values: dict[str, object]) -> list[int]:
    """Hold the chunks of the messages that ``named`` picks, in order; the ids of those that are still there."""
    query = sql(f"SELECT DISTINCT chunk_id FROM message WHERE {named}").bindparams(sa.bindparam("ids", expanding=True))
    chunks = sorted(connection.execute(query, values).scalars())
    return [held for chunk in chunks for held in hold_chunks(connection, "id = :chunk", chunk=chunk)]


def _recount(connection: Connection, chunks: Sequence[int]) -> None:
    among = _AMONG[connection.dialect.name == "sqlite"].format("chunks")
    recount(connection, f"id {among}", chunks=_listed(connection, chunks))


def _of_its_number(connection: Connection, reports: Sequence[Report], phones: dict[str, int]) -> list[Report]:
    """The reports whose number is their message's; the others are parked."""
    fitting = []
    for report in reports:
        if report.phone is None or may_be_same_number(report.phone, phones.get(report.provider_id, report.phone)):
            fitting.append(report)
        else:
            told = News(report.provider_id, report.state, report.phone)
            park(connection, told, report.state, contradicts="another number")
    return fitting


def _most_telling(reports: Sequence[Report]) -> dict[str, Report]:
    """One report for each id. Of several, the first final one: nothing after it moves the message."""
    news = {report.provider_id: report for report in reports}
    if len(news) == len(reports):  # nearly always
        return news
    news = {}
    for report in sorted(reports, key=_rank):
        news.setdefault(report.provider_id, report)
    return news


def _rank(report: Report) -> int:
    return 0 if report.state in FINAL_STATES else 1 if report.state == MessageState.ACCEPTED else 2


def _move(ledger: Ledger, connection: Connection, moves: Sequence[tuple[_Reportable, Report]]) -> None:
    changed = [
        (int(report.state), report.reason and report.reason[:_MAX_ERROR_LENGTH], _seconds(report), row.chunk, row.position)
        for row, report in moves
    ]
    if ledger.is_sqlite:
        for at in range(0, len(changed), _MOVES_PER_STATEMENT):
            some = changed[at : at + _MOVES_PER_STATEMENT]
            filled = chain.from_iterable(chain(some, [_NO_MOVE] * (_MOVES_PER_STATEMENT - len(some))))
            connection.exec_driver_sql(_MOVE_MANY, tuple(filled))
    else:
        columns = zip(("states", "errors", "delivered", "chunks", "positions"), zip(*changed, strict=True), strict=True)
        change(connection, _MOVE_ALL, {name: list(column) for name, column in columns})


def _is_news(now: int, reported: MessageState) -> bool:
    """Whether a message in state ``now`` moves on by the report; "accepted" is news of a scheduled one only."""
    if reported == MessageState.ACCEPTED:
        return now == MessageState.SCHEDULED
    return reported in FINAL_STATES


def _seconds(report: Report) -> float | None:
    return report.delivered_at.timestamp() if report.delivered_at else None
