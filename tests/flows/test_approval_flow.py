"""Approval: a campaign waits for a person, in the form of the UI or at the terminal, whose word is for what they saw."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.artifacts import Artifact
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.flow_engine import run_flow_async
from prefect.flow_runs import apause_flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Pending

from flows.campaign import send_campaign
from flows.share import send_share
from posthorn.cli.runs import resume_paused
from posthorn.delivery.deciding.approval import REFUSE, SEND, decide
from posthorn.delivery.deliver import send_all
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_media
from posthorn.delivery.running.run import open_helper, open_run
from posthorn.sandbox.server import Sandbox
from posthorn.settings import load_settings
from posthorn.views.status import status_now
from tests.commands import Desk, Ended
from tests.delivery.journey import counted, numbers, write_campaign
from tests.delivery.waiting import until

WAIT_SECONDS = 60.0


@asynccontextmanager
async def waiting(file: Path, prefect: PrefectClient) -> AsyncIterator[tuple[FlowRun, asyncio.Task[State[Any]]]]:
    """A run of the campaign, once it is paused."""
    running = asyncio.create_task(send_campaign(str(file), return_state=True))
    try:
        yield await paused_run(prefect, f"campaign {file.name}", running), running
    finally:
        running.cancel()


async def paused_run(prefect: PrefectClient, name: str, running: asyncio.Task[State[Any]]) -> FlowRun:
    paused = FlowRunFilter(
        name=FlowRunFilterName(any_=[name]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])),
    )
    async with asyncio.timeout(WAIT_SECONDS):
        while not running.done():
            if runs := await prefect.read_flow_runs(flow_run_filter=paused):
                return runs[0]
            await asyncio.sleep(0.1)
    raise AssertionError(f"it did not wait: {running.result()}")


async def say(prefect: PrefectClient, run: FlowRun, **said: object) -> str:
    """What a person fills into the form; ``approve`` is short for a decision."""
    if "approve" in said:
        said["decision"] = SEND if said.pop("approve") else REFUSE
    answer = await prefect.resume_flow_run(run.id, run_input=said)
    return answer.status.value


async def at_the_terminal(folder: Path, *words: str) -> Ended:
    """A command of the product in a process of its own, on the same Prefect server."""
    ours = {name: value for name, value in os.environ.items() if name.startswith("POSTHORN_")}
    desk = Desk(folder, {**ours, "PREFECT_API_URL": PREFECT_API_URL.value()})
    return await asyncio.to_thread(desk.run, *words)


def asks_first(tmp_path: Path, name: str, **keys: object) -> Path:
    return write_campaign(tmp_path, [*numbers(120), "12"], name=name, approve="true", **keys)


async def test_a_person_sees_what_will_happen_and_approves_in_the_form(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_SERWERSMS__PRICE_PER_MESSAGE", "0.25")
    box.serwersms.set_credit(700, None)
    file = asks_first(tmp_path, "form")
    async with waiting(file, prefect) as (run, running):
        shown = await Artifact.get("approval-form")
        assert shown is not None
        for words in ("120 of 121 rows", "30.00 (120 at 0.25)", "700 messages", "form.rejects.csv", "poster.png"):
            assert words.replace(".", "\\.").replace("(", "\\(").replace(")", "\\)") in str(shown.data), words
        assert "](data:image/jpeg;base64," in str(shown.data), "the picture itself"
        assert "\n# form: send it?" in f"\n{shown.data}"
        assert "waiting" in str((await Artifact.aget("campaign-form")).description)
        status = status_now("form")
        assert (status["state"], status["totals"]["pending"]) == ("waiting", 120)
        assert "waits for approval since" in status["because"]
        assert box.truth()["send_requests"] == 0

        assert await say(prefect, run) == "REJECT", "nobody is named"
        assert await say(prefect, run, approve=True, name="Ada", note="go") == "ACCEPT"
        assert (await running).name == "Completed"
    assert counted(status_now("form")) == {"invalid": 1, "accepted": 120}


async def test_what_waits_cannot_be_sent_by_a_share(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    async with waiting(asks_first(tmp_path, "shared"), prefect):
        state = await send_share("shared", return_state=True)
    assert (state.name, state.message) == ("NotRunning", "nobody runs shared, so there is no run to help; nothing was sent")
    assert box.truth()["send_requests"] == 0


@pytest.mark.parametrize("note", ["wrong poster", ""])
async def test_silence_decides_nothing_and_a_no_is_a_no(
    note: str, box: Sandbox, tmp_path: Path, prefect: PrefectClient
) -> None:
    async with waiting(asks_first(tmp_path, "refused"), prefect) as (run, running):
        assert await say(prefect, run, name="Ada") == "REJECT", "nothing was chosen"
        assert await say(prefect, run, approve=False, name="Ada", **({"note": note} if note else {})) == "ACCEPT"
        async with asyncio.timeout(WAIT_SECONDS):
            state = await running
    because = "not approved by Ada" + (f": {note}" if note else "")
    assert (state.name, state.message) == ("NotApproved", f"{because}. Nothing was sent")
    assert box.truth()["send_requests"] == 0
    status = status_now("refused")
    assert (status["state"], status["because"]) == ("stopped", because)


async def test_a_word_at_the_terminal_wakes_the_run(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    async with waiting(asks_first(tmp_path, "terminal"), prefect) as (_, running):
        ended = await at_the_terminal(tmp_path, "campaign", "approve", "terminal", "--by", "Bo", "--yes")
        assert "terminal: approved by Bo; 1 waiting flow run goes on" in ended.err
        assert (await running).name == "Completed"
    assert box.truth()["accepted"] == 120


async def test_a_word_that_comes_before_the_run_waits_for_it_is_not_lost(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pause_late(**options: Any) -> Any:
        waiting = decide("early", approved=True, by="Bo")
        waking = asyncio.create_task(
            asyncio.to_thread(resume_paused, load_settings(), waiting, approve=True, by="Bo", note="")
        )
        done, _ = await asyncio.wait({waking}, timeout=1)
        assert not done
        answer = await apause_flow_run(**options)
        assert await waking == 1
        return answer

    monkeypatch.setenv("PREFECT_API_URL", PREFECT_API_URL.value())
    monkeypatch.setattr("flows.approval.apause_flow_run", pause_late)
    async with asyncio.timeout(WAIT_SECONDS):
        assert (await send_campaign(str(asks_first(tmp_path, "early")), return_state=True)).name == "Completed"
    assert box.truth()["accepted"] == 120


async def test_a_refusal_counts_where_nobody_had_to_be_asked(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    file = write_campaign(tmp_path, numbers(120), name="no")
    plan_file(file, load_settings())
    decide("no", approved=False, by="Boss", note="wrong day")
    ended = await at_the_terminal(tmp_path, "campaign", "send", str(file))
    assert ended.code == 3, ended.err
    async with waiting(file, prefect) as (run, running):
        assert box.truth()["send_requests"] == 0
        await say(prefect, run, approve=False, name="Bo", note="still the wrong day")
        assert (await running).name == "NotApproved"
        assert status_now("no")["because"] == "not approved by Bo: still the wrong day"


async def test_a_refusal_stops_a_run(box: Sandbox, tmp_path: Path) -> None:
    box.latency_seconds = 0.2
    file = write_campaign(tmp_path, numbers(2000), name="stop")
    running = asyncio.create_task(send_campaign(str(file), return_state=True))
    await until(lambda: box.truth()["accepted"] > 0, WAIT_SECONDS)
    decide("stop", approved=False, by="Boss", note="stop it")
    state = await running
    assert state.name == "Stopped"
    assert "not approved by Boss: stop it" in (state.message or "")
    assert 0 < box.truth()["accepted"] < 2000


async def test_a_refusal_stops_a_share_whose_run_has_died(box: Sandbox, tmp_path: Path) -> None:
    name = plan_file(write_campaign(tmp_path, numbers(500), name="orphan"), load_settings()).name
    async with open_run(name) as run:
        await upload_media(run)
        await verify_media(run)
        helping = open_helper(name)
        helper = await helping.__aenter__()
    decide(name, approved=False, by="Boss")
    await send_all(helper)
    await helping.__aexit__(None, None, None)
    assert box.truth()["send_requests"] == 0


async def test_a_refusal_keeps_nobody_from_looking_up_what_is_unknown(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": "messages/send_mms", "at": [1], "fault": "reset_after"}])
    file = write_campaign(tmp_path, numbers(50), name="last")
    box.latency_seconds = 0.5
    running = asyncio.create_task(send_campaign(str(file), return_state=True))
    await until(lambda: box.truth()["send_requests"] > 0, WAIT_SECONDS)
    decide("last", approved=False, by="Boss")
    await running
    assert (await send_campaign(str(file), return_state=True)).name == "Completed"
    assert counted(status_now("last")) == {"accepted": 50}


async def test_a_refusal_holds_for_what_was_refused_with_429(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_SERWERSMS__TIMEOUT_SECONDS", "3")
    monkeypatch.setenv("POSTHORN_SERWERSMS__SETTLE_SECONDS", "3")
    box.faults.replace(
        [{"call": "messages/send_mms", "at": [1], "fault": "status_before", "status": 429, "retry_after": "0"}]
    )
    file = write_campaign(tmp_path, numbers(50), name="slow")
    running = asyncio.create_task(send_campaign(str(file), return_state=True))
    await until(lambda: box.truth()["requests"].get("messages/reports", 0) > 0, WAIT_SECONDS)
    decide("slow", approved=False, by="Boss")
    await running
    assert box.truth()["accepted"] == 0
    await asyncio.sleep(3)  # from here on, a look could prove that it was not taken
    async with waiting(file, prefect):
        assert box.truth()["accepted"] == 0


async def test_a_refusal_in_the_moment_before_the_run_is_heard(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused_at_once(name: str, **_: object) -> bool:
        decide(name, approved=False, by="Boss")
        return False

    monkeypatch.setattr("flows.campaign.approved", refused_at_once)
    state = await send_campaign(str(write_campaign(tmp_path, numbers(120), name="late")), return_state=True)
    assert (state.name, box.truth()["send_requests"]) == ("Stopped", 0)
    assert "not approved by Boss" in (state.message or "")


async def test_sending_again_what_is_unknown_is_asked_about(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_SERWERSMS__TIMEOUT_SECONDS", "2")
    monkeypatch.setenv("POSTHORN_SERWERSMS__SETTLE_SECONDS", "2")
    box.faults.replace([{"call": "messages/send_mms", "at": [1], "fault": "close_before"}])
    file = asks_first(tmp_path, "again")
    plan_file(file, load_settings())
    decide("again", approved=True, by="Ada")
    assert (await send_campaign(str(file), return_state=True)).name == "NeedsAttention"
    assert box.truth()["accepted"] == 70
    file.write_text(f"{file.read_text()}resend_unconfirmed = true\n")
    async with waiting(file, prefect) as (run, running):
        shown = await Artifact.get("approval-again")
        assert shown is not None
        assert "50 of unknown outcome" in str(shown.data)
        await say(prefect, run, approve=True, name="Ada")
        assert (await running).name == "Completed"
    assert box.truth()["accepted"] == 120


async def test_a_waiting_run_that_was_deleted_keeps_no_other_from_waking(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", PREFECT_API_URL.value())
    async with waiting(asks_first(tmp_path, "two"), prefect) as (run, running):
        decide("two", approved=True, by="Bo")
        ids = [str(uuid4()), str(run.id)]
        assert await asyncio.to_thread(resume_paused, load_settings(), ids, approve=True, by="Bo", note="") == 1
        assert (await running).name == "Completed"


async def test_a_run_that_is_retried_can_ask_again(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    file = asks_first(tmp_path, "retried")
    flow_run = await prefect.create_flow_run(send_campaign, parameters={"campaign_file": str(file)}, state=Pending())
    for said, name in (
        ({"name": "Ada", "approve": False, "note": "no"}, "NotApproved"),
        ({"name": "Bo", "approve": True}, "Completed"),
    ):
        running = asyncio.create_task(
            run_flow_async(send_campaign, flow_run=flow_run, parameters=flow_run.parameters, return_type="state")
        )
        run = await paused_run(prefect, f"campaign {file.name}", running)
        await say(prefect, run, **said)
        assert (await running).name == name
        await prefect.set_flow_run_state(flow_run.id, Pending(), force=True)
        flow_run = await prefect.read_flow_run(flow_run.id)
    assert box.truth()["accepted"] == 120


async def test_an_old_refusal_hides_no_later_reason_to_stop(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    file = asks_first(tmp_path, "later")
    async with waiting(file, prefect) as (run, running):
        await say(prefect, run, approve=False, name="Ada", note="wrong poster")
        await running
    file.write_text(file.read_text().replace("approve = true", "approve = false\nresend_unconfirmed = true"))
    box.faults.replace([{"call": "messages/send_mms", "fault": "error_code", "code": 1001}])
    state = await send_campaign(str(file), return_state=True)
    assert state.name == "Stopped"
    assert "1001" in status_now("later")["because"]


async def test_what_changes_after_it_was_shown_is_asked_about_again(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient
) -> None:
    file = asks_first(tmp_path, "option")
    async with waiting(file, prefect) as (run, running):
        file.write_text(file.read_text().replace('text = "-30%"', 'text = "-90%"') + "resend_unconfirmed = true\n")
        await say(prefect, run, approve=True, name="Ada")
        again = await paused_run(prefect, f"campaign {file.name}", running)
        assert box.truth()["send_requests"] == 0
        await say(prefect, again, approve=True, name="Ada")
        assert (await running).name == "Completed"
    assert box.truth()["accepted"] == 120


async def test_the_house_rule_asks_and_a_script_may_say_yes(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_APPROVE_ABOVE", "119")
    file = write_campaign(tmp_path, numbers(120), name="script")
    ended = await at_the_terminal(tmp_path, "campaign", "send", str(file))
    assert (ended.code, "posthorn campaign approve script" in ended.err) == (3, True), ended.err
    assert box.truth()["send_requests"] == 0
    ended = await at_the_terminal(tmp_path, "campaign", "send", str(file), "--yes")
    assert ended.code == 0, ended.err
    small = write_campaign(tmp_path, numbers(1000)[-119:], name="small")
    assert (await send_campaign(str(small), return_state=True)).name == "Completed", "not above the rule: nobody is asked"
    assert box.truth()["accepted"] == 239
