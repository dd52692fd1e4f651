"""The campaign flow on a real Prefect server: its end, what it shows, what it retries, what Prefect never gets to see."""

from __future__ import annotations

import asyncio
import functools
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterName
from prefect.client.schemas.objects import State
from prefect.logging.handlers import APILogHandler

from flows.campaign import send_campaign
from posthorn.delivery.deliver import send_all
from posthorn.delivery.running.run import open_run
from posthorn.sandbox.server import Sandbox
from posthorn.views.status import status_now
from tasks.deliver import STEPS
from tasks.plan import plan
from tasks.publish import publish
from tasks.report import report
from tasks.upload import upload
from tasks.verify import verify
from tests.delivery.journey import counted, numbers, write_campaign
from tests.flows.cards import states_in

SEND = "messages/send_mms"
WAIT_SECONDS = 30.0


async def run_flow(file: Path, **given: str) -> State[Any]:
    return await send_campaign(str(file), return_state=True, **given)


# What is wrong, and the final state: its name, its type, words of its message.
ENDINGS = {
    "nothing": ([], {}, "Completed", "COMPLETED", "all 120 rows accounted for"),
    "one answer lost, never taken": (
        [{"call": SEND, "at": [2], "fault": "reset_before"}],
        {},
        "NeedsAttention",
        "FAILED",
        "unknown: 50, rejected: 0",
    ),
    "one number refused": (
        [{"call": SEND, "at": [1], "fault": "item_error", "code": 3103}],
        {},
        "NeedsAttention",
        "FAILED",
        "unknown: 0, rejected: 1",
    ),
    "token wrong": ([], {"TOKEN": "wrong"}, "Stopped", "FAILED", "Sent: 0, not sent yet: 120. Next: "),
    "token expired midway": (
        [{"call": SEND, "at": [1], "fault": "error_code", "code": 1011}],
        {"CONCURRENCY": "1"},
        "Stopped",
        "FAILED",
        "1011",
    ),
}


async def test_it_is_sent_however_the_account_takes_its_files_and_stops_before_a_wrong_setting(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.serwersms.account.become({"upload": "base64", "account": "test"})
    file = write_campaign(tmp_path, numbers(120))
    monkeypatch.setenv("POSTHORN_SERWERSMS__UPLOAD", "multipart")
    stopped = await run_flow(file)
    assert stopped.name == "Stopped"
    assert "poster.png: SerwerSMS does not understand the file (as multipart: SerwerSMS error 2000" in str(stopped.message)
    assert "set POSTHORN_SERWERSMS__UPLOAD=auto" in str(stopped.message)
    monkeypatch.delenv("POSTHORN_SERWERSMS__UPLOAD")
    assert (await run_flow(file)).name == "Completed"
    assert counted(status_now("sale")) == {"accepted": 120}
    assert box.truth()["twice"] == 0


@pytest.mark.parametrize("case", ENDINGS)
async def test_the_final_state_says_how_it_ended(
    case: str, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, variables, name, kind, words = ENDINGS[case]
    for variable, value in variables.items():
        monkeypatch.setenv(f"POSTHORN_SERWERSMS__{variable}", value)
    box.faults.replace(faults)
    state = await run_flow(write_campaign(tmp_path, numbers(120)))
    assert (state.name, state.type.value) == (name, kind)
    assert words in (state.message or "")
    assert status_now("sale")["balanced"]
    assert box.truth()["twice"] == 0


async def test_the_totals_of_every_state_are_shown_on_a_card_and_add_up(box: Sandbox, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, [*numbers(100), "12", numbers(1)[0]], name="Autumn.2026")
    await run_flow(file)
    artifact = await Artifact.get("campaign-autumn-2026")
    assert artifact is not None
    assert (artifact.type, artifact.description) == ("markdown", "finished")
    assert states_in(str(artifact.data)) == {"invalid": 1, "duplicate": 1, "accepted": 100}
    assert "| sum | 102 | equals the input |" in str(artifact.data)
    assert status_now("Autumn.2026")["totals"]["input"] == 102


async def test_files_are_listed_before_the_first_send_and_uploaded_once(box: Sandbox, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, numbers(120))
    (tmp_path / "map.png").write_bytes((tmp_path / "poster.png").read_bytes() + b"another")
    file.write_text(file.read_text().replace('["poster.png"]', '["poster.png", "map.png"]'))
    await run_flow(file)
    calls = [str(entry["call"]) for entry in box.traffic.log()]
    last_upload = max(at for at, call in enumerate(calls) if call == "files/add")
    first_send = calls.index(SEND)
    assert calls.count("files/add") == 2
    assert "files/index" in calls[last_upload:first_send], "verified between the last upload and the first send"

    other = write_campaign(tmp_path, numbers(60), name="other")  # the same picture
    await run_flow(other)
    assert box.truth()["requests"]["files/add"] == 2, "an id known for the same content is used again"
    assert box.truth()["accepted"] == 180


async def test_a_second_run_sends_nothing(box: Sandbox, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, numbers(120))
    await run_flow(file)
    sends = box.truth()["send_requests"]
    assert (await run_flow(file)).name == "Completed"
    assert box.truth()["send_requests"] == sends
    assert box.truth()["requests"]["files/add"] == 1


async def test_credit_that_runs_out_stops_and_a_run_after_the_top_up_finishes(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "at": [2], "fault": "credit_midway", "items": 20}])
    file = write_campaign(tmp_path, numbers(200))
    stopped = await run_flow(file)
    status = status_now("sale")
    assert stopped.name == "Stopped"
    assert "3004" in status["because"]
    assert status["totals"]["pending"] >= 30
    assert status["totals"]["unknown"] == 0
    assert status["balanced"]

    assert (await run_flow(file)).name == "Completed"
    assert counted(status_now("sale")) == {"accepted": 200}
    assert (box.truth()["accepted"], box.truth()["twice"]) == (200, 0)


