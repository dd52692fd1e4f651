"""The restore check beside all else: second copies, other campaigns, odd clocks, listings that move, repeats."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthorn.delivery.deliver import send_all
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_media
from posthorn.delivery.running.run import open_run
from posthorn.delivery.settling.catchup import catch_up_campaign, catch_up_event
from posthorn.delivery.settling.report import pull_reports_of
from posthorn.delivery.settling.withdraw import cancel_delivery
from posthorn.errors import Stopped
from posthorn.ledger import deliveries, tickets
from posthorn.ledger.marks import marks_folder
from posthorn.ledger.resolving import RESENDABLE, Which, resend
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind
from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.settings import Settings
from tests.conftest import sandbox_settings
from tests.delivery.event_journey import attendees, send_event, ticket_settings, write_event
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign
from tests.delivery.settling.test_restore_check import copy_of, empty_ledger, forget_marks, half_sent, restore

SEND, REPORTS = "messages/send_mms", "messages/reports"


def quick(url: str, folder: Path, **more: object) -> Settings:
    return sandbox_settings(url, folder, **{"concurrency": 1, "settle_seconds": 0.1, "timeout_seconds": 2, **more})


def in_environment(settings: Settings, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__BASE_URL", box.url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__TOKEN", "sandbox-token")


async def test_second_copies_that_are_known_are_no_reason_to_refuse_the_next_campaign(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weekly campaign: a copy of last week's would be booked as this week's, and its person would get nothing."""
    settings = quick(box.url, tmp_path)
    in_environment(settings, box, monkeypatch)
    box.faults.replace([{"call": SEND, "fault": "late", "at": [3], "seconds": 3600}])
    await deliver(write_campaign(tmp_path, numbers(200), resend_unconfirmed="true"), settings)
    await box.release_late()
    box.faults.replace([])
    await pull_reports_of("sale")
    assert status_of("sale", settings)["second_copies"] == 50
    status = await deliver(write_campaign(tmp_path, numbers(200), name="next", allow_repeat="true"), settings)
    assert counted(status) == {"accepted": 200}, status["because"]


async def test_a_message_that_may_be_another_campaigns_is_no_reason_to_refuse_this_one(tmp_path: Path) -> None:
    """Last week's answer was lost, and its title is listed cut: those messages stay unknown there, and are not ours."""
    async with Sandbox(speed=1, serwersms=SerwerSmsOptions(titles="cut")) as box:
        settings = quick(box.url, tmp_path)
        box.faults.replace([{"call": SEND, "fault": "reset_after", "at": [1]}])
        assert counted(await deliver(write_campaign(tmp_path, numbers(200)), settings)) == {"accepted": 150, "unknown": 50}
        box.faults.replace([])
        again = write_campaign(tmp_path, numbers(200), name="next", allow_repeat="true")
        status = await deliver(again, settings)
        assert counted(status) == {"accepted": 200}, status["because"]


@pytest.mark.parametrize("ahead", [7200, -7200])
async def test_the_sample_sees_what_is_dated_by_another_clock(ahead: int, tmp_path: Path) -> None:
    async with Sandbox(speed=1, skew_seconds=ahead) as box:
        settings = quick(box.url, tmp_path)
        empty_ledger(settings)
        copy = copy_of(settings, tmp_path)
        file = write_campaign(tmp_path, numbers(100))
        assert counted(await deliver(file, settings)) == {"accepted": 100}
        restore(settings, copy)
        forget_marks(settings)
        assert (await deliver(file, settings))["state"] == "stopped"
        assert (box.truth()["accepted"], box.truth()["twice"]) == (100, 0)
        assert (await catch_up_campaign("sale", settings=settings)).pending == 0


@pytest.mark.parametrize("fault", [{"fault": "page_empty", "every": 2}, {"fault": "no_ids", "items": 5}])
async def test_a_listing_that_moves_makes_nobody_pending(fault: dict[str, object], tmp_path: Path) -> None:
    """Without a mark the listing alone says who was sent to. One that is never steady may have left somebody out."""
    async with Sandbox(speed=1, serwersms=SerwerSmsOptions(page_size=20)) as box:
        settings = quick(box.url, tmp_path)
        empty_ledger(settings)
        copy = copy_of(settings, tmp_path)
        file = write_campaign(tmp_path, numbers(200))
        await deliver(file, settings)
        restore(settings, copy)
        forget_marks(settings)
        assert (await deliver(file, settings))["state"] == "stopped"
        box.faults.replace([{"call": REPORTS, **fault}])
        done = await catch_up_campaign("sale", settings=settings)
        box.faults.replace([])
        assert done.pending == 0
        assert counted(await deliver(file, settings)) == {"accepted": 200}
        assert (box.truth()["accepted"], box.truth()["twice"]) == (200, 0)


