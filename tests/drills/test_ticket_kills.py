"""Tickets under SIGKILL and faults at random moments: no pair of number and code is accepted twice, none is lost."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from pathlib import Path

import pytest

from posthorn.models import MessageState
from posthorn.sandbox.server import Sandbox
from tests.delivery.event_journey import attendees, send_event, ticket_settings, tickets_of, write_event
from tests.delivery.journey import status_of

ROOT = Path(__file__).parents[2]
FAULTS = [
    {"call": "sendMMSBarcode", "fault": fault, "probability": 0.01, "seed": seed, **more}
    for seed, (fault, more) in enumerate(
        [("reset_before", {}), ("reset_after", {}), ("status_after", {"status": 502}), ("empty", {}), ("truncated", {})]
    )
]


@pytest.mark.drill
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_killed_anywhere_it_sends_each_pair_once_at_most_and_loses_none(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    async with Sandbox(speed=0, latency_seconds=0.05) as box:  # four at once: longer than three kills take
        box.faults.replace(FAULTS)
        file = write_event(tmp_path, attendees(400))
        kills = 0
        for _ in range(40):
            worker = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.drills.ticket_worker",
                str(file),
                box.url,
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
            )
            assert worker.stdout is not None
            await worker.stdout.readline()
            try:
                await asyncio.wait_for(worker.wait(), chance.uniform(0.3, 1.5))
            except TimeoutError:
                worker.send_signal(signal.SIGKILL)
                await worker.wait()
                kills += 1
            if kills >= 3:
                break
        box.faults.replace([])
        box.latency_seconds = 0
        settings = ticket_settings(box.url, tmp_path, breaker_after=100)
        await send_event(file, settings)
        status = status_of("gala", settings)
        truth = box.truth()["skycore"]
        taken = set(box.skycore.counts(None))
    assert kills >= 3
    assert status["balanced"]
    assert truth["twice"] == 0
    assert status["totals"]["pending"] == status["totals"]["sending"] == 0
    tickets = tickets_of(settings)
    assert len(tickets) == 400
    for ticket in tickets:
        if ticket.state == MessageState.ACCEPTED:
            assert f"{ticket.phone} {ticket.barcode}" in taken
        else:
            assert ticket.state == MessageState.UNKNOWN, "what was taken is never pending or rejected"
