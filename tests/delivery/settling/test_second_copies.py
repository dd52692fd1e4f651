"""A second copy that a person's or a setting's word made possible has a face: it is found, counted, kept and shown."""

from __future__ import annotations

import dataclasses
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from posthorn.delivery.settling.report import is_search_due, pull_due_reports, pull_reports_of
from posthorn.delivery.settling.withdraw import reconcile_named
from posthorn.ledger import deliveries, erasing
from posthorn.ledger.store.engine import Ledger
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from posthorn.views.status import exit_code, status_table
from tests.conftest import sandbox_settings
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign
from tests.delivery.settling.test_reconcile import somebody_sends
from tests.delivery.settling.test_reporting import campaign

SEND, REPORTS = "messages/send_mms", "messages/reports"
HOUR = 3600.0


@pytest.fixture
def hasty(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = sandbox_settings(box.url, tmp_path, concurrency=2, settle_seconds=0.1, timeout_seconds=2)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__BASE_URL", box.url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__TOKEN", "sandbox-token")
    return settings


async def sent_twice(box: Sandbox, settings: Settings, folder: Path) -> None:
    """A campaign of 200 that finished: the third request came late beyond the settle time, and had been sent again."""
    box.faults.replace([{"call": SEND, "fault": "late", "at": [3], "seconds": 3600}])
    status = await deliver(write_campaign(folder, numbers(200), resend_unconfirmed="true"), settings)
    assert (counted(status), status["state"], status["second_copies"]) == ({"accepted": 200}, "finished", 0)
    await box.release_late()
    assert (box.truth()["accepted"], box.truth()["twice"]) == (250, 50)


async def by_report(_: Settings) -> None:
    assert (await pull_reports_of("sale")).second_copies == 50


async def by_reconcile(_: Settings) -> None:
    await reconcile_named("sale")


async def by_schedule(settings: Settings) -> None:
    later = time.time() + 10 * 60
    assert (await pull_due_reports(settings, lambda: later)).second_copies == 50


@pytest.mark.parametrize("look", [by_report, by_reconcile, by_schedule])
async def test_second_copies_of_a_finished_campaign_are_found_and_shown(
    look, box: Sandbox, hasty: Settings, tmp_path: Path
) -> None:
    await sent_twice(box, hasty, tmp_path)
    box.clock.advance(2 * HOUR)
    await look(hasty)
    status = status_of("sale", hasty)
    assert (status["state"], status["second_copies"], exit_code(status)) == ("needs_attention", 50, 3)
    shown = status_table(status)
    assert re.search(r"│ second copies │ +50 │", shown)
    known = {one["id"] for one in box.serwersms.listed(None, None, 0, 250)}
    assert any(one in shown for one in known), "the provider's ids are shown"
    assert not [number for number in numbers(200) if number in shown]
    assert sum(counted(status).values()) == 200
    await reconcile_named("sale")
    assert status_of("sale", hasty)["second_copies"] == 50, "each is counted once"


async def test_reports_that_are_all_in_do_not_end_the_search(box: Sandbox, hasty: Settings, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "fault": "late", "at": [3], "seconds": 3600}])
    await deliver(write_campaign(tmp_path, numbers(200), resend_unconfirmed="true"), hasty)
    box.clock.advance(2 * HOUR)
    await pull_reports_of("sale")
    assert "accepted" not in counted(status_of("sale", hasty))
    await box.release_late()
    asked = box.truth()["requests"][REPORTS]
    assert (await pull_due_reports(hasty, lambda: time.time() + 10 * 60)).second_copies == 50
    assert (await pull_due_reports(hasty, lambda: time.time() + 11 * 60)).second_copies == 0, "not its turn"
    assert box.truth()["requests"][REPORTS] == asked + 1


async def test_ids_of_other_campaigns_are_no_second_copies(box: Sandbox, hasty: Settings, tmp_path: Path) -> None:
    """The same title to the same numbers at the same time, by another campaign or as a proof: theirs are bound to them."""
    await deliver(write_campaign(tmp_path, numbers(200), name="other", text='"two"'), hasty)
    box.faults.replace([{"call": SEND, "fault": "reset_before", "at": [3]}])
    status = await deliver(write_campaign(tmp_path, numbers(200), resend_unconfirmed="true"), hasty)
    assert counted(status) == {"accepted": 200}
    assert (await pull_reports_of("sale")).second_copies == 0
    assert status_of("sale", hasty)["state"] == "finished"