async def test_too_little_credit_is_found_before_anything_is_sent(box: Sandbox, tmp_path: Path) -> None:
    box.serwersms.set_credit(119, None)
    file = write_campaign(tmp_path, numbers(120))
    stopped = await run_flow(file)
    assert stopped.name == "Stopped"
    assert "119" in (stopped.message or "")
    assert box.truth()["send_requests"] == 0
    box.serwersms.set_credit(120, None)
    assert (await run_flow(file)).name == "Completed"


async def test_a_campaign_that_runs_elsewhere_is_left_alone(box: Sandbox, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, numbers(60))
    await run_flow(file)
    requests = dict(box.truth()["requests"])
    async with open_run("sale", by="ops@elsewhere, process 1"):
        state = await run_flow(file)
    assert (state.name, state.type.value) == ("AlreadyRunning", "COMPLETED")
    assert re.search(r"already running since 20.*, by ops@elsewhere, process 1", state.message or "")
    assert box.truth()["requests"] == requests


# A fault that will not pass by itself, of a call before the send: how often that call is made, and how it ends.
PERMANENT = {
    "token refused": ({"call": "files/index", "fault": "error_code", "code": 1001}, "files/index"),
    "permission missing": ({"call": "files/add", "fault": "error_code", "code": 3005}, "files/add"),
    "HTTP 401": ({"call": "account/limits", "fault": "status_before", "status": 401}, "account/limits"),
}


@pytest.mark.parametrize("case", PERMANENT)
async def test_what_will_not_pass_by_itself_is_asked_once(case: str, box: Sandbox, tmp_path: Path) -> None:
    rule, call = PERMANENT[case]
    box.faults.replace([rule])
    state = await run_flow(write_campaign(tmp_path, numbers(60)))
    assert state.name == "Stopped"
    assert box.truth()["requests"][call] == 1
    assert box.truth()["send_requests"] == 0


# A fault that passes, and the calls it may strike before a send.
PASSING = {
    "HTTP 500 to files/index": {"call": "files/index", "at": [1], "fault": "status_before", "status": 500},
    "reset during files/add": {"call": "files/add", "at": [1], "fault": "reset_after"},
    "busy (1010) at account/limits": {"call": "account/limits", "at": [1], "fault": "error_code", "code": 1010},
}


