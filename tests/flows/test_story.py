"""The Logs tab of a run tells its story: what was planned, the batches with their pace, the ending; and no traceback."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import State
from prefect.logging.handlers import APILogHandler

from flows.campaign import send_campaign
from posthorn.errors import InputError
from posthorn.sandbox.server import Sandbox
from tests.delivery.journey import numbers, write_campaign

MAX_LINES = 60


async def lines_of(prefect: PrefectClient, state: State[object]) -> list[str]:
    await APILogHandler.aflush()
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    return [one.message for one in await prefect.read_logs(log_filter=wanted, limit=200)]


async def test_the_logs_tell_plan_batches_and_ending_in_a_few_dozen_lines(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient
) -> None:
    box.faults.replace([{"call": "messages/send_mms", "at": [2], "fault": "credit_midway", "items": 20}])
    file = write_campaign(tmp_path, [*numbers(2_000), "12"], name="story")
    lines = await lines_of(prefect, await send_campaign(str(file), return_state=True))
    for words in (
        "planned story: 2,001 rows, 1 rejected, 2,000 to send, 0 sent so far",
        "chunks ",
        "ended early: ",
        "messages are left to send, ",
        "story stopped: ",
        "/v2/artifacts/artifact/",
    ):
        assert [line for line in lines if words in line], (words, lines)
    assert len(lines) < MAX_LINES
    assert not [line for line in lines if "Finished in state Completed()" in line]
    assert not [line for line in lines if "Traceback" in line]


async def test_a_wrong_file_is_said_in_one_line(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    state = await send_campaign(str(tmp_path / "nowhere.toml"), return_state=True)
    assert (state.is_failed(), "nowhere.toml" in (state.message or "")) == (True, True)
    lines = await lines_of(prefect, state)
    assert not [line for line in lines if "Traceback" in line], lines


async def test_what_a_person_can_mend_is_said_without_a_traceback(prefect: PrefectClient) -> None:
    @flow
    async def refuses() -> None:
        raise InputError("chunk_size", "expected a number, not 'many'")

    lines = await lines_of(prefect, await refuses(return_state=True))
    assert [line for line in lines if "Encountered exception" in line and "not 'many'" in line], lines
    assert not [line for line in lines if "Traceback" in line], lines
