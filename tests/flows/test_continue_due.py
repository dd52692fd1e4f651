"""What waits for its moment goes on by itself, also where the run that waited is gone; and flows withdraw what came late."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from prefect.artifacts import Artifact
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.deployments.runner import RunnerDeployment

from flows.campaign import send_campaign
from flows.continue_due import continue_due
from flows.delivery_reports import delivery_reports
from flows.ending import ending
from flows.reconcile import reconcile
from flows.rest import DEPLOYMENT, send_rest
from posthorn.delivery.deciding import approval
from posthorn.delivery.settling.due import looks_due
from posthorn.ledger import deliveries
from posthorn.ledger.store.engine import Ledger
from posthorn.sandbox.server import Sandbox
from posthorn.settings import load_settings
from posthorn.views.status import status_now
from tests.delivery.journey import counted, numbers, write_campaign
from tests.delivery.settling.test_last_look import HOLD_SECONDS, LATE, campaign_file, kill_while_it_waits, until_it_waits

SEND = "messages/send_mms"


@pytest.fixture
def late_copy(box: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The third request is late beyond every look; the last one is taken some seconds after it left."""
    box.faults.replace([LATE])
    (tmp_path / "state").mkdir()
    given = {"SETTLE_SECONDS": "2", "TIMEOUT_SECONDS": "2", "LAST_LOOK_SECONDS": str(HOLD_SECONDS - 18)}
    for name, value in given.items():
        monkeypatch.setenv(f"POSTHORN_SERWERSMS__{name}", value)
    monkeypatch.setenv("POSTHORN_STATE_DIR", str(tmp_path))


@pytest.mark.usefixtures("late_copy")
async def test_the_campaign_flow_withdraws_what_came_after_its_lookups(box: Sandbox, tmp_path: Path) -> None:
    running = asyncio.create_task(send_campaign(str(campaign_file(tmp_path)), return_state=True))
    await until_it_waits(load_settings(), seconds=60)
    await box.release_late()
    state = await running
    assert (state.name, counted(status_now("sale"))) == ("Completed", {"scheduled": 300})
    box.clock.advance(HOLD_SECONDS + 120)
    assert (box.truth()["dispatched"], box.truth()["withdrawn"]) == (300, 50)


@pytest.mark.usefixtures("late_copy")
async def test_the_last_look_of_a_run_that_was_killed_is_taken_by_the_schedule(box: Sandbox, tmp_path: Path) -> None:
    await kill_while_it_waits(load_settings(), tmp_path)
    state = ending(status_now("sale"))
    assert (state.name, state.is_completed()) == ("Waiting", True)
    await box.release_late()
    while looks_due(60):  # each request has a moment of its own
        await continue_due(return_state=True)
    status = status_now("sale")
    assert (status["state"], status["waiting_until"], status["second_copies"]) == ("finished", None, 0)
    box.clock.advance(HOLD_SECONDS + 120)
    assert (box.truth()["dispatched"], box.truth()["withdrawn"]) == (300, 50)


@pytest.fixture
async def rests(prefect: PrefectClient) -> PrefectClient:
    """The deployment that rests are started with; no worker takes them here, the test does."""
    await prefect.create_work_pool(WorkPoolCreate(name="rests", type="process"), overwrite=True)
    deployment = RunnerDeployment.from_entrypoint("flows.rest.send_rest", DEPLOYMENT.split("/")[1], work_pool_name="rests")
    await deployment.aapply()
    assert deployment.full_name == DEPLOYMENT
    return prefect


async def _started(client: PrefectClient) -> list[dict[str, object]]:
    return [run.parameters for run in await client.read_flow_runs() if run.deployment_id]


