"""Claims that are made before a slot is free wait for their turn, and are given back where something was said since."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from posthorn.delivery.limits.hours import Clock, Gate
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.running.run import CampaignRun, open_run
from posthorn.delivery.sending import ahead, send
from posthorn.delivery.sending.send import send_batch
from posthorn.errors import Stopped, Waits
from posthorn.gateways.contract import Before
from posthorn.ledger import claiming, claims, deliveries, departures, sending, suppression
from posthorn.ledger.claims import Claim
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Answer, ChunkState, MessageState, OptOut, Phone, Receipt, Scope
from posthorn.settings import Settings
from tests.conftest import sandbox_settings
from tests.delivery.journey import numbers, write_campaign
from tests.delivery.limits.test_hours import OFFICE, at
from tests.delivery.waiting import until
from tests.ledger.ledgers import LATEST, attempts, states

CHUNK = 10
CHUNKS = 8


class Provider:
    """Answers the first request at once, and every later one only when it is told to."""

    def __init__(self) -> None:
        self.asked: list[Claim] = []
        self.told: list[Phone] = []
        self._may_answer = asyncio.Semaphore(1)

    async def send(self, claimed: Claim, before: Before) -> Answer:
        await before()
        self.asked.append(claimed)
        await self._may_answer.acquire()
        self.told += claimed.phones
        return Answer(
            [
                Receipt(MessageState.ACCEPTED, f"id-{claimed.chunk_id}-{claimed.epoch}-{position}")
                for position in claimed.positions
            ]
        )

    async def confirm_refused(self, claimed: Claim) -> None:
        raise AssertionError("it never says 429")

    def answer(self, requests: int) -> None:
        for _ in range(requests):
            self._may_answer.release()


@asynccontextmanager
async def at_work(
    settings: Settings, folder: Path, clock: Clock = time.time
) -> AsyncIterator[tuple[CampaignRun, Provider, asyncio.Task[int]]]:
    """One request is under way, one claim waits for its turn; all the rest is pending."""
    campaign = plan_file(write_campaign(folder, numbers(CHUNK * CHUNKS), test="true"), settings)
    async with open_run(campaign.name, test=True, settings=settings, clock=clock) as run:
        # A test campaign needs no restore check, and respects no hours; here it does.
        run.gate = Gate(dataclasses.replace(run.delivery, test=False), settings, run.account.timeout_seconds, clock)
        provider = Provider()
        batch = asyncio.create_task(send_batch(run, provider, 1, LATEST))
        try:
            await until(lambda: sending.in_flight(run.ledger, run.delivery) == 2 and len(provider.asked) == 2)
            yield run, provider, batch
        finally:
            provider.answer(CHUNKS * 2)
            await asyncio.wait([batch])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return sandbox_settings("http://127.0.0.1:9", tmp_path, concurrency=1, chunk_size=CHUNK)


def all_told_once(provider: Provider) -> bool:
    return sorted(provider.told) == sorted(set(provider.told)) and len(provider.told) == CHUNK * CHUNKS


async def test_the_next_claim_is_made_while_a_request_is_under_way(settings: Settings, tmp_path: Path) -> None:
    async with at_work(settings, tmp_path) as (run, provider, batch):
        first, second = provider.asked
        waiting = _sending_chunks(run.ledger) - {second.chunk_id}
        assert waiting == {first.chunk_id + 2}
        assert _noted(run) == [f"{one.chunk_id} 1 ." for one in (first, second)], "only what was handed over"
        provider.answer(CHUNKS)
        assert await batch == CHUNKS
        assert all_told_once(provider)


async def test_a_claim_that_waits_is_given_back_when_the_run_stops(settings: Settings, tmp_path: Path) -> None:
    async with at_work(settings, tmp_path) as (run, provider, batch):
        run.stop(Stopped("somebody pressed Ctrl-C"))
        provider.answer(CHUNKS)
        assert await batch == 2
        assert len(provider.asked) == 2
        assert states(run.ledger, run.delivery) == {"accepted": 2 * CHUNK, "pending": 6 * CHUNK}
        assert attempts(run.ledger, provider.asked[-1].chunk_id + 1) == ["not_taken"]


async def test_a_claim_that_waits_does_not_leave_once_the_campaign_is_cancelled(settings: Settings, tmp_path: Path) -> None:
    async with at_work(settings, tmp_path) as (run, provider, batch):
        await asyncio.sleep(ahead._RECHECK_SECONDS)  # so that it is not as good as new
        _elsewhere(settings, lambda other: deliveries.cancel(other, deliveries.get(other, "sale", test=True)))
        provider.answer(CHUNKS)
        await batch
        assert len(provider.asked) == 2
        assert isinstance(run.stopped, Stopped)
        assert "cancelled" in str(run.stopped)


async def test_who_opts_out_while_a_claim_waits_is_not_sent_to(settings: Settings, tmp_path: Path) -> None:
    async with at_work(settings, tmp_path) as (run, provider, batch):
        waiting = (_sending_chunks(run.ledger) - {provider.asked[-1].chunk_id}).pop()
        gone = Phone(int(numbers(CHUNK * CHUNKS)[CHUNK * (waiting - 1)].lstrip("+")))
        await asyncio.sleep(ahead._RECHECK_SECONDS)
        _elsewhere(settings, lambda other: suppression.add(other, [OptOut(gone, Scope.ALL, "person")], by="test"))
        provider.answer(CHUNKS * 2)
        await batch
        assert gone not in provider.told
        assert len(set(provider.told)) == len(provider.told) == CHUNK * CHUNKS - 1
        assert attempts(run.ledger, waiting) == ["not_taken", "answered"]


async def test_a_claim_that_waits_does_not_leave_close_before_the_end_of_the_hours(
    settings: Settings, tmp_path: Path
) -> None:
    """No claim would be made then: its request might take until after the end."""
    settings.send_hours = OFFICE
    now = at("2099-11-27T19:00")
    async with at_work(settings, tmp_path, lambda: now) as (run, provider, batch):
        now = at("2099-11-27T19:59:59")
        provider.answer(CHUNKS)
        assert await batch == 2
        assert isinstance(run.stopped, Waits)
        assert states(run.ledger, run.delivery) == {"accepted": 2 * CHUNK, "pending": 6 * CHUNK}


async def test_a_claim_that_has_waited_long_is_claimed_anew(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(settings, tmp_path) as (run, provider, batch):
        waiting = (_sending_chunks(run.ledger) - {provider.asked[-1].chunk_id}).pop()
        monkeypatch.setattr(ahead, "_WAITED_SECONDS", 0.0)
        provider.answer(1)
        await until(lambda: attempts(run.ledger, waiting)[:1] == ["not_taken"])
        monkeypatch.setattr(ahead, "_WAITED_SECONDS", 60.0)
        provider.answer(CHUNKS)
        await batch
        assert all_told_once(provider)


async def test_a_claim_that_waits_and_was_taken_over_is_left_to_the_process_that_did(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on: whether this process may still claim is asked before each claim."""
    async with at_work(settings, tmp_path) as (run, provider, batch):
        waiting = (_sending_chunks(run.ledger) - {provider.asked[-1].chunk_id}).pop()
        run.ledger.locks.release(claims.owner_key(run.owner))
        monkeypatch.setattr(ahead, "_WAITED_SECONDS", 0.0)
        _elsewhere(settings, lambda other: sending.abandon_dead(other, run.delivery))
        provider.answer(1)
        await until(lambda: attempts(run.ledger, waiting + 1)[:1] == ["not_taken"] or len(provider.asked) == 3)
        monkeypatch.setattr(ahead, "_WAITED_SECONDS", 60.0)
        provider.answer(CHUNKS)
        assert await batch == CHUNKS - 1
        assert waiting not in {one.chunk_id for one in provider.asked}
        assert attempts(run.ledger, waiting) == ["abandoned"]


