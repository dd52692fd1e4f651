"""A held campaign keeps its word for copies that arrive late: it stays until a last look, whoever takes that."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
from pathlib import Path
from typing import Any

import pytest

from posthorn.delivery.deliver import settle_once
from posthorn.delivery.running.run import open_lookup
from posthorn.delivery.settling.due import looks_due
from posthorn.delivery.settling.withdraw import cancel_delivery, reconcile_named
from posthorn.ledger import deliveries, totals
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from posthorn.views.status import exit_code, status_table
from tests.conftest import sandbox_settings
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign
from tests.delivery.waiting import until
from tests.drills import worker

SEND = "messages/send_mms"
LATE = {"call": SEND, "fault": "late", "at": [3], "seconds": 3600}
"""The third request is held back for longer than both looks take, until the test has it carried out."""
HOLD_SECONDS = 15 * 60


@pytest.fixture
def held(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings under which the late request is sent again within four seconds, and looked at last 14 after it left."""
    box.faults.replace([LATE])
    settings = sandbox_settings(
        box.url, tmp_path, concurrency=2, settle_seconds=0.1, timeout_seconds=3, last_look_seconds=HOLD_SECONDS - 14
    )
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__BASE_URL", box.url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__TOKEN", "sandbox-token")
    return settings


def record(settings: Settings) -> Delivery:
    ledger = Ledger(settings.database_url)
    try:
        return deliveries.get(ledger, "sale")
    finally:
        ledger.close()


async def until_it_waits(settings: Settings, seconds: float = 20) -> None:
    """Until everything is sent, the lost part twice, and only the last look is waited for."""
    await until((settings.state_dir / "ledger.db").exists)
    ledger = await asyncio.to_thread(Ledger, settings.database_url)

    def waits() -> bool:
        now = deliveries.find(ledger, "sale")
        return bool(now and now.waiting_until and counted(totals.status(ledger, now)) == {"scheduled": 300})

    try:
        await until(waits, seconds)
    finally:
        ledger.close()


def campaign_file(folder: Path, **keys: Any) -> Path:
    return write_campaign(folder, numbers(300), hold_minutes="15", **keys)


async def test_a_run_stays_until_its_last_look_and_withdraws_what_came_late(
    box: Sandbox, held: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "posthorn")
    running = asyncio.create_task(deliver(campaign_file(tmp_path), held))
    await until_it_waits(held)
    now = status_of("sale", held)
    assert (now["state"], now["waiting_until"] is not None) == ("running", True)
    assert "last look" in now["because"]
    await box.release_late()
    assert box.truth()["accepted"] == 350
    status = await running
    assert re.search(r"the run waits until [0-9:]{8} \w+ for its last look", caplog.text)
    assert (status["state"], status["second_copies"], status["waiting_until"], exit_code(status)) == ("finished", 0, None, 0)
    box.clock.advance(HOLD_SECONDS + 120)
    assert (box.truth()["dispatched"], box.truth()["withdrawn"]) == (300, 50)


async def test_nothing_is_waited_for_where_nothing_was_sent_twice(box: Sandbox, held: Settings, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "fault": "reset_after", "at": [3]}])
    status = await deliver(campaign_file(tmp_path), held)
    assert (status["state"], status["waiting_until"]) == ("finished", None)


async def kill_while_it_waits(settings: Settings, folder: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=worker.deliver, args=(campaign_file(folder), settings))
    process.start()
    try:
        await until_it_waits(settings, seconds=40)
    finally:
        process.kill()
        await asyncio.to_thread(process.join)


async def test_the_last_look_of_a_run_that_was_killed_is_due_at_its_moment(
    box: Sandbox, held: Settings, tmp_path: Path
) -> None:
    held.serwersms.last_look_seconds = 90
    await kill_while_it_waits(held, tmp_path)
    status = status_of("sale", held)
    assert (status["state"], exit_code(status)) == ("waiting", 3)
    assert "`make serve` takes it by itself, else run `posthorn campaign reconcile sale`" in status_table(status)
    begun = record(held)
    assert begun.run_started_at is not None
    assert begun.waiting_until is not None
    assert HOLD_SECONDS - 105 < begun.waiting_until - begun.run_started_at < HOLD_SECONDS - 60
    assert looks_due(60) == [], "not now: it is close before the dispatch"
    assert looks_due(HOLD_SECONDS) == ["sale"]


