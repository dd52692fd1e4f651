"""What a listing proves. It must show what we know was taken, as it was sent; where it does not, nobody is called absent."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from posthorn.delivery.deliver import send_all
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_media
from posthorn.delivery.running.run import open_run
from posthorn.delivery.settling.reconcile import reconcile
from posthorn.delivery.settling.withdraw import cancel_delivery
from posthorn.gateways.serwersms.client import SerwerSms
from posthorn.ledger import deliveries, reconciling
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind, MmsRequest, Phone
from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.settings import Settings
from tests.conftest import sandbox_settings
from tests.delivery.journey import counted, deliver, numbers, plan_file, status_of, write_campaign

SEND, REPORTS = "messages/send_mms", "messages/reports"
LOST = {"call": SEND, "at": [3], "fault": "reset_after"}
NEVER_ARRIVED = {"call": SEND, "at": [3], "fault": "reset_before"}
REFUSED_BUT_TAKEN = {"call": SEND, "at": [3], "fault": "status_after", "status": 429, "retry_after": "0"}

# How the provider lists what it took, other than it was sent; a word of what is said about it.
PROVIDERS: dict[str, tuple[dict[str, Any], str]] = {
    "cuts titles": (
        {"serwersms": SerwerSmsOptions(titles="cut")},
        'its title differs: "Autumn sal" instead of "Autumn sale"',
    ),
    "rewrites titles": ({"serwersms": SerwerSmsOptions(titles="rewritten")}, "its title differs"),
    "lives in another zone": ({"zone": "Europe/London"}, "s before its request"),
    "has a slow clock": ({"skew_seconds": -3600}, "s before its request"),
    "has a fast clock": ({"skew_seconds": 7200}, "s after its request"),
}

MODES: dict[str, dict[str, str]] = {
    "default": {},
    "resend": {"resend_unconfirmed": "true"},
    "hold": {"hold_minutes": "15"},
}


def quick(box: Sandbox, folder: Path, **more: object) -> Settings:
    return sandbox_settings(box.url, folder, **{"concurrency": 1, "settle_seconds": 0.2, **more})


def evidence(settings: Settings, name: str = "sale") -> set[str]:
    ledger = Ledger(settings.database_url)
    try:
        return {row.evidence or "" for row in reconciling.evidence_of(ledger, deliveries.get(ledger, name))}
    finally:
        ledger.close()


async def send_only(file: Path, settings: Settings) -> None:
    """Send, and look nothing up."""
    async with open_run(plan_file(file, settings).name, settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        await send_all(run)


def claimed_at_another_time(settings: Settings, seconds: float, where: str = "1 = 1") -> None:
    """As if our clock had been ahead by so much while these chunks were sent (behind, if negative)."""
    ledger = Ledger(settings.database_url)
    shift = "started_at = started_at + :seconds, ended_at = ended_at + :seconds"
    with ledger.write() as connection:
        connection.execute(sa.text(f"UPDATE attempt SET {shift} WHERE {where}"), {"seconds": seconds})
    ledger.close()


async def somebody_sends(box: Sandbox, settings: Settings, title: str, phones: list[str]) -> None:
    async with SerwerSms(settings.serwersms) as gateway:
        await gateway.send(MmsRequest(title, [Phone(int(phone)) for phone in phones], text="-30%"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", [LOST, REFUSED_BUT_TAKEN], ids=["answer lost", "refused with 429"])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_is_listed_otherwise_than_it_was_sent_is_not_called_absent(
    provider: str, fault: dict[str, Any], mode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options, words = PROVIDERS[provider]
    if (provider, mode) == ("has a fast clock", "hold"):
        pytest.skip("it refuses a dispatch that lies behind its own clock: nothing is sent")
    async with Sandbox(speed=0, **options) as box:
        box.faults.replace([fault])
        settings = quick(box, tmp_path)
        with caplog.at_level(logging.WARNING, "posthorn"):
            status = await deliver(write_campaign(tmp_path, numbers(500), **MODES[mode]), settings)
        taken = "scheduled" if mode == "hold" else "accepted"
        assert counted(status) == {taken: 450, "unknown": 50}
        assert status["state"] == "needs_attention"
        assert (box.truth()["accepted"], box.truth()["twice"]) == (500, 0)
        (said,) = evidence(settings)
        assert words in said
        assert any("50 unknown messages cannot be settled" in line and words in line for line in caplog.messages)
        again = await deliver(tmp_path / "sale.toml", settings)
        assert (counted(again), box.truth()["twice"]) == (counted(status), 0)


async def test_a_control_that_is_listed_otherwise_proves_nothing_of_what_is_not_listed(tmp_path: Path) -> None:
    async with Sandbox(speed=0, serwersms=SerwerSmsOptions(titles="cut")) as box:
        box.faults.replace([NEVER_ARRIVED])
        settings = quick(box, tmp_path)
        status = await deliver(write_campaign(tmp_path, numbers(500), resend_unconfirmed="true"), settings)
        assert counted(status) == {"accepted": 450, "unknown": 50}
        ledger = Ledger(settings.database_url)
        assert [finding.messages for finding in reconciling.findings(ledger)] == [50]
        ledger.close()


@pytest.mark.parametrize("fault", [LOST, REFUSED_BUT_TAKEN], ids=["answer lost", "refused with 429"])
async def test_a_listing_without_the_messages_we_know_proves_nothing(
    fault: dict[str, Any], box: Sandbox, tmp_path: Path
) -> None:
    """As of another account, or one whose listing is away without saying so."""
    box.faults.replace([fault, {"call": REPORTS, "fault": "page_empty"}])
    settings = quick(box, tmp_path)
    status = await deliver(write_campaign(tmp_path, numbers(500), resend_unconfirmed="true"), settings)
    assert counted(status) == {"accepted": 450, "unknown": 50}
    assert (box.truth()["accepted"], box.truth()["twice"]) == (500, 0)
    (said,) = evidence(settings)
    assert "is not listed either" in said


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", [LOST, REFUSED_BUT_TAKEN], ids=["answer lost", "refused with 429"])
@pytest.mark.parametrize(
    ("hours", "which"), [(-2, "1 = 1"), (2, "1 = 1"), (-2, "outcome = 'unknown'"), (2, "outcome = 'unknown'")]
)
async def test_our_own_clock_that_was_wrong_while_we_sent_makes_nobody_absent(
    hours: int, which: str, fault: dict[str, Any], mode: str, box: Sandbox, tmp_path: Path
) -> None:
    """Corrected after the claim of everything, or between the claim of the unknown and those of the rest."""
    settings = quick(box, tmp_path, settle_seconds=0)
    file = write_campaign(tmp_path, numbers(500), **MODES[mode])
    listing_away = {
        "call": REPORTS,
        "at": [*range(3, 41)],
        "fault": "status_before",
        "status": 500,
    }  # after the restore check's
    box.faults.replace([fault, listing_away])
    await send_only(file, settings)
    box.faults.replace([])
    claimed_at_another_time(settings, hours * 3600, which)
    for _ in range(2):
        status = await deliver(file, settings)
        assert counted(status)["unknown"] == 50
        assert (box.truth()["accepted"], box.truth()["twice"]) == (500, 0)


async def test_a_claim_in_the_future_is_called_a_wrong_clock(box: Sandbox, tmp_path: Path) -> None:
    settings = quick(box, tmp_path)
    box.faults.replace([NEVER_ARRIVED])
    file = write_campaign(tmp_path, numbers(200), resend_unconfirmed="true")
    await send_only(file, settings)
    claimed_at_another_time(settings, 7200, "outcome = 'unknown'")
    assert counted(await deliver(file, settings)) == {"accepted": 150, "unknown": 50}
    (said,) = evidence(settings)
    assert "which has not come yet: a clock is or was wrong" in said


async def test_a_clock_that_is_set_right_lets_the_next_lookup_settle_it(tmp_path: Path) -> None:
    async with Sandbox(speed=0, zone="Europe/London") as box:
        box.faults.replace([LOST])
        settings = quick(box, tmp_path)
        await deliver(write_campaign(tmp_path, numbers(500)), settings)
        settings.serwersms.timezone = "Europe/London"
        assert counted(await deliver(tmp_path / "sale.toml", settings)) == {"accepted": 500}
        ledger = Ledger(settings.database_url)
        assert reconciling.findings(ledger) == []
        ledger.close()


async def test_numbers_in_a_title_are_masked_where_it_is_said_to_differ(tmp_path: Path) -> None:
    async with Sandbox(speed=0, serwersms=SerwerSmsOptions(titles="rewritten")) as box:
        box.faults.replace([LOST])
        settings = quick(box, tmp_path)
        await deliver(write_campaign(tmp_path, numbers(200), title='"Call +48 600 700 800 now"'), settings)
        (said,) = evidence(settings)
        assert '"CALL *** NOW" instead of "Call *** now"' in said
        assert "700" not in said


@pytest.mark.parametrize("title", ["Winter sale", "Autumn sale"])
async def test_a_row_of_the_number_that_nobody_accounts_for_blocks_absent(title: str, box: Sandbox, tmp_path: Path) -> None:
    """It may be the very message, under a title that the provider made of it, or dated by a clock that was off."""
    settings = quick(box, tmp_path)
    file = write_campaign(tmp_path, numbers(500), resend_unconfirmed="true")
    box.faults.replace([NEVER_ARRIVED])
    await send_only(file, settings)
    box.clock.skew_seconds = 0 if title == "Winter sale" else -7200
    strangers = [phone for place, phone in enumerate(numbers(500)) if place % 50 < 30]  # 30 of whichever chunk is lost
    await somebody_sends(box, settings, title, strangers)
    box.clock.skew_seconds = 0
    status = await deliver(file, settings)
    assert counted(status) == {"accepted": 470, "unknown": 30}
    assert box.truth()["accepted"] == 470 + len(strangers)
    (said,) = evidence(settings)
    assert "a message to this number is listed that nobody here has sent" in said


async def test_a_message_of_another_campaign_of_ours_blocks_nothing(box: Sandbox, tmp_path: Path) -> None:
    """Its id is that campaign's, so it is neither this message nor a stray one; the title is the same."""
    settings = quick(box, tmp_path)
    await deliver(write_campaign(tmp_path, numbers(150), name="monday", text='"one"'), settings)
    box.faults.replace([{"call": SEND, "at": [2], "fault": "reset_before"}])
    file = write_campaign(tmp_path, numbers(150), name="thursday", text='"two"', resend_unconfirmed="true")
    assert counted(await deliver(file, settings)) == {"accepted": 150}
    assert box.truth()["accepted"] == 300


