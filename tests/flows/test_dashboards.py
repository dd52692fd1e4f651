"""What people see on the Prefect server: cards with codes in words and pace, one overview, events for automations."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.campaign import send_campaign
from flows.reconcile import reconcile
from flows.tickets import send_tickets
from posthorn.ledger import deliveries
from posthorn.ledger.store.engine import Ledger
from posthorn.sandbox.server import Sandbox
from posthorn.settings import load_settings
from posthorn.views.overview import OVERVIEW
from posthorn.views.status import status_now
from tests.delivery.event_journey import attendees, write_event
from tests.delivery.journey import numbers, write_campaign
from tests.flows.cards import address_of, page_of, shown_states

SEND = "messages/send_mms"
WAIT_SECONDS = 30.0


async def test_the_card_has_the_codes_in_words_the_pace_and_where_the_rejects_are(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_SERWERSMS__PRICE_PER_MESSAGE", "0.25")
    box.faults.replace([{"call": SEND, "at": [1], "fault": "item_error", "code": 3103}])
    await send_campaign(str(write_campaign(tmp_path, [*numbers(120), "12"], name="shown")), return_state=True)
    card, overview, rejects = [await page_of(key) for key in ("campaign-shown", OVERVIEW, "rejects-shown")]
    assert "**needs attention** · campaign · 119 of 120 sent, 0 delivered (0 %)" in card
    assert "| `3103` | 1 | invalid recipient number |" in card
    assert "by itself. What was refused, the form `resend-failed` sends again\n" in card
    assert re.search(r"Pace of the last run: [\d,.]+ messages a second\.", card)
    assert f"`{tmp_path / 'shown.rejects.csv'}`" in rejects
    assert re.search(r"^\| 122 \| 12 \| .*too short", rejects, re.MULTILINE), rejects
    link = f"[shown]({await address_of('campaign-shown')}) | **needs attention**"
    called, everything = overview.split("## All")
    assert (link in called, "unknown: 0, rejected: 1" in called) == (True, True), "what needs a person comes first"
    (row,) = [line for line in everything.split("\n") if link in line]
    assert row.endswith("| 119 | 120 | 0 % | 29.75 |"), row
    assert not re.search(r"48500\d{6}", card + overview + rejects), "no number in full"


async def test_the_table_follows_the_send_without_a_new_version_each_time(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.publish.PROGRESS_EVERY_SECONDS", 0.05)
    box.faults.replace([{"call": SEND, "at": [3], "fault": "hang_before"}])
    running = asyncio.create_task(send_campaign(str(write_campaign(tmp_path, numbers(150), name="live")), return_state=True))

    async def two_of_three_requests_are_shown() -> bool:
        return await shown_states("campaign-live") == {"accepted": 100, "sending": 50}

    await until(two_of_three_requests_are_shown)
    assert not running.done()
    assert re.search(r"a second; about 1 min left, until 20\d\d-", await page_of("campaign-live"))
    await running
    versions = await prefect.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["campaign-live"])))
    assert len(versions) == 1, "no stale twin stands beside it"


# What happens to whom, as automations hear it. A look (reconcile) is told only where it changes something.
HAPPENED = {
    "posthorn.campaign.told": ["planned", "started", "stopped", "started", "finished"],
    "posthorn.campaign.doubt": ["planned", "started", "needs_attention", "cancelled"],
    "posthorn.event.ball": ["planned", "started", "finished"],
}


async def test_automations_hear_how_each_began_and_ended_and_nothing_twice(
    box: Sandbox, tmp_path: Path, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_SKYCORE__BASE_URL", f"{box.url}/API/wxml/1.3/index.php")
    monkeypatch.setenv("POSTHORN_SKYCORE__API_KEY", "sandbox-key")
    await one_stops_and_goes_on(box, tmp_path)
    await one_is_looked_at_often_and_cancelled(box, tmp_path)
    await one_is_an_event(tmp_path)

    async def all_is_heard() -> bool:
        return all([len(await heard(prefect, whom)) >= len(HAPPENED[whom]) for whom in HAPPENED])

    await until(all_is_heard)
    events = {whom: await heard(prefect, whom) for whom in HAPPENED}
    assert {whom: [one["event"].rpartition(".")[2] for one in events[whom]] for whom in events} == HAPPENED
    assert {one["event"].rpartition(".")[0] for one in events["posthorn.event.ball"]} == {"posthorn.event"}
    stopped = events["posthorn.campaign.told"][2]["payload"]
    assert (stopped["state"], stopped["totals"]["pending"], stopped["balanced"]) == ("stopped", 50, True)
    assert "1011" in stopped["because"]
    assert events["posthorn.event.ball"][-1]["payload"]["totals"] == status_now("ball")["totals"]
    assert not re.search(r"48500\d{6}|1650253\d{4}", json.dumps(events)), "no number in full"


async def one_stops_and_goes_on(box: Sandbox, folder: Path) -> None:
    box.faults.replace([{"call": SEND, "at": [1], "fault": "error_code", "code": 1011}])
    file = write_campaign(folder, numbers(50), name="told")
    await send_campaign(str(file), return_state=True)
    await send_campaign(str(file), return_state=True)


async def one_is_looked_at_often_and_cancelled(box: Sandbox, folder: Path) -> None:
    box.faults.replace([{"call": SEND, "at": [1], "fault": "reset_before"}])
    file = write_campaign(folder, numbers(70)[50:], name="doubt")
    await send_campaign(str(file), return_state=True)
    for _ in range(2):
        await reconcile("doubt", return_state=True)
    cancelled("doubt")
    for _ in range(2):
        await reconcile("doubt", return_state=True)
    await send_campaign(str(file), return_state=True)


async def one_is_an_event(folder: Path) -> None:
    file = write_event(folder, attendees(3))
    file.write_text(file.read_text().replace("gala", "ball"))
    await send_tickets(str(file), return_state=True)


def cancelled(name: str) -> None:
    ledger = Ledger(load_settings().database_url)
    deliveries.cancel(ledger, deliveries.get(ledger, name))
    ledger.close()


async def heard(prefect: PrefectClient, resource: str) -> list[dict[str, Any]]:
    """The events about a resource that the server has kept, in order."""
    wanted = {"filter": {"resource": {"id": [resource]}, "event": {"prefix": ["posthorn."]}}}
    answered = await prefect._client.post("/events/filter", json=wanted)
    return sorted(answered.raise_for_status().json()["events"], key=lambda one: one["occurred"])


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not await happened():  # noqa: ASYNC110 - the server has no event to offer
            await asyncio.sleep(0.1)
