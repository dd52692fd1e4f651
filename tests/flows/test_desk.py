"""The forms of the operators' desk on a real Prefect server: each does what its command does, and no number stays behind."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State

from flows import desk
from flows.campaign import send_campaign
from posthorn.delivery.deciding.resolve import resolve_lines
from posthorn.errors import InputError
from posthorn.ledger import suppression
from posthorn.ledger.store.engine import open_ledger
from posthorn.sandbox.server import Sandbox
from posthorn.views.status import status_now
from tests.delivery.journey import counted, numbers, write_campaign
from tests.flows.cards import page_of
from tests.flows.test_approval_flow import WAIT_SECONDS, asks_first, paused_run, waiting

SEND = "messages/send_mms"


async def test_the_form_approve_wakes_the_run_that_waits(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    async with waiting(asks_first(tmp_path, "desk-yes"), prefect) as (_, running):
        state = await desk.approve("desk-yes", "send it", "Ada", return_state=True)
        assert state.message == "desk-yes: approved by Ada; waiting runs that go on: 1"
        async with asyncio.timeout(WAIT_SECONDS):
            assert (await running).is_completed()
    assert box.truth()["accepted"] == 120


async def test_the_form_cancel_ends_the_run_that_waits_for_an_approval(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient
) -> None:
    async with waiting(asks_first(tmp_path, "desk-off"), prefect) as (run, running):
        state = await desk.cancel("desk-off", "cancel it for good", return_state=True)
        assert (state.message or "").startswith("never sent 120"), state.message
        async with asyncio.timeout(WAIT_SECONDS):
            await running
        ended = (await prefect.read_flow_run(run.id)).state
        assert ended is not None
        assert (ended.type.value, ended.name, ended.message) == ("CANCELLED", "Withdrawn", "cancelled: 120")
    assert box.truth()["send_requests"] == 0


async def test_the_form_settle_takes_lines_and_never_a_number(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "at": [1], "fault": "reset_before"}])
    await send_campaign(str(write_campaign(tmp_path, numbers(50), name="desk-settle")), return_state=True)
    assert counted(status_now("desk-settle")) == {"unknown": 50}
    assert "# desk\\-settle: 50 unknown" in await page_of("unknown-desk-settle")
    with pytest.raises(InputError, match="expected lines"):
        resolve_lines("desk-settle", "48500000001", taken=True, by="Ada", why="asked")
    refused = await desk.settle("desk-settle", "2, 999", "it was sent", "Ada", "asked", return_state=True)
    assert "on line 999 nothing is unknown" in (refused.message or "")
    state = await desk.settle("desk-settle", "2, 3", "it was sent", "Ada", "asked", return_state=True)
    assert state.message == "2 settled as accepted, 48 still unknown"
    assert "# desk\\-settle: 48 unknown" in await page_of("unknown-desk-settle")


async def test_the_form_cancel_is_for_good(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "at": [1], "fault": "error_code", "code": 1011}])
    await send_campaign(str(write_campaign(tmp_path, numbers(50), name="desk-cancel")), return_state=True)
    state = await desk.cancel("desk-cancel", "leave it as it is", return_state=True)
    assert (state.message, counted(status_now("desk-cancel"))) == ("desk-cancel was left as it is", {"pending": 50})
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


def test_no_form_has_a_field_for_a_number_and_the_lines_of_settle_take_none() -> None:
    """Prefect keeps the parameters of a run in clear, from the press of a button on, also where no worker runs."""
    forms = {one.name: one.parameters for one in (desk.approve, desk.cancel, desk.resend_failed, desk.settle)}
    assert not any("number" in form.properties or "phone" in form.properties for form in forms.values())
    assert (desk.suppress.parameters.properties, desk.find.parameters.properties) == ({}, {})
    lines = re.compile(forms["settle"].properties["lines"]["pattern"])
    assert all(lines.search(one) for one in ("12", " 12, 15,40 ", "1 2"))
    assert not any(lines.search(one) for one in ("48500000001", "+48 500 000 001", "12, 500000001", "", "12;15"))


async def test_no_number_stays_where_one_was_typed(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient, prefect_database: Path
) -> None:
    (number,) = numbers(1)
    await send_campaign(str(write_campaign(tmp_path, [number], name="desk-find")), return_state=True)
    found = await answered(desk.find, prefect, number=number)
    assert "1 messages" in (found.message or "")
    page = await page_of("found")
    assert "[desk\\-find](/v2/artifacts/key/campaign-desk-find)" in page
    put = await answered(desk.suppress, prefect, number=number, scope="all", by="Ada", why="she called")
    assert (put.message or "").startswith("+48 *** ***"), put.message
    assert "is on the list now (all)" in (put.message or "")
    wrong = await answered(desk.find, prefect, number="not a number 500000777")
    assert wrong.is_failed()
    for digits in ("".join(one for one in number if one.isdigit())[-9:], "500000777"):
        with sqlite3.connect(prefect_database, timeout=10) as connection:
            assert digits not in "\n".join(connection.iterdump()).replace(" ", "")


async def test_a_form_that_nobody_fills_in_does_nothing(
    box: Sandbox, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.desk.ASK_SECONDS", 1)
    assert (await desk.suppress(return_state=True)).is_failed()
    with open_ledger() as ledger:
        assert suppression.newest(ledger, 1) == []


async def answered(form: Flow[[], Any], prefect: PrefectClient, **said: object) -> State[Any]:
    """How a run of the form ends once a person has filled in what it asks for."""
    running = asyncio.create_task(form(return_state=True))
    try:
        run = await paused_run(prefect, f"{form.name} a number", running)
        assert run.parameters == {}
        assert (await prefect.resume_flow_run(run.id, run_input={})).status.value == "REJECT", "a number has to be given"
        assert (await prefect.resume_flow_run(run.id, run_input=said)).status.value == "ACCEPT"
        async with asyncio.timeout(WAIT_SECONDS):
            return await running
    finally:
        running.cancel()