async def test_a_single_refused_chunk_waits_for_evidence_and_another_campaign_brings_it(
    box: Sandbox, tmp_path: Path
) -> None:
    settings = quick(box, tmp_path)
    box.faults.replace([{"call": SEND, "at": [1], "fault": "status_before", "status": 429, "retry_after": "0"}])
    file = write_campaign(tmp_path, numbers(50))
    assert counted(await deliver(file, settings)) == {"unknown": 50}
    (said,) = evidence(settings)
    assert "no message taken of late" in said
    others = [f"+48600{number:06}" for number in range(50)]
    await deliver(write_campaign(tmp_path, others, name="winter", title='"Winter sale"'), settings)
    write_campaign(tmp_path, numbers(50))
    assert counted(await deliver(file, settings)) == {"accepted": 50}
    assert (box.truth()["accepted"], box.truth()["twice"]) == (100, 0)


async def test_a_control_of_another_campaign_must_be_listed_with_the_title_of_that_campaign(tmp_path: Path) -> None:
    async with Sandbox(speed=0, serwersms=SerwerSmsOptions(titles="rewritten")) as box:
        settings = quick(box, tmp_path)
        others = [f"+48600{number:06}" for number in range(50)]
        await deliver(write_campaign(tmp_path, others, name="winter", title='"Winter sale"'), settings)
        box.faults.replace([{"call": SEND, "at": [1], "fault": "status_before", "status": 429, "retry_after": "0"}])
        file = write_campaign(tmp_path, numbers(50), title='"ALL IN CAPITALS"')
        assert counted(await deliver(file, settings)) == {"unknown": 50}
        (said,) = evidence(settings)
        assert "a message of winter" in said
        assert '"WINTER SALE" instead of "Winter sale"' in said


