"""A held campaign: lost answers are settled by the run itself, exactly one dispatch each; and it can be called back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from posthorn.delivery.deliver import send_all
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_media
from posthorn.delivery.running.run import open_lookup, open_run
from posthorn.delivery.settling.reconcile import reconcile
from posthorn.delivery.settling.withdraw import cancel_delivery, reconcile_named
from posthorn.errors import DeliveryNotFound, InputError
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind
from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.settings import Settings
from tests.conftest import sandbox_settings
from tests.delivery.event_journey import attendees, write_event
from tests.delivery.journey import counted, deliver, numbers, plan_file, status_of, write_campaign
from tests.delivery.waiting import until

SEND = "messages/send_mms"
LOST_ANSWERS = [
    {"call": SEND, "fault": fault, "probability": 0.04, "seed": seed, **more}
    for seed, (fault, more) in enumerate(
        [
            ("reset_before", {}),
            ("reset_after", {}),
            ("close_before", {}),
            ("close_after", {}),
            ("hang_after", {}),
            ("status_before", {"status": 502}),
            ("status_after", {"status": 502}),
            ("truncated", {}),
            ("empty", {}),
            ("html", {}),
            ("missing_items", {"items": 7}),
            ("prefix_then_status", {"items": 20}),
        ]
    )
]
HOLD_SECONDS = 15 * 60


@pytest.fixture
def point_to_sandbox(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what reads its settings from the environment."""
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__BASE_URL", settings.serwersms.base_url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__TOKEN", "sandbox-token")


async def test_each_number_is_dispatched_once_whatever_answers_are_lost(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace(LOST_ANSWERS)
    settings = sandbox_settings(box.url, tmp_path, settle_seconds=0.3)
    settings.serwersms.timeout_seconds = 2.5  # a busy machine answers late, and every late answer is a lost one
    status = await deliver(write_campaign(tmp_path, numbers(5000), hold_minutes="15"), settings)
    before = box.truth()
    assert sum(before["faults"].values()) >= 10
    assert counted(status) == {"scheduled": 5000}
    assert before["dispatched"] == 0
    box.clock.advance(HOLD_SECONDS + 120)
    after = box.truth()
    assert (after["dispatched"], after["numbers"]) == (5000, 5000)


@pytest.mark.usefixtures("point_to_sandbox")
async def test_cancel_before_dispatch_leaves_nothing_dispatched(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    status = await deliver(write_campaign(tmp_path, numbers(1200), hold_minutes="15"), settings)
    assert counted(status) == {"scheduled": 1200}
    done = await cancel_delivery(Kind.CAMPAIGN, "sale")
    assert (done.withdrawn, done.went_out, done.still_scheduled, done.unknown) == (1200, 0, 0, 0)
    box.clock.advance(HOLD_SECONDS + 120)
    assert (box.truth()["dispatched"], box.truth()["withdrawn"]) == (0, 1200)
    assert status_of("sale", settings)["state"] == "cancelled"
    assert counted(status_of("sale", settings)) == {"cancelled": 1200}


@pytest.mark.usefixtures("point_to_sandbox")
async def test_cancel_in_the_middle_says_how_many_went_out(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "fault": "error_code", "code": 1011, "at": [5]}])
    settings.serwersms.concurrency = 1
    await deliver(write_campaign(tmp_path, numbers(500), hold_minutes="15"), settings)
    assert counted(status_of("sale", settings)) == {"scheduled": 200, "pending": 300}
    box.clock.advance(HOLD_SECONDS + 120)
    done = await cancel_delivery(Kind.CAMPAIGN, "sale")
    assert (done.never_sent, done.withdrawn, done.went_out) == (300, 0, 200)
    async with open_run("sale", settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        await send_all(run)
    assert box.truth()["accepted"] == 200, "a cancelled campaign sends nothing more"


@pytest.mark.usefixtures("point_to_sandbox")
async def test_cancelling_wakes_a_run_that_waits_for_its_second_look(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_DATABASE_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    box.faults.replace([{"call": SEND, "fault": "close_before", "at": [1]}])
    settings = sandbox_settings(box.url, tmp_path, settle_seconds=60)
    running = asyncio.create_task(deliver(write_campaign(tmp_path, numbers(100), hold_minutes="15"), settings))
    await until(lambda: (tmp_path / "ledger.db").exists() and unknown_and_looked_up(settings))
    done = await cancel_delivery(Kind.CAMPAIGN, "sale")
    assert (done.withdrawn, done.unknown) == (50, 50)
    await running
    assert counted(status_of("sale", settings)) == {"cancelled": 50, "unknown": 50}
    box.clock.advance(HOLD_SECONDS + 120)
    assert box.truth()["dispatched"] == 0


def unknown_and_looked_up(settings: Settings) -> bool:
    try:
        if not counted(status_of("sale", settings)).get("unknown"):
            return False
    except DeliveryNotFound:
        return False
    ledger = Ledger(settings.database_url)
    try:
        with ledger.read() as connection:
            return bool(connection.execute(sa.select(tables.settlement.c.id)).first())
    finally:
        ledger.close()


@pytest.mark.usefixtures("point_to_sandbox")
async def test_what_was_refused_with_429_and_then_cancelled_is_not_left_to_be_sent(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "fault": "status_before", "status": 429, "at": [1], "retry_after": "0"}])
    settings = sandbox_settings(box.url, tmp_path, concurrency=1, settle_seconds=0.5)
    file = write_campaign(tmp_path, numbers(100))
    async with open_run(plan_file(file, settings).name, settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        await send_all(run)
    assert counted(status_of("sale", settings)) == {"accepted": 50, "unknown": 50}
    await cancel_delivery(Kind.CAMPAIGN, "sale")
    with pytest.raises(InputError, match="was cancelled for good"):
        await deliver(file, settings)
    await asyncio.sleep(0.6)  # the settle time: only after it may a look prove anything
    async with open_lookup("sale", settings=settings) as run:
        await reconcile(run)
    assert counted(status_of("sale", settings)) == {"accepted": 50, "cancelled": 50}
    assert box.truth()["accepted"] == 50


@pytest.mark.usefixtures("point_to_sandbox")
async def test_an_event_cannot_be_cancelled_as_a_campaign(settings: Settings, tmp_path: Path) -> None:
    plan_file(write_event(tmp_path, attendees(2)), settings, kind=Kind.EVENT)
    with pytest.raises(DeliveryNotFound, match="gala is an event"):
        await cancel_delivery(Kind.CAMPAIGN, "gala")
    assert counted(status_of("gala", settings)) == {"pending": 2}


@pytest.mark.parametrize(("visible_after", "age"), [(3600.0, 20 * 60), (0.0, 15 * 86_400)])
@pytest.mark.usefixtures("point_to_sandbox")
async def test_what_went_out_is_not_called_cancelled_because_it_is_not_listed(
    visible_after: float, age: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listing lags, or has forgotten it after the provider's fourteen days."""
    async with Sandbox(speed=0, serwersms=SerwerSmsOptions(visible_after_seconds=visible_after)) as box:
        settings = sandbox_settings(box.url, tmp_path)
        box.faults.replace([{"call": "messages/view", "fault": "error_code", "code": 1004}])
        monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
        monkeypatch.setenv("POSTHORN_SERWERSMS__BASE_URL", box.url)
        await deliver(write_campaign(tmp_path, numbers(100), hold_minutes="15"), settings)
        box.clock.advance(age)
        done = await cancel_delivery(Kind.CAMPAIGN, "sale")
        assert (done.withdrawn, done.went_out, done.still_scheduled) == (0, 0, 100), "nobody knows whether they went out"
        assert "cancelled" not in counted(status_of("sale", settings))
        assert (box.truth()["dispatched"], box.truth()["withdrawn"]) == (100, 0)


@pytest.mark.usefixtures("point_to_sandbox")
async def test_cancelling_withdraws_late_copies_too(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "fault": "late", "at": [3], "seconds": 3600}])
    hasty = sandbox_settings(box.url, tmp_path, concurrency=2, settle_seconds=0.1, timeout_seconds=0.5)
    status = await deliver(write_campaign(tmp_path, numbers(300), hold_minutes="15"), hasty)
    assert counted(status) == {"scheduled": 300}
    await box.release_late()
    assert box.truth()["accepted"] == 350
    await cancel_delivery(Kind.CAMPAIGN, "sale")
    box.clock.advance(HOLD_SECONDS + 120)
    assert (box.truth()["dispatched"], box.truth()["withdrawn"]) == (0, 350)


