"""Which waves of a delivery may be claimed, what became of each, what halted it. Without a canary all waves are open."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from posthorn.ledger.deliveries import Delivery, PlannedCampaign
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import WaitsFor

_COUNTED = (
    "SELECT coalesce(sum(pending), 0) AS pending, coalesce(sum(delivered), 0) AS delivered,"
    " coalesce(sum(rejected), 0) AS rejected, coalesce(sum(undelivered), 0) AS undelivered,"
    " coalesce(sum(unknown), 0) AS unknown, coalesce(sum(accepted + scheduled + no_report), 0) AS silent,"
    " max(finished_at) AS ended_at FROM chunk WHERE campaign_id = :campaign"
)
_OF_WAVE = sql(f"{_COUNTED} AND wave = :wave")
_SINCE = sql(f"{_COUNTED} AND claimed_at >= :since")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of one wave: counts of messages, and when its last request ended (seconds since 1970), if one did.

    ``silent`` messages were taken, and no report tells about them.
    """

    pending: int
    delivered: int
    rejected: int
    undelivered: int
    unknown: int
    silent: int
    ended_at: float | None

    def as_rows(self, what: str) -> list[tuple[str, str]]:
        """The rows of a table for the person who decides."""
        counts = {
            "delivered": self.delivered,
            "undelivered": self.undelivered,
            "rejected": self.rejected,
            "unknown": self.unknown,
            "no report yet": self.silent,
            "not sent": self.pending,
        }
        return [(f"{what}: {name}", f"{count:,}") for name, count in counts.items()]

    @property
    def bad(self) -> int:
        """How many went wrong."""
        return self.rejected + self.undelivered + self.unknown

    @property
    def known(self) -> int:
        """For how many it is known whether they went wrong."""
        return self.bad + self.delivered

    @property
    def sent(self) -> int:
        """How many there are to judge by at most."""
        return self.known + self.silent


def outcomes(ledger: Ledger, delivery: Delivery, wave: int) -> Outcomes:
    """What became of one wave so far."""
    return _outcomes(ledger, _OF_WAVE, {"campaign": delivery.id, "wave": wave})


def outcomes_since(ledger: Ledger, delivery: Delivery, since: float) -> Outcomes:
    """What became so far of everything claimed since then."""
    return _outcomes(ledger, _SINCE, {"campaign": delivery.id, "since": since})


def _outcomes(ledger: Ledger, query: sa.TextClause, values: dict[str, float]) -> Outcomes:
    with ledger.read() as connection:
        row = connection.execute(query, values).mappings().one()
    counts = {name: int(count) for name, count in row.items() if name != "ended_at"}
    return Outcomes(**counts, ended_at=row["ended_at"])


def planned(ledger: Ledger, delivery: Delivery) -> list[tuple[int, int, float]]:
    """Every wave: its number, how many messages it planned, and when (seconds)."""
    wave = tables.wave.c
    query = sa.select(wave.number, wave.messages, wave.planned_at).where(wave.campaign_id == delivery.id)
    with ledger.read() as connection:
        return [(row.number, row.messages, row.planned_at) for row in connection.execute(query.order_by(wave.number))]


def last_wave(ledger: Ledger, campaign: PlannedCampaign) -> int:
    """The number of the newest wave."""
    with ledger.read() as connection:
        query = sa.select(sa.func.max(tables.wave.c.number)).where(tables.wave.c.campaign_id == campaign.id)
        return int(connection.execute(query).scalar() or 1)


def open_next(ledger: Ledger, campaign: PlannedCampaign) -> None:
    """Let the wave after the open one be claimed, too. Calling it twice for the same wave does it once."""
    row = tables.campaign.c
    with ledger.write() as connection:
        connection.execute(
            tables.campaign.update()
            .where(row.id == campaign.id, row.open_wave == campaign.open_wave)
            .values(open_wave=row.open_wave + 1)
        )


def halt(ledger: Ledger, campaign: PlannedCampaign, because: str) -> None:
    """Stop all claims of it until somebody has decided on what went wrong."""
    row = tables.campaign.c
    with ledger.write() as connection:
        connection.execute(
            tables.campaign.update()
            .where(row.id == campaign.id)
            .values(halted_because=because, goes_on_for=None, goes_on_at=None)
        )


def go_on(ledger: Ledger, delivery: Delivery) -> None:
    """Let a halted delivery go on: a person has decided so. Its open wave counts as passed."""
    row = tables.campaign.c
    with ledger.write() as connection:
        connection.execute(
            tables.campaign.update()
            .where(row.id == delivery.id, row.halted_because.is_not(None))
            .values(
                open_wave=row.open_wave + 1,
                halted_because=None,
                stopped_because=None,
                goes_on_for=WaitsFor.CANARY,
                goes_on_at=time.time(),
            )
        )