# A listing of several pages that is never the same while it is read.
UNSTEADY = {
    "a page comes twice": {"fault": "page_repeats"},
    "a page is empty": {"fault": "page_empty", "every": 2},
    "the pages grow": {"fault": "page_added", "every": 2},
}


@pytest.mark.parametrize("case", UNSTEADY)
async def test_a_listing_that_is_never_steady_proves_nothing(case: str, tmp_path: Path) -> None:
    async with Sandbox(speed=0, serwersms=SerwerSmsOptions(page_size=10)) as box:
        settings = quick(box, tmp_path)
        box.faults.replace([LOST, {"call": REPORTS, **UNSTEADY[case]}])
        status = await deliver(write_campaign(tmp_path, numbers(500), resend_unconfirmed="true"), settings)
        assert (box.truth()["accepted"], box.truth()["twice"]) == (500, 0)
        assert set(counted(status)) <= {"accepted", "unknown"}
        box.faults.replace([])
        assert counted(await deliver(tmp_path / "sale.toml", settings)) == {"accepted": 500}


async def test_a_row_without_an_id_may_be_anybodys(box: Sandbox, tmp_path: Path) -> None:
    settings = quick(box, tmp_path)
    box.faults.replace([{**LOST, "at": [1]}, {"call": REPORTS, "fault": "no_ids", "items": 500}])
    status = await deliver(write_campaign(tmp_path, numbers(500), resend_unconfirmed="true"), settings)
    assert counted(status) == {"accepted": 450, "unknown": 50}
    assert (box.truth()["accepted"], box.truth()["twice"]) == (500, 0)