@pytest.mark.usefixtures("point_to_sandbox")
async def test_what_is_found_after_the_cancel_is_withdrawn_by_the_lookup(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    box.faults.replace([{"call": SEND, "fault": "late", "at": [3], "seconds": 2.5}])
    hasty = sandbox_settings(box.url, tmp_path, concurrency=1, settle_seconds=600)
    hasty.serwersms.timeout_seconds = 0.5
    file = write_campaign(tmp_path, numbers(150), hold_minutes="15")
    async with open_run(plan_file(file, hasty).name, settings=hasty) as run:
        await upload_media(run)
        await verify_media(run)
        await send_all(run)
    assert (await cancel_delivery(Kind.CAMPAIGN, "sale")).unknown == 50
    await until(lambda: box.truth()["accepted"] == 150)
    await reconcile_named("sale")
    box.clock.advance(HOLD_SECONDS + 120)
    assert (box.truth()["dispatched"], box.truth()["withdrawn"]) == (0, 150)
    assert counted(status_of("sale", settings)) == {"cancelled": 150}


@pytest.mark.usefixtures("point_to_sandbox")
async def test_a_withdrawal_whose_answer_is_lost_is_seen_in_the_listing(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    await deliver(write_campaign(tmp_path, numbers(100), hold_minutes="15"), settings)
    box.faults.replace([{"call": "messages/delete", "fault": "reset_after", "at": [1]}])
    done = await cancel_delivery(Kind.CAMPAIGN, "sale")
    assert (done.withdrawn, done.went_out) == (100, 0)
    assert counted(status_of("sale", settings)) == {"cancelled": 100}
    assert box.truth()["withdrawn"] == 100
