"""A flow run that is told to stop, by SIGTERM or by its own state in Prefect: what is under way is finished."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.artifacts import Artifact
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Failed

from flows.campaign import send_campaign
from flows.continue_due import continue_due
from flows.reconcile import reconcile
from flows.share import send_share
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_media
from posthorn.delivery.running.run import open_lookup, open_run
from posthorn.errors import LedgerError
from posthorn.sandbox.server import Sandbox
from posthorn.settings import load_settings
from posthorn.views.status import status_now
from tests.delivery.journey import counted, deliver, numbers, write_campaign

SEND = "messages/send_mms"
CHILD = """
import asyncio, sys
from flows.campaign import send_campaign
state = asyncio.run(send_campaign(sys.argv[1], return_state=True))
print(state.type.value, state.message, sep=": ")
"""


async def test_a_cancelled_run_finishes_what_is_under_way(box: Sandbox, tmp_path: Path) -> None:
    box.latency_seconds = 0.5
    file = write_campaign(tmp_path, numbers(600))
    flow = await child(file)
    async with asyncio.timeout(60):
        while True:
            if box.truth()["requests"].get(SEND):
                break
            await asyncio.sleep(0.05)
        flow.send_signal(signal.SIGTERM)
        said, _ = await flow.communicate()
    status = status_now("sale")
    sent, left = status["totals"]["accepted"], status["totals"]["pending"]
    assert said.decode().startswith(f"CANCELLED: the run was cancelled. Sent: {sent}, not sent yet: {left}. Next: run ")
    assert status["because"] == "the run was cancelled"
    assert "stopped: the run was cancelled" in await card("sale")
    found = counted(status)
    assert set(found) == {"pending", "accepted"}
    assert found["accepted"] == box.truth()["accepted"] > 0


async def test_a_cancelled_run_does_not_sit_out_the_settle_time(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_SERWERSMS__SETTLE_SECONDS", "600")
    box.faults.replace([{"call": SEND, "at": [1], "fault": "reset_before"}])
    file = write_campaign(tmp_path, numbers(100), resend_unconfirmed="true")
    flow = await child(file)
    async with asyncio.timeout(60):
        while not has_unknown():  # noqa: ASYNC110 - the ledger has no event to offer
            await asyncio.sleep(0.05)
        flow.send_signal(signal.SIGTERM)
        said, _ = await flow.communicate()
    assert said.startswith(b"CANCELLED: the run was cancelled")
    status = status_now("sale")
    assert (status["because"], counted(status)) == ("the run was cancelled", {"accepted": 50, "unknown": 50})


async def test_ctrl_c_ends_as_cancelled_and_is_shown(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    box.latency_seconds = 0.5
    async with sending(box, write_campaign(tmp_path, numbers(2_000))) as flow:
        flow.cancel()  # what the command line does at the first Ctrl-C
        state = await flow
    assert (state.type, "not sent yet: " in (state.message or "")) == (StateType.CANCELLED, True)
    assert (await newest_run(prefect)).state.type == StateType.CANCELLED
    assert "stopped: the run was cancelled" in await card("sale")
    assert counted(status_now("sale"))["accepted"] == box.truth()["accepted"]


async def test_what_a_killed_run_left_shown_is_put_right_by_the_flow_of_every_minute(box: Sandbox, tmp_path: Path) -> None:
    box.latency_seconds = 0.5
    flow = await child(write_campaign(tmp_path, numbers(600)))
    async with asyncio.timeout(60):
        while not (box.truth()["requests"].get(SEND) and (await card("sale")).startswith("running")):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        flow.kill()
        await flow.communicate()
    assert (await card("sale")).startswith("running"), "nobody could say it"
    assert (await continue_due(return_state=True)).is_completed()
    assert (await card("sale")).startswith("stopped")


async def test_an_error_that_ends_a_run_leaves_no_card_that_says_it_runs(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a disk is full")

    monkeypatch.setattr("flows.campaign.deliver_campaign", broken)
    state = await send_campaign(str(write_campaign(tmp_path, numbers(60))), return_state=True)
    assert state.is_failed()
    assert "stopped: a disk is full" in await card("sale")


# What a person sets in Prefect, and the reason that the ledger keeps.
WORDS = {
    "cancelling": (Cancelling(), "the run was cancelled"),
    "cancelled": (Cancelled(), "the run was cancelled"),
    "failed": (Failed(), "a person set the run to Failed in Prefect"),
    "completed": (Completed(), "a person set the run to Completed in Prefect"),
}


@pytest.mark.parametrize("word", WORDS)
async def test_a_run_heeds_the_state_that_a_person_sets(
    word: str, box: Sandbox, tmp_path: Path, prefect: PrefectClient
) -> None:
    box.latency_seconds = 0.5
    said, because = WORDS[word]
    async with sending(box, write_campaign(tmp_path, numbers(2_000))) as flow:
        run = await newest_run(prefect)
        await prefect.set_flow_run_state(run.id, said)
        state = await flow
    assert (state.type, state.message.startswith(because)) == (StateType.CANCELLED, True)
    assert state.message.count(because) == 1, "said once"
    assert (await prefect.read_flow_run(run.id)).state.type == StateType.CANCELLED
    status = status_now("sale")
    assert (status["state"], status["because"]) == ("stopped", because)
    assert set(counted(status)) == {"pending", "accepted"}
    assert (counted(status)["accepted"], box.truth()["in_flight"]) == (box.truth()["accepted"], 0)


# What others say of a run that holds its lock: an automation that heard nothing of it, a second process of the same run.
NO_WORDS = {
    "crashed": Crashed(),
    "already running": Completed(name="AlreadyRunning"),
}


@pytest.mark.parametrize("word", NO_WORDS)
async def test_what_is_no_word_of_a_person_stops_nobody(
    word: str, box: Sandbox, tmp_path: Path, prefect: PrefectClient
) -> None:
    box.latency_seconds = 0.5
    async with sending(box, write_campaign(tmp_path, numbers(900))) as flow:
        run = await newest_run(prefect)
        await prefect.set_flow_run_state(run.id, NO_WORDS[word], force=True)
        state = await flow
    assert (state.type, box.truth()["accepted"]) == (StateType.COMPLETED, 900)


async def test_a_run_that_waits_shows_for_what_and_can_be_cancelled(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_SERWERSMS__SETTLE_SECONDS", "600")
    box.faults.replace([{"call": SEND, "at": [1], "fault": "reset_before"}])
    async with sending(box, write_campaign(tmp_path, numbers(100), resend_unconfirmed="true")) as flow:
        run = await shown(prefect, "waiting until ")
        assert run.state.type == StateType.RUNNING
        await prefect.set_flow_run_state(run.id, Cancelling())
        state = await flow
    assert state.type == StateType.CANCELLED
    assert counted(status_now("sale")) == {"accepted": 50, "unknown": 50}


async def test_a_run_that_waits_for_a_lookup_shows_it_and_can_be_cancelled(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient
) -> None:
    file = write_campaign(tmp_path, numbers(100))
    plan_file(file, load_settings())
    async with open_lookup("sale", settings=load_settings()):
        flow = asyncio.create_task(send_campaign(str(file), return_state=True))
        run = await shown(prefect, "waiting until ")
        await prefect.set_flow_run_state(run.id, Cancelling())
        state = await flow
    assert (state.type, box.truth()["send_requests"]) == (StateType.CANCELLED, 0)
    assert counted(status_now("sale")) == {"pending": 100}


async def test_a_run_that_waits_for_an_approval_can_be_cancelled(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a worker, SIGTERM follows the word: the run may be over by then but for what Prefect tells of it."""
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(uuid4()))
    heard: list[int] = []
    former = signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))  # as Prefect's own, which ends it
    late = LateSignal()
    logging.getLogger("prefect.flow_runs").addHandler(late)
    try:
        file = write_campaign(tmp_path, numbers(100), approve="true")
        flow = asyncio.create_task(send_campaign(str(file), return_state=True))
        async with asyncio.timeout(60):
            while not (runs := await paused(prefect)):  # noqa: ASYNC110 - nobody offers an event
                await asyncio.sleep(0.1)
            await prefect.set_flow_run_state(runs[0].id, Cancelling())
            state = await flow
    finally:
        logging.getLogger("prefect.flow_runs").removeHandler(late)
        signal.signal(signal.SIGTERM, former)
    assert (state.type, box.truth()["send_requests"], late.came, heard) == (StateType.CANCELLED, 0, True, [])


