"""Delivery reports, drilled: pulled, pushed, and both at once, over 72 hours, compared message by message with the truth.

``python -m tests.drills.reports [messages [database]]`` prints how many requests each way took. A database that is named
must be empty; then only the way "both" is drilled, for that is where writers meet.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import sqlalchemy as sa

from posthorn.delivery.settling.report import NO_REPORT_AFTER_SECONDS, pull_due_reports
from posthorn.gateways.registry import by_name
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MessageState
from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.settings import SerwerSmsSettings, Settings
from tests.delivery.journey import deliver, numbers, write_campaign
from tests.webhooks.receiver import SECRET, receiving

CHUNK_SIZE = 100
WAYS = ("pull", "push", "both")
TEN_MINUTES = 600.0
_FATES = {"undelivered": 0.02, "silent": 0.01, "late": 0.05, "reported_after_seconds": 6 * 3600.0}
_MEANT = {
    "delivered": MessageState.DELIVERED,
    "undelivered": MessageState.UNDELIVERED,
    "unsent": MessageState.REJECTED,
}


@dataclass(slots=True)
class Told:
    """What a drill did and found; ``wrong`` names each message whose state is not what the truth says."""

    rounds: int = 0
    passed_seconds: float = 0.0
    report_requests: int = 0
    calls: int = 0
    forged: int = 0
    parked: int = 0
    states: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


async def drill(way: str, count: int, folder: Path, *, share_of_age: float = 0.0, database: str = "") -> Told:
    """Send to ``count`` numbers, let 72 hours pass in steps of ten minutes (or of a share of the time so far), and compare.

    Pushed: every callback may come twice, they come in any order, and one in a thousand is followed by a forged one; where
    reports are pulled too, a fifth of the callbacks is lost.
    """
    told = Told()
    database_url = database or f"sqlite:///{folder / 'ledger.db'}"
    async with AsyncExitStack() as stack:
        pushes = {}
        if way != "pull":
            receiver = await stack.enter_async_context(receiving(database_url, lambda: time.time() + told.passed_seconds))
            pushes = {
                "callback_url": f"{receiver}/{SECRET}/{by_name('serwersms').routes[0].address}",
                "callback_duplicates": 0.3,
                "callback_shuffle": True,
                "callback_forged": 0.001,
                "callback_lost": 0.2 if way == "both" else 0.0,
            }
        box = await stack.enter_async_context(Sandbox(speed=0, serwersms=SerwerSmsOptions(**_FATES, **pushes)))
        gateway = SerwerSmsSettings(base_url=box.url, token="sandbox-token", chunk_size=CHUNK_SIZE, timeout_seconds=30)
        settings = Settings(database_url=database_url, state_dir=folder, guard_dir=folder / "marks", serwersms=gateway)
        abroad = [f"+4915112{number:06}" for number in range(count // 100)]  # taken, and later unsent
        await deliver(write_campaign(folder, [*numbers(count - len(abroad)), *abroad]), settings)
        before = box.truth()["requests"].get("messages/reports", 0)
        sent = time.time()  # a slow machine's own seconds do not count: they would shift what is due
        for step in _steps(share_of_age):
            box.clock.advance(step)
            told.passed_seconds += step
            told.rounds += 1
            await asyncio.gather(*_round(way, box, settings, sent + told.passed_seconds, told))
        if way != "pull":
            await _forge(receiver, told)
        told.report_requests = box.truth()["requests"].get("messages/reports", 0) - before
        _compare(box, database_url, way, told)
    return told


def _steps(share_of_age: float) -> Iterator[float]:
    passed = 0.0
    while passed <= NO_REPORT_AFTER_SECONDS:
        step = max(TEN_MINUTES, share_of_age * passed)
        passed += step
        yield step


def _round(way: str, box: Sandbox, settings: Settings, now: float, told: Told) -> Iterator[asyncio.Task[None]]:
    if way != "push":
        yield asyncio.ensure_future(_pull(settings, now))
    if way != "pull":
        yield asyncio.ensure_future(_push(box, told))


async def _pull(settings: Settings, now: float) -> None:
    pulled = await pull_due_reports(settings, lambda: now)
    assert not pulled.problems, pulled.problems


async def _push(box: Sandbox, told: Told) -> None:
    tally = await box.serwersms.callbacks.flush()
    assert tally["called"] == tally["acknowledged"]
    told.calls += tally["called"]
    told.forged += tally["forged"]


async def _forge(receiver: str, told: Told) -> None:
    """At least one, whatever the shares above came to."""
    forged = f"{receiver}/{SECRET}/serwersms?id={secrets.token_hex(5)}&state=undelivered&date=&reason="
    async with httpx.AsyncClient() as client:
        assert (await client.get(forged)).status_code == 200
    told.forged += 1


def _compare(box: Sandbox, database_url: str, way: str, told: Told) -> None:
    """Compare each message with what the sandbox says of it; who is silent has ended where reports were pulled."""
    silent = MessageState.ACCEPTED if way == "push" else MessageState.NO_REPORT
    truth = {one["id"]: _MEANT.get(one["status"], silent) for one in box.serwersms.listed(None, None, 0, sys.maxsize)}
    ledger = Ledger(database_url)
    try:
        with ledger.read() as connection:
            message = tables.message.c
            held = dict(connection.execute(sa.select(message.provider_id, message.state)).all())
            told.parked = connection.execute(sa.select(sa.func.count()).select_from(tables.parked_report)).scalar_one()
    finally:
        ledger.close()
    assert held.keys() == truth.keys()
    told.states = dict(Counter(MessageState(state).name.lower() for state in held.values()))
    told.wrong = [f"{one}: {held[one]}, in truth {state}" for one, state in truth.items() if held[one] != state]


def main() -> None:
    """Drill each way, and say what it took."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    database = sys.argv[2] if len(sys.argv) > 2 else ""
    for way in ("both",) if database else WAYS:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.monotonic()
            told = asyncio.run(drill(way, count, Path(folder), database=database))
        seconds = time.monotonic() - begun
        print(f"{way}: {count:,} messages, {told.rounds} rounds, {told.report_requests} report requests,", end=" ")
        print(f"{told.calls:,} callbacks ({told.forged} forged, {told.parked} parked), {told.states},", end=" ")
        print(f"{len(told.wrong)} wrong, {seconds:.0f} s", flush=True)
        if told.wrong:
            raise SystemExit("\n".join(told.wrong[:20]))


if __name__ == "__main__":
    main()
