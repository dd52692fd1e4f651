"""The delivery reports flow on a real Prefect server: its ends, its counts, and the cards it keeps up to date."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.delivery_reports import delivery_reports
from posthorn.ledger.news import News, take_news
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MessageState
from posthorn.sandbox.server import Sandbox
from posthorn.settings import load_settings
from tests.delivery.event_journey import attendees, send_event, ticket_settings, tickets_of, write_event
from tests.delivery.journey import deliver, numbers, write_campaign
from tests.flows.cards import shown_states

REPORTS = "messages/reports"


def age(folder: Path, seconds: float) -> None:
    """As if everything had been sent, and asked about, that much earlier."""
    with sqlite3.connect(folder / "ledger.db") as ledger:
        ledger.execute("UPDATE chunk SET finished_at = finished_at - ?, reported_at = reported_at - ?", (seconds, seconds))


async def cards(prefect: PrefectClient, *keys: str) -> int:
    return len(await prefect.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=list(keys)))))


async def test_it_asks_what_is_due_and_publishes_what_changed(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    settings = load_settings()
    await deliver(write_campaign(tmp_path, numbers(120), name="reports-one"), settings)
    await deliver(write_campaign(tmp_path, numbers(60), name="reports-two", title='"Other"'), settings)
    event = ticket_settings(box.url, tmp_path)
    await send_event(write_event(tmp_path, attendees(2)), event)
    keys = ("campaign-reports-one", "campaign-reports-two", "event-gala")

    early = await delivery_reports(return_state=True)
    assert (early.name, early.message) == (
        "Completed",
        "requests: 0, moved: 0, still open: 182, ended without a report: 0",
    )
    before = await cards(prefect, *keys)

    box.clock.advance(3600)
    age(tmp_path, 3600)
    ledger = Ledger(event.database_url)
    take_news(ledger, [News(str(tickets_of(event)[0].provider_id), MessageState.DELIVERED)])  # pushed meanwhile
    ledger.close()
    state = await delivery_reports(return_state=True)
    assert (state.name, state.message) == ("Completed", "requests: 1, moved: 180, still open: 1, ended without a report: 0")
    found = [await shown_states(key) for key in keys]
    assert found == [{"delivered": 120}, {"delivered": 60}, {"accepted": 1, "delivered": 1}]
    assert await cards(prefect, *keys) == before + 3

    age(tmp_path, 73 * 3600)
    ended = await delivery_reports(return_state=True)
    assert ended.message == "requests: 0, moved: 0, still open: 0, ended without a report: 1"
    assert await shown_states("event-gala") == {"delivered": 1, "no_report": 1}
    assert await cards(prefect, *keys) == before + 4, "only what changed is published again"
    run = (await prefect.read_flow_run(ended.state_details.flow_run_id)).name
    assert run == "delivery reports"


async def test_a_campaign_by_name_is_asked_about_at_once(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    await deliver(write_campaign(tmp_path, numbers(60), name="reports-now"), load_settings())
    box.clock.advance(3600)
    state = await delivery_reports("reports-now", return_state=True)
    assert state.message == "requests: 1, moved: 60, still open: 0, ended without a report: 0"
    assert (await prefect.read_flow_run(state.state_details.flow_run_id)).name == "delivery reports reports-now"


async def test_an_account_that_is_refused_fails_the_run_and_one_failed_request_does_not(
    box: Sandbox, tmp_path: Path
) -> None:
    await deliver(write_campaign(tmp_path, numbers(600), name="reports-broken"), load_settings())
    age(tmp_path, 3600)
    box.faults.replace([{"call": REPORTS, "fault": "error_code", "code": 1012}])
    refused = await delivery_reports(return_state=True)
    assert (refused.name, refused.type.value) == ("Stopped", "FAILED")
    assert "invalid token" in (refused.message or "")
    box.faults.replace([{"call": REPORTS, "at": [1], "fault": "status_before", "status": 502}])
    state = await delivery_reports(return_state=True)
    assert state.name == "Completed"
    assert "requests: 2," in (state.message or "")
    assert "requests that failed: 1" in (state.message or "")