async def test_what_waited_for_its_hours_goes_on_by_its_name(
    box: Sandbox, tmp_path: Path, rests: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = datetime.now(ZoneInfo("Europe/Warsaw")) + timedelta(days=3)
    monkeypatch.setenv("POSTHORN_SEND_HOURS", f"{closed:%a} 00:00-24:00")
    file = write_campaign(tmp_path, numbers(120))
    state = await send_campaign(str(file), return_state=True)
    assert (state.name, state.is_completed(), box.truth()["send_requests"]) == ("Waiting", True, 0)
    assert "waits for its hours until" in (state.message or "")
    assert (await continue_due(return_state=True)).message == "nothing is due"

    monkeypatch.delenv("POSTHORN_SEND_HOURS")
    _comes_round()
    file.unlink()
    (tmp_path / "recipients.csv").unlink()
    for _ in range(2):
        assert (await continue_due(return_state=True)).message == "goes on: sale"
    assert await _started(rests) == [{"name": "sale"}], "once, however long no worker takes it"
    assert (await send_rest("sale", return_state=True)).name == "Completed"
    assert counted(status_now("sale")) == {"accepted": 120}
    assert (await continue_due(return_state=True)).message == "nothing is due"


def _comes_round(reason: str = "hours") -> None:
    """Have the moment come that it waits for: all that was sent was sent an hour ago."""
    ledger = Ledger(load_settings().database_url)
    deliveries.note_going_on(ledger, deliveries.get(ledger, "sale"), reason, time.time() - 1)
    with ledger.write() as connection:
        connection.exec_driver_sql("UPDATE chunk SET finished_at = finished_at - 3600")
    ledger.close()


@pytest.mark.parametrize("picture", ["good", "bad"])
async def test_a_canary_goes_first_and_the_rest_by_itself_or_by_a_persons_word(
    picture: str, box: Sandbox, tmp_path: Path, rests: PrefectClient
) -> None:
    if picture == "bad":
        box.faults.replace([{"call": SEND, "fault": "item_error", "items": 50, "code": 3103, "times": 4}])
    file = write_campaign(tmp_path, numbers(400), canary="200", canary_wait='"1m"')
    state = await send_campaign(str(file), return_state=True)
    assert box.truth()["requests"][SEND] <= 4, "the canary, and not one more"
    if picture == "bad":
        assert (state.name, state.is_failed()) == ("NeedsAttention", True)
        assert "the canary was halted: " in (state.message or "")
        assert (await continue_due(return_state=True)).message == "nothing is due"
        approval.decide("sale", approved=True, by="Ada")
        box.faults.replace([])
    else:
        assert (state.name, box.truth()["accepted"]) == ("Waiting", 200)
        assert "waits for the reports of what went first until" in (state.message or "")
        box.clock.advance(3600)
        _comes_round("canary")
    assert (await continue_due(return_state=True)).message == "goes on: sale"
    await send_rest("sale", return_state=True)
    counts = counted(status_now("sale"))
    assert counts.get("pending", 0) == 0
    assert counts.get("rejected", 0) + box.truth()["accepted"] == 400


async def test_where_nothing_is_due_nobody_is_asked_and_nothing_is_started(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient
) -> None:
    state = await continue_due(return_state=True)
    assert state.message == "nothing is due"
    only = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    assert await prefect.read_task_runs(flow_run_filter=only) == []
    assert box.truth()["requests"] == {}


@pytest.mark.usefixtures("late_copy")
async def test_what_is_due_beside_its_run_is_left_to_it(
    box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = asyncio.create_task(send_campaign(str(campaign_file(tmp_path)), return_state=True))
    await until_it_waits(load_settings(), seconds=60)
    assert looks_due(60) == ["sale"]
    state = await continue_due(return_state=True)
    assert state.is_completed()
    assert not running.done()
    assert "sale is already running" in caplog.text
    await box.release_late()
    await running
    assert box.truth()["withdrawn"] == 50


@pytest.mark.usefixtures("late_copy")
@pytest.mark.parametrize("look", ["delivery reports", "one campaign's reports", "reconcile"])
async def test_second_copies_of_what_a_person_allowed_are_shown_by_the_schedules(
    look: str, box: Sandbox, tmp_path: Path
) -> None:
    file = write_campaign(tmp_path, numbers(300), resend_unconfirmed="true")
    assert (await send_campaign(str(file), return_state=True)).name == "Completed"
    await box.release_late()
    if look == "delivery reports":
        _search_is_due()
        state = await delivery_reports(return_state=True)
    else:
        state = await (
            delivery_reports("sale", return_state=True) if "reports" in look else reconcile("sale", return_state=True)
        )
    assert (state.name, "second copies: 50" in (state.message or "")) == ("NeedsAttention", True)
    table = await Artifact.get("campaign-sale")
    assert table is not None
    assert "second copies" in str(table.data)
    assert "needs attention" in str(table.description)
    assert "+48" not in str(table.data) + str(table.description)


def _search_is_due() -> None:
    """Have the requests have left ten minutes ago."""
    ledger = Ledger(load_settings().database_url)
    deliveries.note_sought(ledger, deliveries.get(ledger, "sale"), time.time() - 600)
    with ledger.write() as connection:
        connection.exec_driver_sql("UPDATE attempt SET started_at = started_at - 600")
    ledger.close()
