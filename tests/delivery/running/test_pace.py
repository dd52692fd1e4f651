"""When the next request may leave. Waits are read off, not waited for."""

from __future__ import annotations

import asyncio

import pytest

from posthorn.delivery.running.pace import MAX_WAIT_SECONDS, Pace


def test_the_breaker_opens_at_so_many_unknown_outcomes_in_a_row() -> None:
    pace = Pace(3)
    for is_broken in (False, False, True):
        pace.unknown()
        assert pace.is_broken == is_broken


def test_a_clear_answer_begins_the_count_anew() -> None:
    pace = Pace(2)
    for _ in range(5):
        pace.unknown()
        pace.answered()
    assert not pace.is_broken


def test_a_shorter_pause_never_shortens_a_longer_one() -> None:
    pace = Pace(3)
    pace.slow(60)
    pace.slow(1)
    assert pace.waiting_seconds > 50


def test_a_pause_is_as_long_as_asked_for_but_not_for_ever() -> None:
    pace = Pace(3)
    pace.slow(40)
    assert 30 < pace.waiting_seconds <= 40
    pace.slow(10**6)
    assert pace.waiting_seconds <= MAX_WAIT_SECONDS


def test_pauses_that_nobody_measured_grow_and_end_with_an_answer() -> None:
    pace = Pace(3)
    pace.slow(None)
    first = pace.waiting_seconds
    assert 0.5 < first <= 1.25
    for _ in range(5):  # earned together: one pause
        pace.slow(None)
    assert pace.waiting_seconds < 3


async def test_requests_that_are_ready_together_leave_one_interval_apart() -> None:
    pace = Pace(3, min_interval_seconds=60)
    await pace.wait()
    assert pace.waiting_seconds > 50
    waiting = asyncio.create_task(pace.wait())
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    pace.wake()
    await asyncio.wait_for(waiting, 5)


@pytest.mark.parametrize("asked", [None, 100.0])
async def test_whoever_waits_is_woken_when_the_run_stops(asked: float | None) -> None:
    pace = Pace(3)
    pace.slow(asked)
    waiting = asyncio.create_task(pace.wait())
    await asyncio.sleep(0)
    pace.wake()
    await asyncio.wait_for(waiting, 5)
