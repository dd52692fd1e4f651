"""Who approved what: each question, what it was about, and a person's answer.

An approval names a hash of all that was shown. Once the content changes, no approval covers it any more.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger

_approval = tables.approval.c


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided, and when (seconds since 1970)."""

    approved: bool
    by: str
    note: str
    decided_at: float
    content: str = ""


def ask(ledger: Ledger, delivery: Delivery, content: str, *, flow_run_id: str | None = None) -> None:
    """Note that somebody (or this flow run, which is paused) waits for a decision on this content.

    Questions about other content of the campaign are void from now on, and so is a refusal: a new question starts anew.
    """
    with ledger.write() as connection:
        connection.execute(
            tables.approval.delete().where(
                _approval.campaign_id == delivery.id,
                sa.or_(
                    sa.and_(_approval.decided_at.is_(None), _approval.content != content),
                    sa.and_(_approval.decided_at.is_(None), _approval.flow_run_id.is_not_distinct_from(flow_run_id)),
                ),
            )
        )
        connection.execute(
            tables.approval.insert().values(
                campaign_id=delivery.id, content=content, asked_at=time.time(), flow_run_id=flow_run_id
            )
        )


def decide(ledger: Ledger, delivery: Delivery, content: str, *, approved: bool, by: str, note: str = "") -> list[str]:
    """Record what a person decided about this content; returns the flow runs that wait for it."""
    decision = {"decided_at": time.time(), "approved": approved, "by": by, "note": note}
    is_open = sa.and_(_approval.campaign_id == delivery.id, _approval.content == content, _approval.decided_at.is_(None))
    with ledger.write() as connection:
        waiting = connection.execute(sa.select(_approval.flow_run_id).where(is_open)).scalars().all()
        if waiting:
            connection.execute(tables.approval.update().where(is_open).values(decision))
        else:
            connection.execute(
                tables.approval.insert().values(
                    campaign_id=delivery.id, content=content, asked_at=decision["decided_at"], **decision
                )
            )
    return [flow_run_id for flow_run_id in waiting if flow_run_id is not None]


def is_asked(ledger: Ledger, delivery: Delivery, content: str, *, flow_run_id: str | None) -> bool:
    """Whether that flow run's question about this content is still open."""
    query = sa.select(_approval.id).where(
        _approval.campaign_id == delivery.id,
        _approval.content == content,
        _approval.decided_at.is_(None),
        _approval.flow_run_id.is_not_distinct_from(flow_run_id),
    )
    with ledger.read() as connection:
        return connection.execute(query).first() is not None


def decision_on(ledger: Ledger, delivery: Delivery, *contents: str) -> Decision | None:
    """The newest decision on one of these contents, or None."""
    query = (
        sa.select(_approval.approved, _approval.by, _approval.note, _approval.decided_at, _approval.content)
        .where(_approval.campaign_id == delivery.id, _approval.content.in_(contents), _approval.decided_at.is_not(None))
        .order_by(_approval.id.desc())
        .limit(1)
    )
    with ledger.read() as connection:
        row = connection.execute(query).first()
    return None if row is None else Decision(row.approved, row.by, row.note, row.decided_at, row.content)


def newest(ledger: Ledger, delivery: Delivery) -> Decision | float | None:
    """What was decided last on this campaign, or since when a decision is awaited.

    None if nobody was asked since it last ran: then the run itself says what became of it.
    """
    query = (
        sa.select(_approval.asked_at, _approval.decided_at, _approval.approved, _approval.by, _approval.note)
        .where(
            _approval.campaign_id == delivery.id,
            sa.func.coalesce(_approval.decided_at, _approval.asked_at) >= (delivery.run_started_at or 0.0),
        )
        .order_by(_approval.id.desc())
        .limit(1)
    )
    with ledger.read() as connection:
        row = connection.execute(query).first()
    if row is None or row.decided_at is None:
        return None if row is None else float(row.asked_at)
    return Decision(row.approved, row.by, row.note, row.decided_at)


def awaited(ledger: Ledger) -> dict[int, float]:
    """Since when a decision is awaited (seconds), by the id of each delivery whose newest question is unanswered."""
    newest = sa.select(sa.func.max(_approval.id)).group_by(_approval.campaign_id)
    query = sa.select(_approval.campaign_id, _approval.asked_at).where(
        _approval.id.in_(newest), _approval.decided_at.is_(None)
    )
    with ledger.read() as connection:
        return {row.campaign_id: float(row.asked_at) for row in connection.execute(query)}
