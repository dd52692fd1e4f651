"""What a person decides about an event as about a campaign: its approval before the first ticket, its end."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest

from posthorn.cli import command
from posthorn.delivery.deciding import approval
from posthorn.delivery.deciding.approval import refuse_refused
from posthorn.delivery.planning.check import check_event
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.running.run import open_ticket_run
from posthorn.delivery.settling.withdraw import cancel_delivery
from posthorn.errors import DeliveryNotFound, InputError, Stopped
from posthorn.models import Kind
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings, SettingsError, load_settings
from posthorn.views.checked import check_json, check_text
from posthorn.views.question import question_now
from tests.delivery.event_journey import attendees, send_event, ticket_settings, write_event
from tests.delivery.journey import counted, question_of, status_of


@pytest.fixture
def settings(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'ledger.db'}",
        "STATE_DIR": str(tmp_path),
        "SKYCORE__BASE_URL": f"{box.url}/API/wxml/1.3/index.php",
        "SKYCORE__API_KEY": "sandbox-key",
        "SKYCORE__PRICE_PER_MESSAGE": "0.35",
        "APPROVE_ABOVE": "9",
    }.items():
        monkeypatch.setenv(f"POSTHORN_{name}", value)
    return load_settings()


def planned(folder: Path, count: int = 10, **keys: object) -> Path:
    file = write_event(folder, attendees(count), **keys)
    plan_file(file, load_settings(), kind=Kind.EVENT)
    return file


def test_a_large_event_is_asked_about_with_what_it_sends_and_costs(settings: Settings, tmp_path: Path) -> None:
    planned(tmp_path, custom_subject='"For you"')
    question = question_of("gala")
    assert question is not None
    rows = dict(question.rows)
    assert (rows["event"], rows["stored MMS"], rows["from"], rows["subject"]) == ("gala", "35674", "60856", "For you")
    assert (rows["tickets to send"], rows["cost"]) == ("10 of 10 rows", "3.50 (10 at 0.35)")
    assert status_of("gala", settings)["because"].endswith("`posthorn tickets approve gala`")
    approval.decide("gala", approved=True, by="Ada", content=question.content)
    assert question_of("gala") is None


@pytest.mark.parametrize(("count", "keys", "asks"), [(9, {}, False), (9, {"approve": "true"}, True), (10, {}, True)])
def test_who_has_to_be_asked(count: int, keys: dict[str, str], asks: bool, settings: Settings, tmp_path: Path) -> None:
    checked = check_event(write_event(tmp_path, attendees(count), **keys))
    assert ("approval" in [one.code for one in checked.warnings]) == asks
    planned(tmp_path, count, **keys)
    assert (question_of("gala") is not None) == asks


def test_the_check_says_what_it_costs(settings: Settings, tmp_path: Path) -> None:
    checked = check_event(write_event(tmp_path, attendees(4)))
    assert Decimal(json.loads(check_json(checked))["cost"]) == Decimal("1.40")
    assert "1.40 (4 at 0.35)" in check_text(checked)


async def test_an_event_that_was_refused_sends_nothing(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    file = planned(tmp_path)
    approval.decide("gala", approved=False, by="Boss", note="wrong hall")
    with pytest.raises(Stopped, match="not approved by Boss: wrong hall"):
        async with open_ticket_run("gala", settings=settings) as run:
            await refuse_refused(run)
    assert box.truth()["send_requests"] == 0
    approval.decide("gala", approved=True, by="Boss")
    assert counted(await send_event(file, settings)) == {"accepted": 10}


def test_send_without_a_terminal_waits_for_a_word(
    box: Sandbox,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a run was started, and would wait for a word")

    monkeypatch.setattr("posthorn.cli.runs.send", refused)
    file = write_event(tmp_path, attendees(10))
    assert command(["tickets", "send", str(file)]) == 3
    said = capsys.readouterr().err
    assert "nothing was sent: gala waits for approval; `posthorn tickets approve gala`" in said
    assert command(["tickets", "approve", "gala", "--yes", "--by", "Ada"]) == 0
    assert "gala: approved by Ada; `posthorn tickets send` sends it" in capsys.readouterr().err
    assert question_of("gala") is None


@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
def test_an_export_to_a_dash_is_refused_with_the_way_on(
    option: str, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert command(["tickets", "export", "gala", option, "-"]) == 2
    assert "/dev/stdout" in capsys.readouterr().err
    assert not Path("-").exists()


async def test_a_cancelled_event_sends_nothing_more(box: Sandbox, tmp_path: Path, settings: Settings) -> None:
    box.faults.replace([{"call": "sendMMSBarcode", "at": [4], "fault": "error_code", "code": "E713"}])
    file = write_event(tmp_path, attendees(9))
    few = ticket_settings(box.url, tmp_path, concurrency=1)
    assert counted(await send_event(file, few)) == {"accepted": 3, "pending": 6}
    done = await cancel_delivery(Kind.EVENT, "gala")
    assert (done.never_sent, done.went_out, done.withdrawn, done.problem) == (6, 3, 0, None)
    assert status_of("gala", settings)["state"] == "cancelled"
    box.faults.replace([])
    with pytest.raises(InputError, match="was cancelled for good"):
        await send_event(file, few)
    assert counted(status_of("gala", settings)) == {"accepted": 3, "cancelled": 6}
    assert box.truth()["skycore"]["accepted"] == 3


async def test_without_its_key_an_event_is_not_cancelled_by_half(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(tmp_path)
    monkeypatch.delenv("POSTHORN_SKYCORE__API_KEY")
    with pytest.raises(SettingsError, match="POSTHORN_SKYCORE__API_KEY, which is not set"):
        await cancel_delivery(Kind.EVENT, "gala")
    assert counted(status_of("gala", settings)) == {"pending": 10}


async def test_what_was_lost_of_a_cancelled_event_is_never_pending_again(
    box: Sandbox, tmp_path: Path, settings: Settings
) -> None:
    box.faults.replace([{"call": "sendMMSBarcode", "at": [2], "fault": "reset_before"}])
    file = write_event(tmp_path, attendees(3))
    assert counted(await send_event(file, settings)) == {"accepted": 2, "unknown": 1}
    await cancel_delivery(Kind.EVENT, "gala")
    assert await asyncio.to_thread(resolved, "--not-sent") == 0
    assert counted(status_of("gala", settings)) == {"accepted": 2, "cancelled": 1}


def resolved(word: str) -> int:
    from posthorn.delivery.deciding.resolve import resolve  # noqa: PLC0415

    return resolve(Kind.EVENT, "gala", taken=word == "--sent", by="Ada", why="asked").unknown


async def test_each_kind_is_cancelled_and_approved_by_its_own_command(settings: Settings, tmp_path: Path) -> None:
    planned(tmp_path)
    with pytest.raises(DeliveryNotFound, match="gala is an event, not a campaign"):
        await cancel_delivery(Kind.CAMPAIGN, "gala")
    with pytest.raises(DeliveryNotFound, match="gala is an event, not a campaign"):
        question_now(Kind.CAMPAIGN, "gala")