async def test_a_forgotten_repeat_of_a_ticket_makes_no_other_unknown(box: Sandbox, tmp_path: Path) -> None:
    """A ticket that the copy holds for sent had been sent again on purpose: it is clear whom that request was for."""
    settings = ticket_settings(box.url, tmp_path, concurrency=1)
    file = write_event(tmp_path, attendees(30))
    box.faults.replace([{"call": "sendMMSBarcode", "at": [13], "fault": "status_before", "status": 401}])
    assert counted(await send_event(file, settings))["accepted"] == 12
    box.faults.replace([])
    copy = copy_of(settings, tmp_path)
    ledger = Ledger(settings.database_url)
    event = deliveries.get(ledger, "gala")
    (first, *_) = tickets.all_tickets(ledger, event)
    assert resend(ledger, event, Which([first.phone]), RESENDABLE, by="ops", why="lost").moved == 1
    ledger.close()
    box.faults.replace([{"call": "sendMMSBarcode", "at": [2], "fault": "status_before", "status": 401}])
    await send_event(file, settings)
    box.faults.replace([])
    restore(settings, copy)
    assert (await send_event(file, settings))["state"] == "stopped"
    done = catch_up_event("gala", settings=settings)
    assert (done.unknown, done.pending) == (1, 17)
    assert counted(await send_event(file, settings)) == {"accepted": 29, "unknown": 1}


async def test_a_cancel_by_a_ledger_that_has_forgotten_says_so_and_then_withdraws_all(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would call never sent what the provider keeps, and would withdraw nothing of it."""
    settings = quick(box.url, tmp_path)
    in_environment(settings, box, monkeypatch)
    empty_ledger(settings)
    file = write_campaign(tmp_path, numbers(200), hold_minutes="15")
    plan_file(file, settings)
    copy = copy_of(settings, tmp_path)
    assert counted(await deliver(file, settings)) == {"scheduled": 200}
    restore(settings, copy)
    with pytest.raises(Stopped, match="`posthorn campaign reconcile sale --pending`, then cancel it"):
        await cancel_delivery(Kind.CAMPAIGN, "sale")
    assert counted(await deliver(file, settings)) == {"pending": 200}, "what was cancelled is not sent, either"
    await catch_up_campaign("sale", settings=settings)
    done = await cancel_delivery(Kind.CAMPAIGN, "sale")
    assert (done.never_sent, done.withdrawn, done.still_scheduled) == (0, 200, 0)


async def test_a_ledger_that_has_caught_up_says_what_to_do_now(box: Sandbox, tmp_path: Path) -> None:
    settings = quick(box.url, tmp_path)
    empty_ledger(settings)
    copy = copy_of(settings, tmp_path)
    file = await half_sent(box, settings, tmp_path)
    restore(settings, copy)
    assert "--pending" in (await deliver(file, settings))["because"]
    assert (await catch_up_campaign("sale", settings=settings)).pending == 350
    because = status_of("sale", settings)["because"]
    assert "--pending" not in because
    assert "send it again" in because


@pytest.mark.parametrize("is_restored", [True, False])
async def test_what_is_more_than_the_provider_shows_at_once_is_asked_in_parts(
    is_restored: bool, box: Sandbox, tmp_path: Path
) -> None:
    """By the sample and by its way on, and by a lookup: else neither would ever come to an end."""
    settings = quick(box.url, tmp_path)
    empty_ledger(settings)
    copy = copy_of(settings, tmp_path)
    file = write_campaign(tmp_path, numbers(200))
    too_many = {"call": REPORTS, "fault": "error_code", "code": 3331, "at": [1, 2]}
    box.faults.replace([{"call": SEND, "fault": "reset_after", "at": [3]}] if not is_restored else [])
    async with open_run(plan_file(file, settings).name, settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        await send_all(run)
    box.faults.replace([too_many])
    if is_restored:
        restore(settings, copy)
        forget_marks(settings)
        assert "lists a message like this one for 200" in (await deliver(file, settings))["because"]
        box.faults.replace([too_many])
        assert (await catch_up_campaign("sale", settings=settings)).found == 200
    else:
        await deliver(file, settings)
    assert counted(status_of("sale", settings)) == {"accepted": 200}
    assert box.truth()["twice"] == 0


async def test_a_damaged_mark_is_named_with_the_way_on(box: Sandbox, tmp_path: Path) -> None:
    settings = quick(box.url, tmp_path)
    file = await half_sent(box, settings, tmp_path)
    (mark,) = marks_folder(None).glob("*/*.mark")
    mark.write_bytes(mark.read_bytes() + b"\nclaim 7 1 somebody yesterday 50 0123456789abcdef .")
    sent = box.truth()["accepted"]
    because = (await deliver(file, settings))["because"]
    assert str(mark) in because
    assert "move it away" in because
    assert box.truth()["accepted"] == sent
    mark.rename(mark.with_suffix(".damaged"))
    assert (await catch_up_campaign("sale", settings=settings)).pending == 400
    assert counted(await deliver(file, settings)) == {"accepted": 500}


@pytest.mark.parametrize("host", ["front desk", "a/b", "büro"])
async def test_whatever_a_machine_is_called_its_claims_are_told(
    host: str, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    settings = quick(box.url, tmp_path)
    file = await half_sent(box, settings, tmp_path)
    copy = copy_of(settings, tmp_path)
    assert counted(await deliver(file, settings)) == {"accepted": 500}
    restore(settings, copy)
    assert "is older than what was sent" in (await deliver(file, settings))["because"]
