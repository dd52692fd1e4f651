"""What the metrics measure: read from the counters of chunks and from attempts, never from a message's row."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from posthorn.ledger.deliveries import is_run, lock_key
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.ledger.store.tables import COUNTERS
from posthorn.ledger.totals import is_missed, somebody_sends
from posthorn.models import ChunkState, Kind

SHOWN_DAYS = 30
"""For how long a campaign is measured after its last run. One with something pending or unknown is always measured."""
MAX_SHOWN = 100
"""At most this many campaigns with nothing pending or unknown are measured, the newest first."""

BUCKETS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The upper bounds of the histogram of requests; one more has none."""

_SETTLED_SECONDS = 3600
"""This long after a run's end nothing of it sends any more, so its attempts need not be counted again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one campaign or event stands.

    ``asks_since``: since when it waits for a person's approval. ``oldest_unknown_at``: when the oldest request
    of unknown outcome left. ``goes_on_at``: when its rest is sent by itself, if it waits for that; then it is not stopped.
    """

    name: str
    kind: str
    gateway: str
    states: dict[str, int]
    is_balanced: bool
    is_running: bool
    is_stopped: bool
    stopped_because: str | None
    asks_since: float | None
    oldest_unknown_at: float | None
    goes_on_at: float | None


@dataclass(frozen=True, slots=True)
class Requests:
    """The ended requests of one gateway with one outcome.

    ``timed`` counts those whose duration is known (not the ones of a process that died) up to each bound of
    ``BUCKETS_SECONDS`` and in all; ``seconds`` is their sum.
    """

    gateway: str
    outcome: str
    count: int
    seconds: float
    timed: tuple[int, ...]
    last_ended_at: float


_SUMS = ", ".join(f"sum(k.{name}) AS {name}" for name in COUNTERS if name != "pending")
_STANDINGS = sql(
    "SELECT c.id, c.name, c.kind, c.gateway, c.input, c.invalid, c.duplicate, c.run_started_at, c.run_ended_at,"
    " c.cancelled_at, c.stopped_because, c.goes_on_at, (SELECT max(p.asked_at) FROM approval p WHERE p.campaign_id = c.id"
    " AND p.decided_at IS NULL AND p.asked_at >= coalesce(c.run_started_at, 0)) AS asks_since,"
    f" coalesce(sum(k.pending) FILTER (WHERE k.state <> {ChunkState.SENDING}), 0) AS pending,"
    f" coalesce(sum(k.pending) FILTER (WHERE k.state = {ChunkState.SENDING}), 0) AS sending, {_SUMS},"
    " min(coalesce(k.claimed_at, k.finished_at)) FILTER (WHERE k.unknown > 0) AS oldest_unknown_at"
    " FROM campaign c JOIN chunk k ON k.campaign_id = c.id"
    " WHERE c.id IN :ids GROUP BY c.id ORDER BY c.id"
).bindparams(sa.bindparam("ids", expanding=True))
_OPEN = sql(
    "SELECT id FROM campaign c WHERE planned_at IS NOT NULL AND NOT test"
    f" AND EXISTS (SELECT 1 FROM chunk WHERE campaign_id = c.id AND state <> {ChunkState.DONE})"
)
_RECENT = sql(
    "SELECT id FROM campaign WHERE planned_at IS NOT NULL AND NOT test AND coalesce(run_started_at, planned_at) > :since"
    " ORDER BY id DESC LIMIT :most"
)
_PLANNED = sql(
    "SELECT id, gateway, run_started_at, run_ended_at FROM campaign WHERE planned_at IS NOT NULL AND NOT test ORDER BY id"
)
_TOOK = "a.ended_at - a.started_at"
_TIMED = "a.outcome IN ('answered', 'not_taken', 'unknown')"
_BUCKETS = ", ".join(
    f"count(*) FILTER (WHERE {_TIMED} AND {_TOOK} <= {bound}) AS b{at}" for at, bound in enumerate(BUCKETS_SECONDS)
)
_REQUESTS = sql(
    "SELECT a.outcome, count(*) AS requests, max(a.ended_at) AS last_ended_at,"
    f" coalesce(sum({_TOOK}) FILTER (WHERE {_TIMED}), 0) AS seconds, {_BUCKETS}, count(*) FILTER (WHERE {_TIMED}) AS timed"
    " FROM chunk k JOIN attempt a ON a.chunk_id = k.id"
    " WHERE k.campaign_id = :id AND a.ended_at IS NOT NULL GROUP BY a.outcome"
)