@pytest.mark.parametrize("case", PASSING)
async def test_what_passes_by_itself_is_tried_again(case: str, box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([PASSING[case]])
    state = await run_flow(write_campaign(tmp_path, numbers(60)))
    assert state.name == "Completed"
    assert sum(box.truth()["faults"].values()) == 1
    assert (box.truth()["accepted"], box.truth()["twice"]) == (60, 0)


async def test_an_unreachable_provider_is_tried_until_it_answers(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient
) -> None:
    file = write_campaign(tmp_path, numbers(60), name="unreachable")
    await box.stop()
    running = asyncio.create_task(run_flow(file))
    await a_task_waits_to_be_tried_again(prefect, flow_run_name=f"campaign {file.name}")
    await box.start()
    assert (await running).name == "Completed"
    assert (box.truth()["accepted"], box.truth()["twice"]) == (60, 0)


async def test_every_task_may_be_run_again_at_any_moment(box: Sandbox, tmp_path: Path) -> None:
    file = str(write_campaign(tmp_path, numbers(120)))

    @flow
    async def everything_twice() -> None:
        send_everything = functools.partial(send_all, steps=STEPS)
        for _ in range(2):
            name, test = await plan(file)
            async with open_run(name, test=test) as run:
                for task in (upload, verify, send_everything, report):
                    await task(run)
                    await task(run)
            for _ in range(2):
                await publish(name, test=test)

    await everything_twice()
    assert counted(status_now("sale")) == {"accepted": 120}
    truth = box.truth()
    assert (truth["accepted"], truth["twice"], truth["requests"]["files/add"]) == (120, 0, 1)
    assert truth["send_requests"] == 3


async def test_prefect_never_gets_to_see_a_phone_number(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient, prefect_database: Path
) -> None:
    rows = [f"+48 512 {index:03} {index * 7 % 1000:03}" for index in range(150)]
    box.faults.replace(  # each of them makes somebody say something about numbers
        [
            {"call": SEND, "at": [1], "fault": "item_error", "code": 3103},
            {"call": SEND, "at": [2], "fault": "foreign_item"},
            {"call": SEND, "at": [3], "fault": "reset_before"},
        ]
    )
    file = write_campaign(tmp_path, [*rows, rows[0], "+48 512 99"], name="secret")
    state = await run_flow(file)
    assert state.name == "NeedsAttention"
    await everything_is_recorded(prefect, state)
    text = database_text(prefect_database)
    assert f"campaign {file.name}" in text
    assert "campaign-secret" in text
    assert "looked up" in text, "the log is in the database"
    packed = re.sub(r"[ -]", "", text)
    assert [row for row in rows if row.replace(" ", "")[3:] in packed] == []


async def test_parameters_and_names_are_files_and_chunks(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    file = write_campaign(tmp_path, numbers(120), name="names")
    state = await run_flow(file, run_by="the test")
    runs = await everything_is_recorded(prefect, state)
    flow_run = await prefect.read_flow_run(state.state_details.flow_run_id)
    chosen = {"accept_missing": False, "late": False, "workers": 1}
    assert flow_run.parameters == {"campaign_file": str(file), "run_by": "the test", **chosen}
    assert flow_run.name == "campaign names.toml"
    assert {re.sub(r"^send \d+-\d+$", "send #-#", name) for name in runs} == {
        f"plan {file}",
        "ask for approval",
        "upload media",
        "verify",
        "restore check",
        "send #-#",
        "reconcile",
        "report",
        "publish totals",
    }


def database_text(database: Path) -> str:
    """Everything the server has stored, as text."""
    with sqlite3.connect(database, timeout=10) as connection:
        text = "\n".join(connection.iterdump())
    connection.close()
    return text


async def everything_is_recorded(prefect: PrefectClient, state: State[Any]) -> list[str]:
    """The names of the run's task runs, once the server has recorded them all and the log with them."""
    await APILogHandler.aflush()
    this = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            runs = await prefect.read_task_runs(flow_run_filter=this)
            if runs and all(run.state is not None and run.state.is_final() for run in runs):
                names = [run.name for run in runs]
                if "publish totals" in names:
                    return names
            await asyncio.sleep(0.2)


async def a_task_waits_to_be_tried_again(prefect: PrefectClient, flow_run_name: str) -> None:
    this = FlowRunFilter(name=FlowRunFilterName(any_=[flow_run_name]))
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            runs = await prefect.read_task_runs(flow_run_filter=this)
            if any(run.state is not None and run.state.name == "AwaitingRetry" for run in runs):
                return
            await asyncio.sleep(0.2)
