"""Tickets: one request each, beside bare httpx on the same sandbox in the same run."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.scene import Scene, scene


@dataclass(frozen=True, slots=True)
class Tickets:
    """One cell: rates in tickets per second."""

    count: int
    latency: float
    database: str
    sent: float
    bare: float

    @property
    def of_bare(self) -> float:
        return self.sent / self.bare


def tickets(count: int, latency: float, database: str = "sqlite") -> Tickets:
    """Send ``count`` tickets by the delivery steps, the planning left out, then the same by bare httpx."""
    with scene(latency=latency, database=database) as at:
        at.measure("plan-tickets", _event(at, count))
        ours = at.measure("tickets", "gala")
        truth = at.told()
        assert truth["accepted"] == count, truth
        bare = min(at.measure("bare-tickets", count)["seconds"] for _ in range(2))
    return Tickets(count, latency, database, sent=count / ours["seconds"], bare=count / bare)


def _event(at: Scene, count: int) -> str:
    rows = (f"+1650253{number:04},T{number:05}\n" for number in range(count))
    (at.folder / "attendees.csv").write_text("phone,barcode_id\n" + "".join(rows), encoding="utf-8")
    file = at.folder / "gala.toml"
    file.write_text('name = "gala"\nmms_id = "35674"\nfrom = "60856"\nattendees = "attendees.csv"\n', encoding="utf-8")
    return str(file)