def standings(ledger: Ledger) -> list[Standing]:
    """How every campaign and event stands that is open or recent, tests aside, oldest first."""
    since = time.time() - SHOWN_DAYS * 86_400
    with ledger.read() as connection:
        ids = set(connection.execute(_OPEN).scalars())
        ids.update(connection.execute(_RECENT, {"since": since, "most": MAX_SHOWN}).scalars())
        rows = connection.execute(_STANDINGS, {"ids": sorted(ids)}).mappings().all() if ids else []
    return [_standing(ledger, row) for row in rows]


class RequestCount:
    """Counts the requests of all campaigns and events except tests; what can no longer change is counted once."""

    def __init__(self) -> None:
        self._settled: dict[tuple[int, float, float], Sequence[Requests]] = {}

    def count(self, ledger: Ledger) -> list[Requests]:
        """The requests by gateway and outcome, of all time."""
        found: list[Requests] = []
        with ledger.read() as connection:
            for row in connection.execute(_PLANNED).all():
                key = (row.id, row.run_started_at or 0.0, row.run_ended_at or 0.0)
                counted = self._settled.get(key)
                if counted is None:
                    counted = [_requests(row.gateway, one) for one in connection.execute(_REQUESTS, {"id": row.id})]
                    if row.run_ended_at and row.run_ended_at < time.time() - _SETTLED_SECONDS:
                        self._settled[key] = counted
                found += counted
        return _summed(found)


def _standing(ledger: Ledger, row: sa.RowMapping) -> Standing:
    states = {"invalid": row["invalid"], "duplicate": row["duplicate"], "pending": int(row["pending"])}
    states |= {"sending": int(row["sending"])} | {name: int(row[name]) for name in COUNTERS if name != "pending"}
    is_open = bool(states["pending"] or states["sending"])
    may_run = is_open or (row["run_started_at"] is not None and row["run_ended_at"] is None)
    is_running = (may_run and is_run(ledger, lock_key(row["name"]))) or (
        states["sending"] > 0 and somebody_sends(ledger, row["id"])
    )
    goes_on_at = row["goes_on_at"] if is_open and row["stopped_because"] is None and not is_running else None
    waits = goes_on_at is not None and not is_missed(goes_on_at)
    has_begun = row["run_started_at"] is not None and row["cancelled_at"] is None
    return Standing(
        row["name"],
        Kind(row["kind"]).name.lower(),
        row["gateway"],
        states,
        sum(states.values()) == row["input"],
        is_running,
        is_open and has_begun and not is_running and not waits,
        row["stopped_because"],
        row["asks_since"] if is_open and row["cancelled_at"] is None and not is_running else None,
        row["oldest_unknown_at"],
        goes_on_at,
    )


def _requests(gateway: str, row: Any) -> Requests:
    timed = (*(getattr(row, f"b{at}") for at in range(len(BUCKETS_SECONDS))), row.timed)
    return Requests(gateway, row.outcome, row.requests, row.seconds, timed, row.last_ended_at)


def _summed(found: Sequence[Requests]) -> list[Requests]:
    """One line per gateway and outcome."""
    by_key: dict[tuple[str, str], list[Requests]] = {}
    for one in found:
        by_key.setdefault((one.gateway, one.outcome), []).append(one)
    return [
        Requests(
            *key,
            sum(one.count for one in ones),
            sum(one.seconds for one in ones),
            tuple(sum(column) for column in zip(*(one.timed for one in ones), strict=True)),
            max(one.last_ended_at for one in ones),
        )
        for key, ones in sorted(by_key.items())
    ]