async def test_a_claim_that_waits_is_given_back_when_its_batch_is_cancelled(settings: Settings, tmp_path: Path) -> None:
    async with at_work(settings, tmp_path) as (run, provider, batch):
        batch.cancel()
        await until(run.is_stopped)
        provider.answer(CHUNKS)
        with pytest.raises(asyncio.CancelledError):
            await batch
        assert states(run.ledger, run.delivery) == {"accepted": 2 * CHUNK, "pending": 6 * CHUNK}


@pytest.mark.parametrize("reason", ["nothing is kept", "answers take long", "requests are spaced out", "claims take long"])
async def test_no_claim_is_made_ahead_where_that_would_help_nobody(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    campaign = plan_file(write_campaign(tmp_path, numbers(CHUNK * CHUNKS), test="true"), settings)
    async with open_run(campaign.name, test=True, settings=settings) as run:
        provider = Provider()
        if reason == "nothing is kept":
            run.ahead.departures.end(run.ledger)
            monkeypatch.setattr(run.ahead.departures, "_refusal", None)
        elif reason == "requests are spaced out":
            run.pace._min_interval_seconds = 0.001
        elif reason == "claims take long":
            monkeypatch.setattr("posthorn.delivery.running.ahead._QUICK_SECONDS", 0.0)
        else:
            monkeypatch.setattr("posthorn.delivery.running.pace._QUICK_SECONDS", 0.0)

        async def waited(*_: object) -> None:
            raise AssertionError("a claim waits for a slot")

        monkeypatch.setattr(send, "wait_for_slot", waited)
        provider.answer(CHUNKS)
        assert await send_batch(run, provider, 1, LATEST) == CHUNKS
        assert all_told_once(provider)


async def test_a_ledger_that_takes_long_for_a_claim_does_not_have_each_made_twice(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = plan_file(write_campaign(tmp_path, numbers(CHUNK * CHUNKS), test="true"), settings)
    claim, asked = claiming.claim, []

    def takes_long(*given: Any, **named: Any) -> list[Claim]:
        asked.append(given)
        time.sleep(0.6)  # as long as two of them must not take: what the test is about
        return claim(*given, **named)

    monkeypatch.setattr(claiming, "claim", takes_long)
    async with open_run(campaign.name, test=True, settings=settings) as run:
        provider = Provider()
        provider.answer(CHUNKS)
        assert await send_batch(run, provider, 1, LATEST) == CHUNKS
    assert all_told_once(provider)
    assert len(asked) <= CHUNKS + 2


def _sending_chunks(ledger: Ledger) -> set[int]:
    with ledger.read() as connection:
        query = sa.select(tables.chunk.c.id).where(tables.chunk.c.state == int(ChunkState.SENDING))
        return set(connection.execute(query).scalars())


def _noted(run: CampaignRun) -> list[str]:
    """The claims that its process says it has handed over, one line each."""
    (path,) = departures.SHARED_MEMORY.glob(f"posthorn-*/{run.ledger.uuid}.{run.owner}")
    return path.read_text().splitlines()[1:]


def _elsewhere(settings: Settings, verb: Callable[[Ledger], object]) -> None:
    """What another process writes into the ledger."""
    ledger = Ledger(settings.database_url)
    try:
        verb(ledger)
    finally:
        ledger.close()
