"""Delivery reports meet the ledger here: which messages are open, and the guarded moves that news of them may make."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from posthorn.ledger.campaigns import CampaignRecord, hold_chunks, recount
from posthorn.ledger.store import Ledger, sql
from posthorn.models import FINAL_STATES, MessageState, Report

OPEN_STATES = (MessageState.ACCEPTED, MessageState.SCHEDULED, MessageState.NO_REPORT)
"""States that a report may still change; a final state never goes back."""

_IN_OPEN = ", ".join(str(int(state)) for state in OPEN_STATES)
WAITING_STATES = (MessageState.ACCEPTED, MessageState.SCHEDULED)
"""States in which news is worth asking for."""


def open_ids(ledger: Ledger, campaign: CampaignRecord, size: int) -> Iterator[list[str]]:
    """The provider ids of every message that waits for its report, in pages of ``size``, oldest first."""
    return ids_in(ledger, campaign, WAITING_STATES, size)


def ids_in(ledger: Ledger, campaign: CampaignRecord, states: Sequence[MessageState], size: int) -> Iterator[list[str]]:
    """The provider ids of every message in these states, in pages of ``size``, oldest first.

    Each page is read when it is asked for, so moves made meanwhile shorten the list.
    """
    chunk, position = campaign.first_chunk, -1
    query = sql(
        "SELECT chunk_id, position, provider_id FROM message"
        " WHERE (chunk_id, position) > (:chunk, :position) AND chunk_id <= :last AND state IN :states"
        " AND provider_id IS NOT NULL ORDER BY chunk_id, position LIMIT :size"
    ).bindparams(sa.bindparam("states", expanding=True))
    while True:
        with ledger.read() as connection:
            values = {
                "chunk": chunk,
                "position": position,
                "last": campaign.last_chunk,
                "size": size,
                "states": [int(state) for state in states],
            }
            page = connection.execute(query, values).all()
        if page:
            yield [row.provider_id for row in page]
            chunk, position = page[-1].chunk_id, page[-1].position
        if len(page) < size:
            return


def mark_cancelled(ledger: Ledger, ids: Sequence[str]) -> int:
    """Call cancelled what the provider held and has withdrawn; returns how many messages that were."""
    if not ids:
        return 0
    named = "provider_id IN :ids AND state = :from"
    values = {"ids": list(ids), "from": MessageState.SCHEDULED}
    with ledger.write() as connection:
        chunks = _hold_chunks_of(connection, named, values)
        moved = connection.execute(
            sql(f"UPDATE message SET state = :to WHERE {named}").bindparams(sa.bindparam("ids", expanding=True)),  # noqa: S608
            {**values, "to": MessageState.CANCELLED},
        ).rowcount
        _recount(connection, chunks)
    return moved


def hold_messages(ledger: Ledger, ids: Sequence[str]) -> None:
    """Hold the chunks of all these messages first, where several verbs of one group will move them one after the other."""
    if ids:
        with ledger.write() as connection:
            _hold_chunks_of(connection, "provider_id IN :ids", {"ids": list(ids)})


def apply_reports(ledger: Ledger, reports: Sequence[Report]) -> int:
    """Move messages as their reports say; returns how many changed. Unknown ids and stale news change nothing."""
    if not reports:
        return 0
    news = {report.provider_id: report for report in reports}
    named = f"provider_id IN :ids AND state IN ({_IN_OPEN})"
    with ledger.write() as connection:
        chunks = _hold_chunks_of(connection, named, {"ids": list(news)})
        rows = connection.execute(
            sql(f"SELECT chunk_id, position, provider_id, state FROM message WHERE {named}").bindparams(  # noqa: S608
                sa.bindparam("ids", expanding=True)
            ),
            {"ids": list(news)},
        ).all()
        moves = [
            _move(row, news[row.provider_id])
            for row in rows
            if row.chunk_id in chunks and _is_news(row.state, news[row.provider_id].state)
        ]
        if moves:
            connection.execute(
                sql(
                    "UPDATE message SET state = :state, error = :error, delivered_at = :delivered"
                    " WHERE chunk_id = :chunk AND position = :position"
                ),
                moves,
            )
            moved_chunks = sorted({move["chunk"] for move in moves})
            _recount(connection, moved_chunks)
            _note_reported(connection, moved_chunks)
    return len(moves)


def expire(ledger: Ledger, campaign: CampaignRecord, *, sent_before: float) -> int:
    """Call ``no_report`` what was sent before that time and still waits; a later report is news all the same."""
    where = "campaign_id = :campaign AND state <> 1 AND accepted > 0 AND finished_at < :before"
    with ledger.write() as connection:
        chunks = hold_chunks(connection, where, campaign=campaign.id, before=sent_before)
        expired = 0
        for chunk in chunks:
            expired += connection.execute(
                sql("UPDATE message SET state = :to WHERE chunk_id = :chunk AND state = :from"),
                {"to": MessageState.NO_REPORT, "chunk": chunk, "from": MessageState.ACCEPTED},
            ).rowcount
        _recount(connection, chunks)
    return expired


def _hold_chunks_of(connection: Connection, named: str, values: dict[str, object]) -> list[int]:
    """Hold the chunks of the messages that ``named`` picks; their ids."""
    query = sql(f"SELECT DISTINCT chunk_id FROM message WHERE {named}").bindparams(sa.bindparam("ids", expanding=True))  # noqa: S608
    chunks = sorted(connection.execute(query, values).scalars())
    for chunk in chunks:
        hold_chunks(connection, "id = :chunk", chunk=chunk)
    return chunks


def _recount(connection: Connection, chunks: Sequence[int]) -> None:
    for chunk in chunks:
        recount(connection, "id = :chunk", chunk=chunk)


def _note_reported(connection: Connection, chunks: Sequence[int]) -> None:
    now = time.time()
    connection.execute(
        sql("UPDATE chunk SET reported_at = :now WHERE id = :id"), [{"now": now, "id": chunk} for chunk in chunks]
    )


def _move(row: Row[Any], report: Report) -> dict[str, Any]:
    return {
        "chunk": row.chunk_id,
        "position": row.position,
        "state": int(report.state),
        "error": report.reason,
        "delivered": _seconds(report),
    }


def _is_news(now: int, reported: MessageState) -> bool:
    """Whether a message in state ``now`` moves on by the report; "accepted" is news of a scheduled one only."""
    if reported == MessageState.ACCEPTED:
        return now == MessageState.SCHEDULED
    return reported in FINAL_STATES


def _seconds(report: Report) -> float | None:
    return report.delivered_at.timestamp() if report.delivered_at else None