class LateSignal(logging.Handler):
    """SIGTERM, in the moment in which Prefect says how the run ended."""

    came = False

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("Finished in state Cancelled"):
            self.came = True
            os.kill(os.getpid(), signal.SIGTERM)


async def test_a_share_that_is_cancelled_stops_the_whole_run(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    box.latency_seconds = 0.5
    plan_file(write_campaign(tmp_path, numbers(2_000)), load_settings())
    async with open_run("sale", settings=load_settings()) as run:
        await upload_media(run)
        await verify_media(run)
        flow = asyncio.create_task(send_share("sale", return_state=True))
        await until_it_sends(box, flow)
        await prefect.set_flow_run_state((await newest_run(prefect)).id, Cancelling())
        assert (await flow).type == StateType.CANCELLED
        await run.refresh()
        assert str(run.stopped) == "it was stopped elsewhere: the run was cancelled"
    assert box.truth()["in_flight"] == 0


async def test_a_share_that_the_restore_check_refuses_is_seen_to_have_stopped_the_run(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_file(write_campaign(tmp_path, numbers(100)), load_settings())
    async with open_run("sale", settings=load_settings()) as run:
        await upload_media(run)
        await verify_media(run)
        monkeypatch.setenv("POSTHORN_GUARD_DIR", "/dev/null/marks")
        state = await send_share("sale", return_state=True)
        assert (state.type, state.name) == (StateType.FAILED, "Stopped")
        assert "/dev/null/marks" in str(state.message)
        await run.refresh()
        assert "/dev/null/marks" in str(run.stopped)
    assert box.truth()["send_requests"] == 0


async def test_a_cancelled_lookup_goes_to_no_further_campaign(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_SERWERSMS__TIMEOUT_SECONDS", "30")
    for name in ("first-lookup", "second-lookup"):  # names of no other test: the server shows them all
        box.faults.replace([{"call": SEND, "at": [1], "fault": "reset_before"}])
        await deliver(write_campaign(tmp_path, numbers(50), name=name, allow_repeat="true"), load_settings())
        assert counted(status_now(name)) == {"unknown": 50}
    box.latency_seconds = 12  # so that the word is heard before the answer, on a slow machine too
    before = box.truth()["requests"]["messages/reports"]
    flow = asyncio.create_task(reconcile(return_state=True))
    async with asyncio.timeout(60):
        while box.truth()["requests"]["messages/reports"] == before:  # noqa: ASYNC110 - nobody offers an event
            await asyncio.sleep(0.05)
        await prefect.set_flow_run_state((await newest_run(prefect)).id, Cancelling())
        state = await flow
    assert state.type == StateType.CANCELLED
    assert box.truth()["requests"]["messages/reports"] == before + 2, "one lookup, from both ends of the list"
    cards = [await card(name) for name in ("first-lookup", "second-lookup")]
    assert [bool(one) for one in cards] == [True, False], "the second is not even opened"


async def child(file: Path) -> asyncio.subprocess.Process:
    """The flow in a process of its own, as under a worker; it prints its final state."""
    variables = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(file), env=variables, stdout=asyncio.subprocess.PIPE
    )


async def card(name: str) -> str:
    """What is shown of a campaign."""
    artifact = await Artifact.get(f"campaign-{name}")
    return "" if artifact is None else f"{artifact.description}\n{artifact.data}"


def has_unknown() -> bool:
    try:
        return counted(status_now("sale")) == {"accepted": 50, "unknown": 50}
    except LedgerError:  # it is not planned yet
        return False


@asynccontextmanager
async def sending(box: Sandbox, file: Path) -> AsyncIterator[asyncio.Task[State]]:
    """The campaign flow, as soon as it has made requests."""
    flow = asyncio.create_task(send_campaign(str(file), return_state=True))
    await until_it_sends(box, flow)
    async with asyncio.timeout(90):
        yield flow


async def until_it_sends(box: Sandbox, flow: asyncio.Task[State]) -> None:
    async with asyncio.timeout(60):
        while not box.truth()["requests"].get(SEND):
            assert not flow.done(), flow.result()
            await asyncio.sleep(0.05)


async def newest_run(prefect: PrefectClient) -> FlowRun:
    async with asyncio.timeout(60):
        while not (runs := await prefect.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return runs[0]


async def shown(prefect: PrefectClient, words: str) -> FlowRun:
    """The newest run, as soon as its state's message begins with these words."""
    async with asyncio.timeout(60):
        while not ((run := await newest_run(prefect)).state.message or "").startswith(words):  # noqa: ASYNC110 - nobody offers an event
            await asyncio.sleep(0.1)
    return run


async def paused(prefect: PrefectClient) -> list[FlowRun]:
    newest = await newest_run(prefect)
    return [newest] if newest.state.is_paused() else []
