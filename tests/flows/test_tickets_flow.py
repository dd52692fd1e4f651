"""The tickets flow on a real Prefect server: its end, what it shows, that early news is applied, what Prefect never sees."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prefect.artifacts import Artifact
from prefect.client.orchestration import PrefectClient

from flows.reconcile import reconcile
from flows.tickets import send_planned_tickets, send_tickets
from posthorn.delivery.running.run import open_ticket_run
from posthorn.ledger.news import News, take_news
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MessageState
from posthorn.sandbox.server import Sandbox
from posthorn.settings import load_settings
from posthorn.views.status import status_now
from tasks.report import report_tickets
from tests.delivery.event_journey import attendees, tickets_of, write_event
from tests.delivery.journey import counted, deliver, numbers, write_campaign
from tests.flows.test_approval_flow import paused_run

SEND = "sendMMSBarcode"


@pytest.fixture(autouse=True)
def _point_to_the_ticket_sandbox(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHORN_SKYCORE__BASE_URL", f"{box.url}/API/wxml/1.3/index.php")
    monkeypatch.setenv("POSTHORN_SKYCORE__API_KEY", "sandbox-key")
    monkeypatch.setenv("POSTHORN_SKYCORE__TIMEOUT_SECONDS", "2")


async def test_an_event_ends_completed_with_its_table_and_without_a_number_in_it(box: Sandbox, tmp_path: Path) -> None:
    file = write_event(tmp_path, [*attendees(30), "nobody,T99999"])
    state = await send_tickets(str(file), return_state=True)
    assert (state.name, state.message) == ("Completed", "all 31 rows accounted for")
    artifact = await Artifact.get("event-gala")
    assert artifact is not None
    assert "30 of 30 sent" in str(artifact.data)
    assert "1650253" not in str(artifact.data) + str(artifact.description)
    again = await send_tickets(str(file), return_state=True)
    assert again.name == "Completed"
    assert box.truth()["skycore"]["accepted"] == 30


async def test_a_wrong_template_stops_before_the_first_ticket(box: Sandbox, tmp_path: Path) -> None:
    state = await send_tickets(str(write_event(tmp_path, attendees(5), mms_id="99999")), return_state=True)
    assert (state.name, state.type.value) == ("Stopped", "FAILED")
    assert "99999" in (state.message or "")
    assert box.truth()["skycore"]["accepted"] == 0


async def test_a_lost_answer_ends_in_needs_attention(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "at": [2], "fault": "reset_after"}])
    state = await send_tickets(str(write_event(tmp_path, attendees(5))), return_state=True)
    assert (state.name, state.message) == ("NeedsAttention", "unknown: 1, rejected: 0")


async def test_news_that_came_before_its_answer_is_applied_at_the_end_of_the_run(box: Sandbox, tmp_path: Path) -> None:
    await send_tickets(str(write_event(tmp_path, attendees(2))), return_state=True)
    settings = load_settings()
    ledger = Ledger(settings.database_url)
    first = tickets_of(settings)[0]
    with ledger.write() as connection:  # as if the answer had not been recorded yet
        connection.exec_driver_sql("UPDATE message SET provider_id = NULL WHERE line = 2")
    take_news(ledger, [News(str(first.provider_id), MessageState.DELIVERED)])
    with ledger.write() as connection:
        connection.exec_driver_sql("UPDATE message SET provider_id = ? WHERE line = 2", (first.provider_id,))
    ledger.close()
    async with open_ticket_run("gala") as run:
        assert await report_tickets.fn(run) == 1
    assert counted(status_now("gala")) == {"accepted": 1, "delivered": 1}


async def test_the_reconcile_flow_settles_what_it_can_in_every_campaign(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace(
        [
            {"call": "messages/send_mms", "at": [2], "fault": "reset_after"},
            # The restore check asks first, twice.
            {"call": "messages/reports", "at": [3], "fault": "status_before", "status": 500},
        ]
    )
    status = await deliver(write_campaign(tmp_path, numbers(120)), load_settings())
    assert counted(status) == {"accepted": 70, "unknown": 50}
    state = await reconcile(return_state=True)
    assert (state.name, state.message) == ("Completed", "nothing unknown; 1 campaign looked at")
    assert counted(status_now("sale")) == {"accepted": 120}


async def test_an_event_waits_for_a_word_and_a_no_is_the_end(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was refused before its run began is not sent by a run that saw no question either."""
    monkeypatch.setenv("POSTHORN_APPROVE_ABOVE", "4")
    file = write_event(tmp_path, attendees(5))
    running = asyncio.create_task(send_tickets(str(file), return_state=True))
    try:
        run = await paused_run(prefect, f"tickets {file.name}", running)
        await prefect.resume_flow_run(run.id, run_input={"decision": "do not send it", "name": "Boss", "note": "wrong hall"})
        state = await running
    finally:
        running.cancel()
    assert (state.name, "not approved by Boss: wrong hall" in (state.message or "")) == ("NotApproved", True)
    await send_planned_tickets("gala")
    assert "not approved by Boss" in status_now("gala")["because"]
    assert box.truth()["skycore"]["accepted"] == 0