async def test_whoever_takes_the_last_look_withdraws_what_came_late(box: Sandbox, held: Settings, tmp_path: Path) -> None:
    await kill_while_it_waits(held, tmp_path)
    await box.release_late()
    assert looks_due(60) == ["sale"]
    while looks_due(60):
        async with open_lookup("sale", settings=held) as run:
            await settle_once(run)
    status = status_of("sale", held)
    assert (status["state"], status["waiting_until"], exit_code(status)) == ("finished", None, 0)
    box.clock.advance(HOLD_SECONDS + 120)
    assert (box.truth()["dispatched"], box.truth()["withdrawn"]) == (300, 50)


async def test_a_campaign_that_is_run_again_goes_on_waiting(box: Sandbox, held: Settings, tmp_path: Path) -> None:
    await kill_while_it_waits(held, tmp_path)
    held.serwersms.last_look_seconds = HOLD_SECONDS - 24
    running = asyncio.create_task(deliver(tmp_path / "sale.toml", held))
    await until(lambda: status_of("sale", held)["state"] == "running")
    await box.release_late()
    assert counted(await running) == {"scheduled": 300}
    box.clock.advance(HOLD_SECONDS + 120)
    assert (box.truth()["dispatched"], box.truth()["withdrawn"]) == (300, 50)


async def test_a_last_look_that_nobody_took_is_said(box: Sandbox, held: Settings, tmp_path: Path) -> None:
    await kill_while_it_waits(held, tmp_path)
    await box.release_late()
    ledger = Ledger(held.database_url)
    deliveries.note_last_look(ledger, deliveries.get(ledger, "sale"), 1_000_000.0)
    ledger.close()
    status = status_of("sale", held)
    assert (status["state"], exit_code(status)) == ("needs_attention", 3)
    assert "nobody took it; `posthorn campaign reconcile sale`" in status["because"]
    await reconcile_named("sale")
    assert status_of("sale", held)["second_copies"] == 0
    assert box.truth()["withdrawn"] == 50


async def test_cancelling_ends_the_wait_and_withdraws_everything(box: Sandbox, held: Settings, tmp_path: Path) -> None:
    held.serwersms.last_look_seconds = 90
    running = asyncio.create_task(deliver(campaign_file(tmp_path), held))
    await until_it_waits(held)
    await cancel_delivery(Kind.CAMPAIGN, "sale")
    await running
    status = status_of("sale", held)
    assert (status["state"], counted(status)) == ("cancelled", {"cancelled": 300})
    assert exit_code(status) == 3, "the lost request may still arrive"
    await box.release_late()
    await reconcile_named("sale")
    box.clock.advance(HOLD_SECONDS + 120)
    assert (box.truth()["dispatched"], box.truth()["withdrawn"]) == (0, 350)


async def test_of_a_copy_that_went_out_first_the_other_is_withdrawn(box: Sandbox, held: Settings, tmp_path: Path) -> None:
    """The late copy keeps the time of dispatch of its own request, which is before that of the second one."""
    running = asyncio.create_task(deliver(campaign_file(tmp_path), held))
    await until_it_waits(held)
    await box.release_late()
    first, second = sorted(batch.due_at for batch in box.serwersms.account.messages.batches)[:2]
    box.clock.advance((first + second) / 2)  # the age of this sandbox stands still by itself
    assert box.truth()["dispatched"] == 50
    status = await running
    assert (status["state"], status["second_copies"]) == ("finished", 0)
    assert counted(status) == {"accepted": 50, "scheduled": 250}, "who had the first stands for it"
    assert box.truth()["withdrawn"] == 50
    box.clock.advance(HOLD_SECONDS)
    assert box.truth()["dispatched"] == 300