async def test_an_id_that_turns_out_to_be_another_messages_counts_no_more(
    box: Sandbox, hasty: Settings, tmp_path: Path
) -> None:
    await sent_twice(box, hasty, tmp_path)
    await pull_reports_of("sale")
    ledger = Ledger(hasty.database_url)
    with ledger.write() as connection:
        connection.exec_driver_sql(
            "UPDATE message SET provider_id = (SELECT min(provider_id) FROM second_copy) WHERE line = 2"
        )
    ledger.close()
    assert status_of("sale", hasty)["second_copies"] == 49


@pytest.mark.parametrize(("skew", "title"), [(-3600, "Autumn sale"), (3600, "Autumn sale"), (0, "Winter sale")])
async def test_what_somebody_else_sends_is_no_second_copy(
    skew: int, title: str, box: Sandbox, hasty: Settings, tmp_path: Path
) -> None:
    """Another title, or a time at which no request of ours was under way."""
    box.faults.replace([{"call": SEND, "fault": "reset_before", "at": [3]}])
    await deliver(write_campaign(tmp_path, numbers(200), resend_unconfirmed="true"), hasty)
    box.faults.replace([])
    box.clock.skew_seconds = skew
    await somebody_sends(box, hasty, title, numbers(200))
    box.clock.skew_seconds = 0
    assert (await pull_reports_of("sale")).second_copies == 0


async def test_a_search_that_fails_loses_nothing_and_is_said(box: Sandbox, hasty: Settings, tmp_path: Path) -> None:
    await sent_twice(box, hasty, tmp_path)
    box.clock.advance(2 * HOUR)
    await pull_reports_of("sale")
    box.faults.replace([{"call": REPORTS, "fault": "status_before", "status": 503}])
    pulled = await pull_due_reports(hasty, lambda: time.time() + HOUR)
    assert len(pulled.problems) >= 1
    assert status_of("sale", hasty)["second_copies"] == 50


def test_the_older_the_requests_the_more_rarely_copies_are_looked_for() -> None:
    now = 1_000_000.0
    fresh = campaign()
    assert not is_search_due(fresh, now - 60, now)
    assert is_search_due(fresh, now - 600, now)
    assert not is_search_due(fresh, now - 73 * HOUR, now)
    sought = dataclasses.replace(fresh, copies_sought_at=now - HOUR)
    assert is_search_due(sought, now - 3 * HOUR, now)
    assert not is_search_due(sought, now - 24 * HOUR, now)


async def test_counts_stay_when_numbers_are_erased(box: Sandbox, hasty: Settings, tmp_path: Path) -> None:
    await sent_twice(box, hasty, tmp_path)
    await pull_reports_of("sale")
    ledger = Ledger(hasty.database_url)
    erasing.erase(ledger, deliveries.get(ledger, "sale"))
    ledger.close()
    assert status_of("sale", hasty)["second_copies"] == 50


async def test_a_copy_that_is_dated_by_its_dispatch_is_one(box: Sandbox, hasty: Settings, tmp_path: Path) -> None:
    """Whether the provider dates what it keeps by the request or by the dispatch is not documented."""
    dispatch = datetime.now(UTC) + timedelta(days=1)
    file = write_campaign(tmp_path, numbers(200), resend_unconfirmed="true", send_at=f"{dispatch:%Y-%m-%dT%H:%M:%SZ}")
    box.faults.replace([{"call": SEND, "fault": "late", "at": [3], "seconds": 3600}])
    assert counted(await deliver(file, hasty)) == {"scheduled": 200}
    box.clock.skew_seconds = 86_400
    await box.release_late()
    box.clock.skew_seconds = 0
    assert (box.truth()["accepted"], box.truth()["twice"]) == (250, 50)
    await pull_reports_of("sale")
    assert status_of("sale", hasty)["second_copies"] == 50
