"""Delivery reports meet the ledger here: which messages are open, and the guarded moves that news of them may make."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from posthorn.ledger.campaigns import CampaignRecord, recount
from posthorn.ledger.store import Ledger
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
    query = sa.text(
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
    with ledger.write() as connection:
        chunks = list(
            connection.execute(
                sa.text(
                    "UPDATE message SET state = :to WHERE provider_id IN :ids AND state = :from RETURNING chunk_id"
                ).bindparams(sa.bindparam("ids", expanding=True)),
                {"to": MessageState.CANCELLED, "from": MessageState.SCHEDULED, "ids": list(ids)},
            ).scalars()
        )
        for chunk in sorted(set(chunks)):
            recount(connection, "id = :chunk AND state <> 1", chunk=chunk)
    return len(chunks)


def apply_reports(ledger: Ledger, reports: Sequence[Report]) -> int:
    """Move messages as their reports say; returns how many changed. Unknown ids and stale news change nothing."""
    now = time.time()
    news = {report.provider_id: report for report in reports}
    with ledger.write() as connection:
        rows = connection.execute(
            sa.text(
                "SELECT chunk_id, position, provider_id, state FROM message"  # noqa: S608
                f" WHERE provider_id IN :ids AND state IN ({_IN_OPEN})"
            ).bindparams(sa.bindparam("ids", expanding=True)),
            {"ids": list(news)},
        ).all()
        moves = [
            {
                "chunk": row.chunk_id,
                "position": row.position,
                "state": int(news[row.provider_id].state),
                "error": news[row.provider_id].reason,
                "delivered": _seconds(news[row.provider_id]),
            }
            for row in rows
            if _is_news(row.state, news[row.provider_id].state)
        ]
        if moves:
            connection.execute(
                sa.text(
                    "UPDATE message SET state = :state, error = :error, delivered_at = :delivered"  # noqa: S608
                    f" WHERE chunk_id = :chunk AND position = :position AND state IN ({_IN_OPEN})"
                ),
                moves,
            )
            for chunk in sorted({move["chunk"] for move in moves}):
                recount(connection, "id = :chunk AND state <> 1", chunk=chunk)
                connection.execute(sa.text("UPDATE chunk SET reported_at = :now WHERE id = :id"), {"now": now, "id": chunk})
    return len(moves)


def expire(ledger: Ledger, campaign: CampaignRecord, *, sent_before: float) -> int:
    """Call ``no_report`` what was sent before that time and still waits; a later report is news all the same."""
    where = "campaign_id = :campaign AND state <> 1 AND accepted > 0 AND finished_at < :before"
    values = {"campaign": campaign.id, "before": sent_before}
    with ledger.write() as connection:
        chunks = list(connection.execute(sa.text(f"SELECT id FROM chunk WHERE {where}"), values).scalars())  # noqa: S608
        expired = 0
        for chunk in chunks:
            expired += connection.execute(
                sa.text("UPDATE message SET state = :to WHERE chunk_id = :chunk AND state = :from"),
                {"to": MessageState.NO_REPORT, "chunk": chunk, "from": MessageState.ACCEPTED},
            ).rowcount
            recount(connection, "id = :chunk AND state <> 1", chunk=chunk)
    return expired


def _is_news(now: int, reported: MessageState) -> bool:
    """Whether a message in state ``now`` moves on by the report; "accepted" is news of a scheduled one only."""
    if reported == MessageState.ACCEPTED:
        return now == MessageState.SCHEDULED
    return reported in FINAL_STATES


def _seconds(report: Report) -> float | None:
    return report.delivered_at.timestamp() if report.delivered_at else None
