"""What needs a person's word, and what their word is good for: for exactly what was shown, and for nothing else."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from posthorn.delivery.deciding import approval
from posthorn.delivery.deciding.approval import refuse_refused
from posthorn.delivery.deliver import send_all
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_media
from posthorn.delivery.running.run import open_run
from posthorn.errors import InputError, Stopped
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings, load_settings
from posthorn.views.question import Question
from tests.delivery.journey import counted, deliver, numbers, question_of, status_of, write_campaign


@pytest.fixture(autouse=True)
def _settings_of_the_environment(box: Sandbox, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATABASE_URL": settings.database_url,
        "STATE_DIR": str(tmp_path),
        "SERWERSMS__BASE_URL": box.url,
        "SERWERSMS__TOKEN": "sandbox-token",
        "SERWERSMS__CHUNK_SIZE": "50",
        "SERWERSMS__TIMEOUT_SECONDS": "2",
        "SERWERSMS__SETTLE_SECONDS": "2",
    }.items():
        monkeypatch.setenv(f"POSTHORN_{name}", value)


def planned(folder: Path, **keys: object) -> Path:
    file = write_campaign(folder, numbers(120), **{"approve": "true", **keys})
    plan_file(file, load_settings())
    return file


def with_key(file: Path, line: str) -> Path:
    file.write_text(f"{file.read_text(encoding='utf-8')}{line}\n", encoding="utf-8")
    return file


async def asked() -> Question | None:
    """In a thread: what is shown includes the credit, which the provider is asked for."""
    return await asyncio.to_thread(question_of, "sale")


async def test_what_asks_for_a_word_is_asked_about_until_it_is_given(tmp_path: Path) -> None:
    planned(tmp_path)
    question = await asked()
    assert question is not None
    approval.decide("sale", approved=True, by="Ada", content=question.content)
    assert await asked() is None
    assert status_of("sale", load_settings())["because"] is None


@pytest.mark.parametrize(("above", "is_asked"), [("119", True), ("120", False)])
async def test_the_rule_of_the_house_is_for_more_than_so_many(
    above: str, is_asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_APPROVE_ABOVE", above)
    planned(tmp_path, approve="false")
    assert (await asked() is not None) == is_asked


async def test_hours_beyond_those_of_the_house_are_asked_about_and_hold_once_approved(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_SEND_HOURS", "Mon-Fri 08:00-20:00")
    file = planned(tmp_path, approve="false", send_hours='"Mon-Fri 08:00-22:00"')
    late = datetime(2099, 11, 27, 21, tzinfo=ZoneInfo("Europe/Warsaw")).timestamp()
    question = await asked()
    assert question is not None
    assert "Mon-Fri 08:00-22:00 (Europe/Warsaw), beyond those of the house (Mon-Fri 08:00-20:00)" in question.as_text()
    assert (await deliver(file, load_settings(), clock=lambda: late))["state"] == "waiting", "nobody has said yes"
    approval.decide("sale", approved=True, by="Ada", content=question.content)
    assert await asked() is None
    assert (await deliver(file, load_settings(), clock=lambda: late))["state"] == "finished"


async def test_a_test_is_never_asked_about(tmp_path: Path) -> None:
    planned(tmp_path, test="true")
    assert await asyncio.to_thread(question_of, "sale", test=True) is None


def switch_an_option(folder: Path) -> None:
    """An option of the file, after the question was shown: the ledger takes it over when the file is planned again."""
    plan_file(with_key(folder / "sale.toml", "resend_unconfirmed = true"), load_settings())


async def test_a_decision_on_what_was_not_shown_is_refused(tmp_path: Path) -> None:
    planned(tmp_path)
    question = await asked()
    assert question is not None
    switch_an_option(tmp_path)
    with pytest.raises(InputError, match="it has changed since it was shown"):
        approval.decide("sale", approved=True, by="Ada", content=question.content)
    again = await asked()
    assert again is not None
    assert again.content != question.content


async def test_an_approval_is_for_what_was_shown_only(tmp_path: Path) -> None:
    planned(tmp_path)
    approval.decide("sale", approved=True, by="Ada")
    assert await asked() is None
    switch_an_option(tmp_path)
    assert await asked() is not None


async def test_approve_itself_is_no_content(tmp_path: Path) -> None:
    file = planned(tmp_path)
    approval.decide("sale", approved=True, by="Ada")
    file.write_text(file.read_text(encoding="utf-8").replace("approve = true", "approve = false"), encoding="utf-8")
    plan_file(file, load_settings())
    assert await asked() is None


async def test_who_was_refused_is_asked_about_again_although_the_file_asks_for_no_word(tmp_path: Path) -> None:
    planned(tmp_path, approve="false")
    assert await asked() is None
    approval.decide("sale", approved=False, by="Boss", note="wrong day")
    assert await asked() is not None
    assert approval.was_refused("sale")
    approval.decide("sale", approved=True, by="Boss")
    assert await asked() is None
    assert not approval.was_refused("sale")


async def test_a_run_that_was_refused_in_the_moment_before_it_began_sends_nothing(box: Sandbox, tmp_path: Path) -> None:
    planned(tmp_path)
    approval.decide("sale", approved=False, by="Boss", note="wrong day")
    with pytest.raises(Stopped, match="not approved by Boss: wrong day"):
        async with open_run("sale") as run:
            await refuse_refused(run)
    assert box.truth()["send_requests"] == 0


async def test_rows_that_another_process_merged_in_the_moment_before_a_run_began_are_not_sent_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_APPROVE_ABOVE", "150")
    planned(tmp_path, approve="false")
    assert await asked() is None, "from here on a run would send"
    write_campaign(tmp_path, numbers(400), approve="false")
    plan_file(tmp_path / "sale.toml", load_settings())
    with pytest.raises(Stopped, match="merged rows that somebody has to approve; nothing was sent"):
        async with open_run("sale") as run:
            await refuse_refused(run)
    approval.decide("sale", approved=True, by="Boss")
    async with open_run("sale") as run:
        await refuse_refused(run)


async def test_a_refusal_stops_who_is_sending(box: Sandbox, tmp_path: Path) -> None:
    planned(tmp_path)
    async with open_run("sale") as run:
        await upload_media(run)
        await verify_media(run)
        approval.decide("sale", approved=False, by="Boss")
        await send_all(run)
        assert box.truth()["send_requests"] == 0
        assert "not approved by Boss" in str(run.stopped)


async def test_sending_unknown_ones_again_needs_a_word_of_its_own(box: Sandbox, tmp_path: Path) -> None:
    file = planned(tmp_path, approve="false")
    box.faults.replace([{"call": "messages/send_mms", "at": [1], "fault": "close_before"}])
    assert counted(await deliver(file, load_settings())) == {"accepted": 70, "unknown": 50}
    assert await asked() is None, "nothing may be sent again"
    plan_file(with_key(file, "resend_unconfirmed = true\n"), load_settings())
    file.write_text(file.read_text(encoding="utf-8").replace("approve = false", "approve = true"), encoding="utf-8")
    plan_file(file, load_settings())
    question = await asked()
    assert question is not None
    assert "50 of unknown outcome" in question.as_text()


@pytest.mark.parametrize("by", ["", "   "])
async def test_a_decision_has_a_name(by: str, tmp_path: Path) -> None:
    planned(tmp_path)
    with pytest.raises(InputError, match="say who decides"):
        approval.decide("sale", approved=True, by=by)


async def test_what_is_sent_needs_no_decision(tmp_path: Path) -> None:
    file = planned(tmp_path, approve="false")
    await deliver(file, load_settings())
    with pytest.raises(InputError, match="nothing of it is left to send"):
        approval.decide("sale", approved=True, by="Ada")


def test_another_content_under_the_name_is_asked_about_anew(tmp_path: Path) -> None:
    planned(tmp_path)
    approval.decide("sale", approved=True, by="Ada")
    assert question_of("sale") is None
    plan_file(write_campaign(tmp_path, numbers(120), approve="true", text='"-40%"'), load_settings())
    question = question_of("sale")
    assert question is not None
    assert ("text", "-40%") in question.rows


@pytest.mark.parametrize(("above", "more", "is_asked"), [("50", 50, False), ("50", 51, True), (None, 1, True)])
def test_an_approval_covers_what_was_planned_then(
    above: str | None, more: int, is_asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a rule of the house a file that asks for an approval asks for every wave."""
    if above is not None:
        monkeypatch.setenv("POSTHORN_APPROVE_ABOVE", above)
    planned(tmp_path)
    approval.decide("sale", approved=True, by="Ada")
    assert question_of("sale") is None
    for count in (120 + more // 2, 120 + more):
        plan_file(write_campaign(tmp_path, numbers(count), approve="true"), load_settings())
    assert (question_of("sale") is not None) == is_asked
    if is_asked:
        approval.decide("sale", approved=True, by="Ada")
        assert question_of("sale") is None
