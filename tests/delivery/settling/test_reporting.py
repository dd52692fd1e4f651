"""When a message is asked about, and what ends it: the rule, its economy, pushes and pulls against the sandbox's truth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from posthorn.content.definition import CampaignContent
from posthorn.delivery.running.run import open_delivery
from posthorn.delivery.settling.report import (
    LEAST_SECONDS_BETWEEN,
    NO_REPORT_AFTER_SECONDS,
    Pulled,
    is_due,
    pull_due_reports,
    pull_reports,
)
from posthorn.errors import AlreadyRunning, TryAgain
from posthorn.gateways.contract import CampaignGateway
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.reporting import OpenChunk, open_chunks
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import ReportPage
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.conftest import sandbox_settings
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign
from tests.drills.reports import WAYS, drill
from tests.ledger.ledgers import delivery

REPORTS = "messages/reports"
SENT = 1_000_000.0
MINUTE, HOUR = 60.0, 3600.0
OVER = float(NO_REPORT_AFTER_SECONDS)


def campaign(**content: Any) -> Delivery:
    return delivery(content=CampaignContent(title="Autumn sale", **content))


# The moment of dispatch that its requests named, or for how many minutes it is held; when it was last asked about and what
# time it is (seconds after it was sent); whether it is due.
DUE = {
    "just sent": ({}, None, 8 * MINUTE, False),
    "sent ten minutes ago": ({}, None, 10 * MINUTE, True),
    "asked at the turn before, a little late": ({}, 10.5 * MINUTE, 20 * MINUTE, True),
    "asked at the turn before, at the age of an hour": ({}, 50 * MINUTE, 60 * MINUTE, False),
    "asked a quarter of its age ago": ({}, 45 * MINUTE, 60 * MINUTE, True),
    "a day old, asked hours ago": ({}, 19 * HOUR, 24 * HOUR, False),
    "a day old, asked a quarter of a day ago": ({}, 18 * HOUR, 24 * HOUR, True),
    "72 hours over, asked shortly before": ({}, OVER - MINUTE, OVER, True),
    "72 hours over, asked since": ({}, OVER, OVER + HOUR, False),
    "before the provider dispatches": ({"send_at": SENT + 5 * HOUR}, None, 4 * HOUR, False),
    "asked by hand before the provider dispatches": ({"send_at": SENT + 5 * HOUR}, HOUR, 5 * HOUR + MINUTE, False),
    "dispatched ten minutes ago": ({"send_at": SENT + 5 * HOUR}, HOUR, 5 * HOUR + 10 * MINUTE, True),
    "72 hours since it was handed over, not since its dispatch": ({"send_at": SENT + OVER}, None, OVER + MINUTE, False),
    "held": ({"hold_minutes": 30}, None, 35 * MINUTE, False),
    "held, and dispatched ten minutes ago": ({"hold_minutes": 30}, None, 40 * MINUTE, True),
}


@pytest.mark.parametrize("case", DUE)
def test_the_older_a_message_the_more_rarely_it_is_asked_about(case: str) -> None:
    given, asked, now, due = DUE[case]
    delay = dict(given)
    chunk = OpenChunk(1, 1, SENT, None if asked is None else SENT + asked, 100, delay.pop("send_at", 0.0))
    assert is_due(chunk, campaign(**delay), SENT + now) == due


def test_a_silent_message_costs_some_twenty_questions() -> None:
    asked: list[float] = []
    for turn in range(int(OVER / 600) + 2):
        now = SENT + turn * 600
        if is_due(OpenChunk(1, 1, SENT, asked[-1] if asked else None, 1), campaign(), now):
            asked.append(now)
    assert 15 <= len(asked) <= 22
    assert asked[-1] == SENT + OVER, "asked once more before it ends"


@pytest.mark.parametrize("way", WAYS)
async def test_pulled_pushed_or_both_every_message_ends_as_the_truth_says(way: str, tmp_path: Path) -> None:
    told = await drill(way, 1_000, tmp_path, share_of_age=0.25)
    assert told.wrong == []
    assert told.states["delivered"] > 900
    assert told.states["rejected"] == 10
    assert told.states["undelivered"] > 0
    assert told.parked == told.forged, "unknown ids are kept apart, each once"
    assert told.report_requests <= {"pull": 30, "push": 0, "both": 30}[way]


async def test_one_request_asks_about_chunks_of_several_campaigns(box: Sandbox, tmp_path: Path) -> None:
    settings = sandbox_settings(box.url, tmp_path)
    await deliver(write_campaign(tmp_path, numbers(120), name="one"), settings)
    await deliver(write_campaign(tmp_path, numbers(170), name="two", title='"Other"'), settings)
    box.clock.advance(HOUR)
    assert (await pull_due_reports(settings)).requests == 0, "it is too early"
    pulled = await pull_due_reports(settings, lambda: time.time() + LEAST_SECONDS_BETWEEN)
    assert (pulled.requests, pulled.moved, pulled.open) == (1, 290, 0)


async def test_what_could_not_be_asked_stays_due_and_the_rest_is_asked(box: Sandbox, tmp_path: Path) -> None:
    settings = sandbox_settings(box.url, tmp_path, concurrency=1)  # or another of the three may meet the fault
    box.faults.replace([{"call": "messages/send_mms", "at": [1], "fault": "item_error", "code": 3103}])
    await deliver(write_campaign(tmp_path, numbers(1_220)), settings)
    box.faults.replace([{"call": REPORTS, "at": [2], "fault": "status_before", "status": 503}])

    async def pull(after: float) -> tuple[int, int, int]:
        pulled = await pull_due_reports(settings, lambda: time.time() + after)
        return pulled.requests, len(pulled.problems), pulled.open

    assert await pull(10 * MINUTE) == (3, 1, 1_219)
    assert await pull(11 * MINUTE) == (2, 0, 1_219), "the eleven chunks that the failed one asked about, in part or in full"


async def test_a_chunk_of_which_a_part_could_not_be_asked_about_counts_as_not_asked_about(
    box: Sandbox, tmp_path: Path
) -> None:
    """The second and the third question are asked side by side, and the chunk in question is a part of both."""
    settings = sandbox_settings(box.url, tmp_path, concurrency=2)
    box.faults.replace([{"call": "messages/send_mms", "at": [1], "fault": "item_error", "code": 3103}])
    await deliver(write_campaign(tmp_path, numbers(1_600)), settings)
    box.move_clock({"advance_seconds": 24 * HOUR})
    box.faults.replace([{"call": REPORTS, "at": [2], "fault": "status_before", "status": 503}])
    with open_ledger(settings) as ledger:
        of_both = open_chunks(ledger)[20].id
        with pytest.raises(TryAgain):
            await _pull_all_of(settings)
        asked_at = {chunk.id: chunk.asked_at for chunk in open_chunks(ledger)}
    assert asked_at[of_both] is None


async def _pull_all_of(settings: Settings) -> Pulled:
    async with open_delivery("sale", settings=settings) as run:
        return await pull_reports(run)


async def _pull_due(settings: Settings) -> Pulled:
    return await pull_due_reports(settings, lambda: time.time() + 10 * MINUTE)


@pytest.mark.parametrize("pull", [_pull_all_of, _pull_due])
async def test_questions_are_asked_side_by_side_once_the_first_is_answered(
    pull: Callable[[Settings], Awaitable[Pulled]], box: Sandbox, tmp_path: Path
) -> None:
    settings = sandbox_settings(box.url, tmp_path, concurrency=4)
    await deliver(write_campaign(tmp_path, numbers(2_400)), settings)
    box.move_clock({"advance_seconds": 24 * HOUR})
    box.latency_seconds = 0.3
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, box.truth()["in_flight"])
            await asyncio.sleep(0.01)

    watcher = asyncio.create_task(watch())
    pulled = await pull(settings)
    watcher.cancel()
    assert (pulled.requests, pulled.problems, most) == (5, [], 4)
    states = counted(status_of("sale", settings))
    moved = {state: count for state, count in states.items() if state in ("delivered", "undelivered")}
    assert pulled.moved == sum(moved.values()) > 2_000, "each was counted as it moved"


@pytest.mark.parametrize("fault", [{"fault": "status_before", "status": 503}, {"fault": "error_code", "code": 1012}])
async def test_silence_ends_nothing_while_the_provider_cannot_be_asked(
    fault: dict[str, Any], box: Sandbox, tmp_path: Path
) -> None:
    settings = sandbox_settings(box.url, tmp_path)
    await deliver(write_campaign(tmp_path, numbers(1_600)), settings)
    box.faults.replace([{"call": REPORTS, **fault}])
    pulled = await pull_due_reports(settings, lambda: time.time() + OVER + MINUTE)
    assert (pulled.requests, pulled.expired) == (1 if "code" in fault else 3, 0), "it does not ask on for ever"
    box.faults.replace([])
    pulled = await pull_due_reports(settings, lambda: time.time() + OVER + MINUTE)
    assert (pulled.requests, pulled.expired, pulled.open) == (4, 1_600, 0)
    assert counted(status_of("sale", settings)) == {"no_report": 1_600}


async def test_a_campaign_for_later_is_neither_asked_about_nor_ended_before_its_time(box: Sandbox, tmp_path: Path) -> None:
    settings = sandbox_settings(box.url, tmp_path)
    send_at = time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(time.time() + 5 * 24 * HOUR))
    await deliver(write_campaign(tmp_path, numbers(50), send_at=send_at), settings)
    for after, requests, expired in [(4 * 24 * HOUR, 0, 0), (5.1 * 24 * HOUR, 1, 0), (5 * 24 * HOUR + OVER + HOUR, 1, 50)]:
        pulled = await pull_due_reports(settings, lambda after=after: time.time() + after)
        assert (pulled.requests, pulled.expired) == (requests, expired), after


async def test_tests_are_not_asked_about(settings: Settings, tmp_path: Path) -> None:
    await deliver(write_campaign(tmp_path, numbers(50), test="true"), settings)
    pulled = await pull_due_reports(settings, lambda: time.time() + HOUR)
    assert (pulled.requests, pulled.open) == (0, 0)


async def test_two_pulls_at_once_are_one(settings: Settings) -> None:
    ledger = Ledger(settings.database_url)
    assert ledger.locks.acquire("delivery-reports")
    with pytest.raises(AlreadyRunning, match="being pulled already"):
        await pull_due_reports(settings)
    ledger.close()


async def test_of_a_held_campaign_72_hours_count_from_the_dispatch_of_each_chunk(box: Sandbox, tmp_path: Path) -> None:
    """The first chunk was sent ten minutes before the second; the second is dispatched less than 72 hours ago."""
    settings = sandbox_settings(box.url, tmp_path)
    await deliver(write_campaign(tmp_path, numbers(100), hold_minutes="15"), settings)
    ledger = Ledger(settings.database_url)
    with ledger.write() as connection:
        connection.exec_driver_sql("UPDATE chunk SET finished_at = finished_at - 600 WHERE id = 1")
    ledger.close()
    pulled = await pull_due_reports(settings, lambda: time.time() + OVER + 10 * MINUTE)
    assert pulled.expired == 50
    assert counted(status_of("sale", settings)) == {"scheduled": 50, "no_report": 50}


async def test_reports_that_nobody_asked_for_move_nothing(box: Sandbox, tmp_path: Path) -> None:
    """A listing that ignores the ids it is asked about shows other campaigns' messages, too."""
    settings = sandbox_settings(box.url, tmp_path)
    await deliver(write_campaign(tmp_path, numbers(60), name="asked"), settings)
    await deliver(write_campaign(tmp_path, numbers(60), name="other", title='"Other"'), settings)
    ledger = Ledger(settings.database_url)
    with ledger.write() as connection:
        connection.exec_driver_sql("UPDATE chunk SET finished_at = finished_at - 600 WHERE id <= 2")
    ledger.close()
    box.clock.advance(HOUR)
    box.faults.replace([{"call": REPORTS, "fault": "unfiltered"}])
    pulled = await pull_due_reports(settings)
    assert (pulled.requests, pulled.moved) == (1, 60)
    assert counted(status_of("other", settings)) == {"accepted": 60}


class Generous:
    """The gateway of a provider that heeds no filter: whatever is asked about, it lists everything."""

    def __init__(self, gateway: CampaignGateway) -> None:
        self._gateway = gateway

    async def reports(self, *, page: int, limit: int, **_: object) -> ReportPage:
        return await self._gateway.reports(page=page, limit=limit)

    async def aclose(self) -> None:
        await self._gateway.aclose()


async def test_reports_that_were_not_asked_for_move_nothing(box: Sandbox, tmp_path: Path) -> None:
    settings = sandbox_settings(box.url, tmp_path)
    await deliver(write_campaign(tmp_path, numbers(10), name="one"), settings)
    await deliver(write_campaign(tmp_path, numbers(20)[10:], name="two", title='"Other"'), settings)
    box.clock.advance(HOUR)
    async with open_delivery("one", settings=settings) as desk:
        desk.gateway = Generous(desk.gateway)  # type: ignore[assignment]
        pulled = await pull_reports(desk)
    assert (pulled.moved, pulled.open) == (10, 0)
    assert counted(status_of("two", settings)) == {"accepted": 10}
