"""A sender that is stopped for ten minutes, and one whose clock jumps: nobody twice, and whoever is in doubt is unknown."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from posthorn.ledger.store.engine import Ledger
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.delivery.journey import numbers, write_campaign
from tests.delivery.waiting import until
from tests.drills import worker
from tests.drills.clocked import Clocked, library
from tests.drills.lists import LivingList
from tests.drills.verdict import judge

SEND = "messages/send_mms"
COUNT = 400
MISSING = "libfaketime is not installed (Debian: apt-get install libfaketime): no clock was moved"

Sender = Callable[[], Awaitable[Clocked]]


@pytest.fixture
def settings(box: Sandbox, tmp_path: Path) -> Settings:
    gateway = {
        "base_url": box.url, "token": "sandbox-token", "chunk_size": 20, "concurrency": 2, "timeout_seconds": 1,
        "settle_seconds": 1.0, "breaker_after": 20,
    }  # fmt: skip
    return Settings(
        database_url=f"sqlite:///{tmp_path / 'ledger.db'}",
        state_dir=tmp_path,
        guard_dir=tmp_path / "marks",
        serwersms=gateway,  # type: ignore[arg-type]
    )


@pytest.fixture
async def senders(settings: Settings, tmp_path: Path) -> AsyncIterator[Callable[..., Clocked]]:
    if library() is None:
        assert os.environ.get("CI") != "true", MISSING
        pytest.skip(MISSING)
    made: list[Clocked] = []

    def make(*, only_wall_clock: bool, **keys: object) -> Clocked:
        made.append(Clocked(write_campaign(tmp_path, numbers(COUNT), **keys), settings, only_wall_clock=only_wall_clock))
        return made[-1]

    yield make
    for one in made:
        await one.end()


def problems(box: Sandbox, settings: Settings, mode: str, *, is_blind: bool = False) -> list[str]:
    ledger = Ledger(settings.database_url)
    try:
        sent = box.serwersms.listed(None, None, 0, 10 * COUNT)
        return judge(ledger, "sale", LivingList(numbers(COUNT), lives=False), sent, mode, is_blind=is_blind).problems
    finally:
        ledger.close()


async def test_stopped_for_ten_minutes_and_woken_it_sends_to_nobody_twice(
    box: Sandbox, settings: Settings, senders: Callable[..., Clocked]
) -> None:
    """All clocks have moved when it wakes, ours and the provider's: every answer that it waited for is long overdue."""
    box.latency_seconds = 0.1
    first = senders(only_wall_clock=False, resend_unconfirmed="true")
    second = senders(only_wall_clock=False, resend_unconfirmed="true")
    await first.start()
    await until(lambda: box.truth()["accepted"] > 60, 60)
    first.signal(signal.SIGSTOP)
    first.set_clock(600)
    box.clock.advance(600)
    await asyncio.sleep(0.3)  # what had left arrives
    taken = box.truth()["accepted"]
    await second.start()
    assert await second.ended() == worker.ALREADY_RUNNING, "it is stopped, not dead"
    assert box.truth()["accepted"] == taken < COUNT
    first.signal(signal.SIGCONT)
    while await first.ended() != worker.FINISHED:
        await first.start()
    assert problems(box, settings, "resend") == []
    assert (box.truth()["accepted"], box.truth()["twice"]) == (COUNT, 0)


LOST = [
    {"call": SEND, "fault": "reset_after", "probability": 0.2, "seed": 1},
    {"call": SEND, "fault": "reset_before", "probability": 0.1, "seed": 2},
]


# How the campaign is sent, by how much the clock jumps, and whether it is put right again.
JUMPS = {
    "two hours on, put right": ("plain", 7_200, True),
    "two hours back": ("plain", -7_200, False),
    "two hours on": ("resend", 7_200, False),
    "two hours back, put right": ("resend", -7_200, True),
    "a day on, put right": ("resend", 86_400, True),
}


@pytest.mark.parametrize("case", JUMPS)
async def test_a_clock_that_jumps_makes_nobody_get_it_twice(
    case: str, box: Sandbox, settings: Settings, senders: Callable[..., Clocked]
) -> None:
    """It jumps while answers are lost, and back again: what it dated meanwhile is dated wrongly, and may stay unknown."""
    mode, jump, back = JUMPS[case]
    box.latency_seconds = 0.05
    box.faults.replace(LOST)
    sender = senders(only_wall_clock=True, **({"resend_unconfirmed": "true"} if mode == "resend" else {}))
    await sender.start()
    await until(lambda: box.truth()["accepted"] > 100, 60)
    sender.set_clock(jump)
    if back:
        await until(lambda: box.truth()["accepted"] > 250, 60)
        sender.set_clock(0)
    for _ in range(4):
        if await sender.ended() == worker.FINISHED:
            break
        await sender.start()
    box.faults.replace([])
    await sender.start()
    assert await sender.ended() == worker.FINISHED
    assert problems(box, settings, mode, is_blind=True) == []
    assert box.truth()["twice"] == 0
