"""What may be spent: reserved in the transaction of a claim, against caps that are kept by every process together.

The sum kept for a cap is never below the truth: each claim adds to it, and nothing is taken off. When it seems to reach the
cap, it is counted anew from the messages: those that were surely not taken, or were withdrawn, no longer count. What is
unknown or under way counts as spent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from posthorn.errors import LedgerError
from posthorn.ledger import states
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, rows, sql
from posthorn.models import MAY_BE_TAKEN_STATES, ChunkState, Kind, MessageState
from posthorn.prices import Rate, Tariff

TOLD_AT = 0.8
"""The part of a cap at which somebody is told."""

_RESERVE = "UPDATE spending SET spent = spent + :cost WHERE scope = :scope AND spent + :cost <= :cap RETURNING spent"
_HOLD = sql(
    "INSERT INTO spending (scope, spent) VALUES (:scope, 0) ON CONFLICT (scope) DO UPDATE SET spent = spending.spent"
)
_IS_SPENT = f"(m.state IN ({states.MAY_BE_TAKEN}) OR (m.state = {MessageState.PENDING} AND k.state = {ChunkState.SENDING}))"
_COUNTED = " + ".join(f"k.{state.name.lower()}" for state in MAY_BE_TAKEN_STATES)
_BY_CHUNK = (
    f"SELECT c.gateway, '' AS digits, sum({_COUNTED}"
    f" + CASE WHEN k.state = {ChunkState.SENDING} THEN k.pending ELSE 0 END) AS messages"
    " FROM chunk k JOIN campaign c ON c.id = k.campaign_id WHERE NOT c.test AND {which} GROUP BY c.gateway"
)
_BY_PREFIX = (
    "SELECT c.gateway, substr(CAST(m.phone AS TEXT), 1, :longest) AS digits, count(*) AS messages"
    " FROM chunk k JOIN campaign c ON c.id = k.campaign_id JOIN message m ON m.chunk_id = k.id"
    f" WHERE NOT c.test AND {_IS_SPENT} AND {{which}} GROUP BY c.gateway, 2"
)
_REPLACED = (
    "SELECT c.gateway, substr(CAST(m.phone AS TEXT), 1, :longest) AS digits, count(*) AS messages"
    " FROM settlement s JOIN campaign c ON c.id = s.campaign_id"
    " JOIN message m ON m.chunk_id = s.chunk_id AND m.position = s.position"
    " WHERE s.decision IN ('resend', 'replaced') AND s.replaced_id IS NOT NULL"
    " AND s.evidence NOT LIKE '%; was rejected as ' || s.replaced_id AND NOT c.test AND {which} GROUP BY c.gateway, 2"
)
"""A message that a person had sent again was also paid before; its row tells only of the last attempt."""
_PROOFS = (
    "SELECT p.gateway, substr(CAST(p.phone AS TEXT), 1, :longest) AS digits, count(*) AS messages FROM proof p"
    " WHERE p.outcome IN ('sending', 'taken', 'unknown') AND {which} GROUP BY p.gateway, 2"
)
_ATTEMPTED = (
    "EXISTS (SELECT 1 FROM attempt a WHERE a.chunk_id = s.chunk_id AND a.outcome <> 'not_taken'"
    " AND a.started_at >= :since AND a.started_at < :until AND a.started_at <= s.settled_at)"
)
_PENDING_BY_PREFIX = (
    "SELECT substr(CAST(phone AS TEXT), 1, :longest) AS digits, count(*) AS messages FROM message"
    f" WHERE state = {MessageState.PENDING} AND chunk_id IN (SELECT id FROM chunk WHERE campaign_id = :campaign) GROUP BY 1"
)
_OFTEN_LOCK = "SELECT pg_advisory_xact_lock(1886352500, 2)"
"""Two claims of two campaigns would not see each other's numbers. The other lock of this family is of the opt-outs."""
_DISPATCHED = "coalesce(a.send_at, a.started_at + 60.0 * coalesce(a.hold_minutes, 0))"
_LATELY = (
    f"SELECT DISTINCT mine.phone, m.campaign_id, {_DISPATCHED} FROM message mine"
    " JOIN message m ON m.phone = mine.phone AND m.campaign_id <> mine.campaign_id"
    " JOIN chunk k ON k.id = m.chunk_id JOIN campaign c ON c.id = m.campaign_id JOIN attempt a ON a.chunk_id = m.chunk_id"
    f" WHERE mine.chunk_id = :chunk AND mine.state = {MessageState.PENDING} AND c.kind = {Kind.CAMPAIGN} AND NOT c.test"
    f" AND {_IS_SPENT} AND a.outcome <> 'not_taken' AND {_DISPATCHED} > :after AND {_DISPATCHED} < :before"
)
"""When messages of other campaigns reach a chunk's numbers. Both moments, if part of their chunk was sent again."""


@dataclass(frozen=True, slots=True)
class Cap:
    """Money that may be spent in a scope, in millionths: of one delivery, or of what is claimed from one moment to another.

    ``name`` says what it is to people; moments are in seconds since 1970.
    """

    scope: str
    most: int
    name: str
    campaign_id: int | None = None
    since: float = 0.0
    until: float = 0.0