async def test_pages_that_moved_while_they_were_read_are_read_again(tmp_path: Path) -> None:
    """Rows slide to an earlier page between two requests: some are on no page, and nothing else looks wrong.

    Whoever believes the first reading does not see them in the next lookup either, and calls them absent.
    """
    async with Sandbox(speed=0, serwersms=SerwerSmsOptions(page_size=20)) as box:
        settings = quick(box, tmp_path)
        moved = {"call": REPORTS, "fault": "rows_moved", "at": [2, 3, 4, 5, 6], "items": 5}
        box.faults.replace([{**LOST, "at": [1]}, moved])
        status = await deliver(write_campaign(tmp_path, numbers(500), resend_unconfirmed="true"), settings)
        assert counted(status) == {"accepted": 500}
        assert (box.truth()["accepted"], box.truth()["twice"]) == (500, 0)


@pytest.mark.parametrize("page_size", [20, 1000], ids=["several pages", "one page"])
async def test_an_answer_that_lacks_the_same_rows_each_time_is_read_from_its_other_end(
    page_size: int, tmp_path: Path
) -> None:
    async with Sandbox(speed=0, serwersms=SerwerSmsOptions(page_size=page_size, page_size_limit=1000)) as box:
        settings = quick(box, tmp_path)
        box.faults.replace([{**LOST, "at": [1]}, {"call": REPORTS, "fault": "rows_moved", "items": 3}])
        await deliver(write_campaign(tmp_path, numbers(500), resend_unconfirmed="true"), settings)
        assert (box.truth()["accepted"], box.truth()["twice"]) == (500, 0)
        box.faults.replace([])
        assert counted(await deliver(tmp_path / "sale.toml", settings)) == {"accepted": 500}


async def test_pages_whose_number_changes_are_read_again(tmp_path: Path) -> None:
    async with Sandbox(speed=0, serwersms=SerwerSmsOptions(page_size=20)) as box:
        settings = quick(box, tmp_path)
        box.faults.replace([NEVER_ARRIVED, {"call": REPORTS, "fault": "page_added", "at": [2]}])
        status = await deliver(write_campaign(tmp_path, numbers(500), resend_unconfirmed="true"), settings)
        assert counted(status) == {"accepted": 500}, "one odd reading is not a reason to give up"


async def test_a_cancelled_campaign_sends_nothing_again_and_calls_nothing_cancelled_that_is_unknown(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = quick(box, tmp_path, settle_seconds=0)
    for name, value in {
        "DATABASE_URL": settings.database_url,
        "SERWERSMS__BASE_URL": box.url,
        "SERWERSMS__TOKEN": "sandbox-token",
        "SERWERSMS__TIMEOUT_SECONDS": "0.5",
        "SERWERSMS__SETTLE_SECONDS": "0.5",
    }.items():
        monkeypatch.setenv(f"POSTHORN_{name}", value)
    box.faults.replace([NEVER_ARRIVED])
    file = write_campaign(tmp_path, numbers(500), resend_unconfirmed="true")
    async with open_run(plan_file(file, settings).name, settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        await send_all(run)
        await reconcile(run)
    await asyncio.sleep(0.6)  # longer than SETTLE_SECONDS: a second look counts now
    done = await cancel_delivery(Kind.CAMPAIGN, "sale")
    assert done.unknown == 50
    assert counted(status_of("sale", settings)) == {"accepted": 450, "unknown": 50}
    assert box.truth()["send_requests"] == 10


async def test_a_run_that_waits_for_its_second_look_says_until_when(
    box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box.faults.replace([NEVER_ARRIVED])
    with caplog.at_level(logging.INFO, "posthorn"):
        await deliver(write_campaign(tmp_path, numbers(200), resend_unconfirmed="true"), quick(box, tmp_path))
    assert any("sale: the run waits until" in line for line in caplog.messages)
