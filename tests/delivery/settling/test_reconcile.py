"""What a lookup may conclude: found is found, and absent only after two looks, the settle time apart, with a control."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from posthorn.delivery.deliver import send_all, settle_all
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_media
from posthorn.delivery.running.run import open_run
from posthorn.delivery.settling.reconcile import reconcile
from posthorn.delivery.settling.withdraw import reconcile_named
from posthorn.errors import GatewayError
from posthorn.gateways.serwersms.client import SerwerSms
from posthorn.ledger import deliveries, reconciling
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MmsRequest, Phone
from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.settings import Settings
from tests.conftest import sandbox_settings
from tests.delivery.journey import counted, deliver, numbers, plan_file, status_of, write_campaign

SEND, REPORTS = "messages/send_mms", "messages/reports"


@pytest.fixture
async def slow_box() -> AsyncIterator[Sandbox]:
    """A sandbox whose listing shows a message only half a second after it was taken."""
    async with Sandbox(speed=1, serwersms=SerwerSmsOptions(visible_after_seconds=0.5)) as sandbox:
        yield sandbox


def impatient(box: Sandbox, folder: Path, *, timeout_seconds: float = 2, **more: object) -> Settings:
    settings = sandbox_settings(box.url, folder, concurrency=1, **more)
    settings.serwersms.timeout_seconds = timeout_seconds
    return settings


async def test_a_request_that_arrives_between_the_two_looks_is_found_by_the_second(box: Sandbox, tmp_path: Path) -> None:
    """The settle time must be longer than the longest delay of a request; this one is."""
    box.faults.replace([{"call": SEND, "at": [3], "fault": "late", "seconds": 1.0}])
    settings = impatient(box, tmp_path, timeout_seconds=0.5, settle_seconds=2.0)
    status = await deliver(write_campaign(tmp_path, numbers(500), resend_unconfirmed="true"), settings)
    assert counted(status) == {"accepted": 500}
    assert (box.truth()["accepted"], box.truth()["twice"]) == (500, 0)


async def test_two_looks_at_once_are_not_two(box: Sandbox, tmp_path: Path) -> None:
    """However often it is looked for before the settle time is over: nothing is released to be sent again."""
    box.faults.replace([{"call": SEND, "at": [3], "fault": "reset_before"}])
    settings = impatient(box, tmp_path, settle_seconds=60.0)
    plan_file(write_campaign(tmp_path, numbers(500), resend_unconfirmed="true"), settings)
    async with open_run("sale", settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        await send_all(run)
        for _ in range(3):
            looked = await reconcile(run)
            assert (looked.looked_up, looked.resend, looked.unknown) == (50, 0, 50)
        # The time from the request on does not count for the second look, either: it counts from the first one.
        with run.ledger.write() as connection:
            connection.execute(sa.text("UPDATE attempt SET started_at = started_at - 300, ended_at = ended_at - 300"))
        assert (await reconcile(run)).resend == 0


async def test_a_listing_that_lags_is_waited_for(slow_box: Sandbox, tmp_path: Path) -> None:
    slow_box.faults.replace([{"call": SEND, "at": [10], "fault": "reset_after"}])
    settings = impatient(slow_box, tmp_path, settle_seconds=1.0)
    status = await deliver(write_campaign(tmp_path, numbers(500), resend_unconfirmed="true"), settings)
    assert counted(status) == {"accepted": 500}
    assert (slow_box.truth()["accepted"], slow_box.truth()["twice"]) == (500, 0)


async def test_a_429_that_was_carried_out_all_the_same_is_not_sent_again_while_the_listing_lags(
    slow_box: Sandbox, tmp_path: Path
) -> None:
    slow_box.faults.replace([{"call": SEND, "at": [10], "fault": "status_after", "status": 429, "retry_after": "0"}])
    status = await deliver(write_campaign(tmp_path, numbers(500)), impatient(slow_box, tmp_path, settle_seconds=1.0))
    assert counted(status) == {"accepted": 500}
    assert (slow_box.truth()["accepted"], slow_box.truth()["twice"]) == (500, 0)


async def test_a_listing_that_lags_longer_than_the_settle_time_proves_nothing_by_what_was_taken_before(
    tmp_path: Path,
) -> None:
    """Three chunks are listed, and the last is not yet: so the refused one before it need not be, either."""
    async with Sandbox(speed=1, serwersms=SerwerSmsOptions(visible_after_seconds=60.0)) as box:
        settings = impatient(box, tmp_path, settle_seconds=0.1)
        file = write_campaign(tmp_path, numbers(250))
        box.faults.replace([{"call": SEND, "at": [4], "fault": "status_before", "status": 401}])
        await deliver(file, settings)
        box.clock.advance(60)
        box.faults.replace([{"call": SEND, "at": [1], "fault": "status_after", "status": 429, "retry_after": "0"}])
        async with open_run("sale", settings=settings) as run:
            await send_all(run)
            with run.ledger.write() as connection:  # the three are nearer in time than the last one
                refused = "(SELECT ended_at FROM attempt WHERE status = 429)"
                earlier = f"status = 200 AND started_at < {refused}"
                connection.execute(sa.text(f"UPDATE attempt SET started_at = {refused} - 0.00001 WHERE {earlier}"))
            for _ in range(3):
                await reconcile(run)
                await asyncio.sleep(0.15)  # more than the settle time
        assert (box.truth()["accepted"], box.truth()["twice"]) == (250, 0)
        assert counted(status_of("sale", settings)) == {"accepted": 200, "unknown": 50}


async def somebody_sends(box: Sandbox, settings: Settings, title: str, phones: list[str]) -> None:
    """Somebody else with the same account, of whom our ledger knows nothing."""
    async with SerwerSms(settings.serwersms) as gateway:
        await gateway.send(MmsRequest(title, [Phone(int(phone)) for phone in phones], text="-30%"))


async def test_an_earlier_message_like_it_is_not_taken_for_it(box: Sandbox, tmp_path: Path) -> None:
    """Same number, same title, eight days ago: not in the window of the lost request."""
    settings = impatient(box, tmp_path)
    box.clock.skew_seconds = -8 * 86_400
    await somebody_sends(box, settings, "Autumn sale", numbers(500))
    box.clock.skew_seconds = 0
    box.faults.replace([{"call": SEND, "at": [3], "fault": "reset_before"}])
    status = await deliver(write_campaign(tmp_path, numbers(500)), settings)
    assert counted(status) == {"accepted": 450, "unknown": 50}


async def test_another_message_to_the_same_number_is_not_taken_for_it(box: Sandbox, tmp_path: Path) -> None:
    settings = impatient(box, tmp_path)
    await somebody_sends(box, settings, "Winter sale", numbers(500))
    box.faults.replace([{"call": SEND, "at": [3], "fault": "reset_before"}])
    status = await deliver(write_campaign(tmp_path, numbers(500)), settings)
    assert counted(status) == {"accepted": 450, "unknown": 50}


@pytest.mark.parametrize("skew_minutes", [-10, 10])
async def test_the_providers_clock_may_be_ten_minutes_off(skew_minutes: int, box: Sandbox, tmp_path: Path) -> None:
    box.clock.skew_seconds = skew_minutes * 60
    box.faults.replace([{"call": SEND, "at": [3], "fault": "reset_after"}])
    status = await deliver(write_campaign(tmp_path, numbers(500)), impatient(box, tmp_path))
    assert counted(status) == {"accepted": 500}


@pytest.mark.parametrize("fault", ["reset_after", "reset_before"])
async def test_a_claim_in_the_future_is_called_a_wrong_clock_and_nobody_waits_for_it(
    fault: str, box: Sandbox, tmp_path: Path, settings: Settings
) -> None:
    box.faults.replace([{"call": SEND, "at": [2], "fault": fault}])
    settings.serwersms.settle_seconds = 600
    settings.serwersms.concurrency = 1
    campaign = plan_file(write_campaign(tmp_path, numbers(100), resend_unconfirmed="true"), settings)
    async with open_run(campaign.name, settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        await send_all(run)
        await run.do(the_clock_was_two_hours_ahead)
        await settle_all(run)  # it ends: what it waits for would come in two hours
    assert counted(status_of("sale", settings)) == {"accepted": 50, "unknown": 50}
    (evidence,) = await asyncio.to_thread(evidence_kept, settings)
    assert re.fullmatch(r"claimed at .* UTC, which has not come yet: a clock is or was wrong", evidence)


def the_clock_was_two_hours_ahead(ledger: Ledger) -> None:
    """As a claim is dated whose clock was mended before its outcome was known."""
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE attempt SET started_at = started_at + 7205 WHERE outcome <> 'answered'"))


def evidence_kept(settings: Settings) -> set[str]:
    ledger = Ledger(settings.database_url)
    try:
        return {one.evidence or "" for one in reconciling.evidence_of(ledger, deliveries.get(ledger, "sale"))}
    finally:
        ledger.close()


async def test_every_page_of_the_listing_is_read(tmp_path: Path) -> None:
    async with Sandbox(speed=0, serwersms=SerwerSmsOptions(page_size=7)) as box:
        box.faults.replace([{"call": SEND, "every": 3, "fault": "reset_after"}])
        status = await deliver(write_campaign(tmp_path, numbers(500)), impatient(box, tmp_path))
        assert counted(status) == {"accepted": 500}


# What may become of the listing while the unknown of one request is looked up.
LISTING_FAULTS = {
    "500": {"fault": "status_before", "status": 500},
    "cut short": {"fault": "truncated"},
    "another page": {"fault": "html"},
    "no answer": {"fault": "hang_before"},
    "overloaded": {"fault": "error_code", "code": 1010},
}


@pytest.mark.parametrize("case", LISTING_FAULTS)
async def test_nothing_is_concluded_from_a_listing_that_cannot_be_read(case: str, box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace(
        [
            {"call": SEND, "at": [3], "fault": "reset_before"},
            {"call": REPORTS, "at": [*range(3, 23)], **LISTING_FAULTS[case]},  # after the restore check's
        ]
    )
    settings = impatient(box, tmp_path, timeout_seconds=2, settle_seconds=0)
    status = await deliver(write_campaign(tmp_path, numbers(500), resend_unconfirmed="true"), settings)
    assert counted(status) == {"accepted": 450, "unknown": 50}
    assert box.truth()["send_requests"] == 10
    async with open_run("sale", settings=settings) as run:
        with pytest.raises(GatewayError):
            await reconcile(run)
    box.faults.replace([])
    assert counted(await deliver(tmp_path / "sale.toml", settings)) == {"accepted": 500}
    assert box.truth()["twice"] == 0


async def test_a_credit_that_ran_out_once_is_no_refusal_of_the_next_attempt(box: Sandbox, tmp_path: Path) -> None:
    """The provider lists what it refused, too, under the same number and title."""
    box.faults.replace(
        [
            {"call": SEND, "at": [3], "fault": "credit_midway", "items": 20},
            {"call": SEND, "at": [4], "fault": "reset_after"},
        ]
    )
    settings = impatient(box, tmp_path)
    file = write_campaign(tmp_path, numbers(500))
    assert counted(await deliver(file, settings)) == {"accepted": 120, "pending": 380}
    assert counted(await deliver(file, settings)) == {"accepted": 500}
    assert (box.truth()["accepted"], box.truth()["twice"]) == (500, 0)


async def test_reconciling_by_name_settles_what_came_late(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.faults.replace([{"call": SEND, "at": [3], "fault": "late", "seconds": 1.2}])
    settings = impatient(box, tmp_path, timeout_seconds=0.6)
    status = await deliver(write_campaign(tmp_path, numbers(150)), settings)
    assert counted(status) == {"accepted": 100, "unknown": 50}
    until = datetime.now(UTC) + timedelta(seconds=10)
    while box.truth()["accepted"] < 150 and datetime.now(UTC) < until:
        await reconcile_quietly(settings)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__BASE_URL", box.url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__TOKEN", "sandbox-token")
    done = await reconcile_named("sale")
    assert done.unknown == 0
    assert counted(status_of("sale", settings)) == {"accepted": 150}


async def reconcile_quietly(settings: Settings) -> None:
    async with open_run("sale", settings=settings) as run:
        await reconcile(run)


@pytest.mark.parametrize("utc", ["2026-10-25T00:20:00+00:00", "2026-10-25T01:20:00+00:00"])
async def test_the_hour_that_autumn_repeats_hides_no_message(
    utc: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    ahead = datetime.fromisoformat(utc).timestamp() - now()
    monkeypatch.setattr(time, "time", lambda: now() + ahead)
    async with Sandbox(speed=0) as box:
        box.faults.replace([{"call": SEND, "at": [2], "fault": "reset_after"}])
        settings = impatient(box, tmp_path, settle_seconds=0.3)
        status = await deliver(write_campaign(tmp_path, numbers(200), resend_unconfirmed="true"), settings)
        assert counted(status) == {"accepted": 200}
        assert (box.truth()["accepted"], box.truth()["twice"]) == (200, 0)


@pytest.mark.parametrize("response_format", ["json", "xml"])
async def test_spaces_around_a_title_hide_no_message(response_format: str, box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "at": [2], "fault": "reset_after"}])
    settings = impatient(box, tmp_path, settle_seconds=0.3, response_format=response_format)
    file = write_campaign(tmp_path, numbers(200), title='" Autumn sale "', resend_unconfirmed="true")
    assert counted(await deliver(file, settings)) == {"accepted": 200}
    assert box.truth()["twice"] == 0


async def test_an_old_unknown_is_not_settled_by_a_later_campaign_of_the_same_title(box: Sandbox, tmp_path: Path) -> None:
    settings = impatient(box, tmp_path, settle_seconds=0.3)
    box.faults.replace([{"call": SEND, "at": [2], "fault": "reset_before"}])
    await deliver(write_campaign(tmp_path, numbers(150), name="monday", text='"one"'), settings)
    ledger = Ledger(settings.database_url)
    with ledger.write() as connection:
        for table, columns in {"attempt": ("started_at", "ended_at"), "chunk": ("claimed_at", "finished_at")}.items():
            earlier = ", ".join(f"{column} = {column} - 259200" for column in columns)
            connection.execute(sa.text(f"UPDATE {table} SET {earlier}"))
    ledger.close()
    file = write_campaign(tmp_path, numbers(150), name="thursday", text='"two"', resend_unconfirmed="true")
    box.faults.replace([{"call": SEND, "at": [2], "fault": "reset_after"}])
    async with open_run(plan_file(file, settings).name, settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        await send_all(run)
    async with open_run("monday", settings=settings) as run:
        await reconcile(run)
    assert counted(await deliver(file, settings)) == {"accepted": 150}
    assert counted(status_of("monday", settings)) == {"accepted": 100, "unknown": 50}
    assert box.truth()["accepted"] == 250


async def test_what_the_provider_may_have_forgotten_is_not_absent(box: Sandbox, tmp_path: Path) -> None:
    """A message of today in the listing says nothing of one of three weeks ago."""
    away = 20 * 86_400
    settings = impatient(box, tmp_path, settle_seconds=0.3)
    file = write_campaign(tmp_path, numbers(150), resend_unconfirmed="true")
    box.clock.skew_seconds = -away
    box.faults.replace(
        [{"call": SEND, "at": [1], "fault": "reset_after"}, {"call": SEND, "at": [2], "fault": "error_code", "code": 1011}]
    )
    async with open_run(plan_file(file, settings).name, settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        await send_all(run)
    ledger = Ledger(settings.database_url)
    with ledger.write() as connection:
        for table, columns in {"attempt": ("started_at", "ended_at"), "chunk": ("claimed_at", "finished_at")}.items():
            earlier = ", ".join(f"{column} = {column} - {away}" for column in columns)
            connection.execute(sa.text(f"UPDATE {table} SET {earlier}"))
    ledger.close()
    box.clock.skew_seconds = 0
    box.clock.advance(away)
    box.faults.replace([])
    assert counted(await deliver(file, settings)) == {"accepted": 100, "unknown": 50}
    assert box.truth()["twice"] == 0