class CapReached(LedgerError):
    """The claim would go beyond a cap; nothing was claimed. ``spent`` is in millionths, None if nothing was kept yet."""

    def __init__(self, cap: Cap, spent: int | None, cost: int) -> None:
        super().__init__(f"{cap.name} would be exceeded")
        self.cap = cap
        self.spent = spent
        self.cost = cost


@dataclass(frozen=True, slots=True)
class Nearing:
    """A cap that a claim has just brought to the level at which somebody is told."""

    cap: Cap
    spent: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a claim respects besides the suppression list; caps come with a tariff. ``tell`` is called once it is durable."""

    rate: Rate | None = None
    caps: tuple[Cap, ...] = ()
    tariff: Tariff | None = None
    tell: Callable[[Nearing], None] = lambda _: None


FREE = Limits()
"""Nothing to respect."""


def reserve(connection: Connection, caps: Sequence[Cap], cost: int) -> list[Nearing]:
    """Reserve what a claim costs, in its transaction; returns the caps that are nearly used up now.

    Raises:
        CapReached: it would go beyond one of them, as far as the kept sums tell.
    """
    nearing = []
    for cap in caps:
        reserved = rows(connection, _RESERVE, {"cost": cost, "scope": cap.scope, "cap": cap.most})
        if not reserved:
            kept = rows(connection, "SELECT spent FROM spending WHERE scope = :scope", {"scope": cap.scope})
            raise CapReached(cap, kept[0][0] if kept else None, cost)
        ((spent,),) = reserved
        if spent - cost < TOLD_AT * cap.most <= spent:
            nearing.append(Nearing(cap, spent))
    return nearing


def count_anew(ledger: Ledger, cap: Cap, tariffs: Mapping[str, Tariff]) -> int:
    """Count what is spent of a cap from the messages, and keep that; millionths. A gateway without a tariff costs nothing.

    What was sent again on purpose counts once for each time, and so does each proof.

    Claims of the same cap wait meanwhile: what they commit before is counted, what they add after is added to this.
    """
    longest = max((tariff.longest for tariff in tariffs.values()), default=0)
    if cap.campaign_id is not None:
        which = before = "c.id = :campaign"
        shown = "EXISTS (SELECT 1 FROM campaign c WHERE c.id = :campaign AND c.name = p.name AND c.kind = p.kind)"
        values: dict[str, float] = {"campaign": cap.campaign_id}
    else:
        which, before = "k.claimed_at >= :since AND k.claimed_at < :until", _ATTEMPTED
        shown = "p.claimed_at >= :since AND p.claimed_at < :until"
        values = {"since": cap.since, "until": cap.until}
    query = sql((_BY_PREFIX if longest else _BY_CHUNK).format(which=which))
    with ledger.write() as connection:
        connection.execute(_HOLD, {"scope": cap.scope})
        counted = list(connection.execute(query, {**values, **({"longest": longest} if longest else {})}))
        counted += connection.execute(sql(_REPLACED.format(which=before)), {**values, "longest": longest})
        counted += connection.execute(sql(_PROOFS.format(which=shown)), {**values, "longest": longest})
        spent = sum(tariffs[row.gateway].price(row.digits) * int(row.messages) for row in counted if row.gateway in tariffs)
        kept = tables.spending
        connection.execute(kept.update().where(kept.c.scope == cap.scope).values(spent=spent))
    return spent


def pending_cost(ledger: Ledger, delivery: Delivery, tariff: Tariff) -> int:
    """What everything that is still to be sent of a delivery costs, in millionths."""
    query = sql(_PENDING_BY_PREFIX)
    with ledger.read() as connection:
        counted = connection.execute(query, {"campaign": delivery.id, "longest": tariff.longest}).all()
    return sum(tariff.price(row.digits) * int(row.messages) for row in counted)


def too_often(connection: Connection, chunk: int, rate: Rate, dispatch: float) -> list[int]:
    """Those numbers of a chunk's pending messages that other campaigns already write to as often as allowed at that time.

    ``dispatch`` is when the provider sends them on (seconds since 1970). Later messages count like earlier ones: no span of
    the rate's length that contains the moment holds more than the rate allows.
    """
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql(_OFTEN_LOCK)
    values = {"chunk": chunk, "after": dispatch - rate.seconds, "before": dispatch + rate.seconds}
    lately: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    for phone, campaign, moment in rows(connection, _LATELY, values):
        lately[phone].append((campaign, moment))
    return [phone for phone, others in lately.items() if _is_full(others, rate, dispatch)]


def _is_full(others: Sequence[tuple[int, float]], rate: Rate, dispatch: float) -> bool:
    """Whether a span of the rate's length that contains ``dispatch`` is full already."""
    begins = [dispatch, *(moment for _, moment in others if moment <= dispatch)]
    spans = ({campaign for campaign, moment in others if begin <= moment < begin + rate.seconds} for begin in begins)
    return any(len(span) >= rate.most for span in spans)
