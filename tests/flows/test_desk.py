"""The forms of the operators' desk on a real Prefect server: each does what its command does, and no number stays behind."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient

from flows import desk
from flows.campaign import send_campaign
from posthorn.sandbox.server import Sandbox
from posthorn.views.status import status_now
from tests.delivery.journey import counted, numbers, write_campaign
from tests.flows.cards import page_of
from tests.flows.test_approval_flow import WAIT_SECONDS, asks_first, waiting

SEND = "messages/send_mms"


async def test_the_form_approve_wakes_the_run_that_waits(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    async with waiting(asks_first(tmp_path, "desk-yes"), prefect) as (_, running):
        state = await desk.approve("desk-yes", "send it", "Ada", return_state=True)
        assert state.message == "desk-yes: approved by Ada; waiting runs that go on: 1"
        async with asyncio.timeout(WAIT_SECONDS):
            assert (await running).is_completed()
    assert box.truth()["accepted"] == 120


async def test_the_form_settle_takes_lines_and_never_a_number(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "at": [1], "fault": "reset_before"}])
    await send_campaign(str(write_campaign(tmp_path, numbers(50), name="desk-settle")), return_state=True)
    assert counted(status_now("desk-settle")) == {"unknown": 50}
    assert "# desk\\-settle: 50 unknown" in await page_of("unknown-desk-settle")
    refused = await desk.settle("desk-settle", "48500000001", "it was sent", "Ada", "asked", return_state=True)
    assert (refused.is_failed(), "expected lines" in (refused.message or "")) == (True, True)
    refused = await desk.settle("desk-settle", "2, 999", "it was sent", "Ada", "asked", return_state=True)
    assert "on line 999 nothing is unknown" in (refused.message or "")
    state = await desk.settle("desk-settle", "2, 3", "it was sent", "Ada", "asked", return_state=True)
    assert state.message == "2 settled as accepted, 48 still unknown"
    assert "# desk\\-settle: 48 unknown" in await page_of("unknown-desk-settle")


async def test_the_form_cancel_is_for_good(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "at": [1], "fault": "error_code", "code": 1011}])
    await send_campaign(str(write_campaign(tmp_path, numbers(50), name="desk-cancel")), return_state=True)
    state = await desk.cancel("desk-cancel", "cancel it for good", return_state=True)
    assert (state.name, state.type.value) == ("Withdrawn", "CANCELLED")
    assert (state.message or "").startswith("never sent 50, withdrawn 0, already went out 0")
    assert counted(status_now("desk-cancel")) == {"cancelled": 50}


async def test_the_form_resend_failed_makes_them_pending_and_starts_the_rest(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    async def start(name: str) -> None:
        started.append(name)

    monkeypatch.setattr("flows.desk.start_rest", start)
    box.faults.replace([{"call": SEND, "at": [1], "fault": "item_error", "code": 3103}])
    await send_campaign(str(write_campaign(tmp_path, numbers(50), name="desk-failed")), return_state=True)
    state = await desk.resend_failed("desk-failed", "Ada", "the number is right", return_state=True)
    assert (state.message, started) == ("1 are sent again by the run `rest of desk-failed`", ["desk-failed"])
    assert counted(status_now("desk-failed")) == {"accepted": 49, "pending": 1}


async def test_no_number_stays_where_one_was_typed(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient, prefect_database: Path
) -> None:
    (number,) = numbers(1)
    await send_campaign(str(write_campaign(tmp_path, [number], name="desk-find")), return_state=True)
    found = await desk.find(number, return_state=True)
    assert "1 messages" in (found.message or "")
    page = await page_of("found")
    assert "[desk\\-find](/v2/artifacts/key/campaign-desk-find)" in page
    put = await desk.suppress(number, "all", "Ada", "she called", return_state=True)
    assert "is on the list now (all)" in (put.message or "")
    wrong = await desk.find("not a number 500", return_state=True)
    assert wrong.is_failed()
    for state in (found, put):
        run = await prefect.read_flow_run(state.state_details.flow_run_id)
        assert "***" in run.parameters["number"]
    digits = "".join(one for one in number if one.isdigit())[-9:]
    with sqlite3.connect(prefect_database, timeout=10) as connection:
        assert digits not in "\n".join(connection.iterdump()).replace(" ", "")
