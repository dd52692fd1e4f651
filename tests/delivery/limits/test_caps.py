"""Money: a run stops before a cap is exceeded, says the amounts, and goes on when there is room; nobody is pestered."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from posthorn.delivery.deciding.resend import resend_all
from posthorn.delivery.planning.check import examine
from posthorn.delivery.planning.load import load_wish
from posthorn.delivery.planning.plan import plan_file
from posthorn.errors import InputError
from posthorn.models import Kind
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from posthorn.views.checked import check_text
from posthorn.views.status import exit_code, status_table
from tests.conftest import sandbox_settings
from tests.delivery.event_journey import attendees, send_event, ticket_settings, write_event
from tests.delivery.journey import counted, deliver, numbers, write_campaign
from tests.ledger.conftest import postgres_template, postgres_url  # noqa: F401 - fixtures

SEND = "messages/send_mms"


@pytest.fixture
def priced(settings: Settings) -> Settings:
    settings.serwersms.price_per_message = Decimal("0.10")
    return settings


async def test_a_campaign_stops_before_its_max_cost_and_goes_on_when_it_is_raised(
    box: Sandbox, priced: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    status = await deliver(write_campaign(tmp_path, numbers(500), max_cost="22.5"), priced)
    assert (status["state"], exit_code(status)) == ("stopped", 4)
    assert counted(status) == {"accepted": 200, "pending": 300}
    assert box.truth()["accepted"] == 200
    assert (
        "its max_cost of 22.50 is reached: 20.00 is spent or reserved, and the next request costs 5.00" in status["because"]
    )
    assert "Raise max_cost in its file, and run it again" in status_table(status)
    assert caplog.text.count("its max_cost of 22.50 is nearly used up: 20.00 is spent") == 1
    status = await deliver(write_campaign(tmp_path, numbers(500), max_cost="50"), priced)
    assert (status["state"], counted(status)) == ("finished", {"accepted": 500})


async def test_what_a_cap_allows_is_sent_in_one_run(box: Sandbox, priced: Settings, tmp_path: Path) -> None:
    """What is claimed and waits for its turn when the cap is reached is within the cap."""
    priced.serwersms.chunk_size = 5
    status = await deliver(write_campaign(tmp_path, numbers(500), max_cost="30"), priced)
    assert counted(status) == {"accepted": 300, "pending": 200}
    assert "its max_cost of 30.00 is reached: 30.00 is spent" in status["because"]


async def test_the_days_cap_is_for_all_campaigns_and_events_together(tmp_path: Path, box: Sandbox) -> None:
    settings = ticket_settings(box.url, tmp_path, price_per_message="1.50")
    settings.serwersms = settings.serwersms.model_copy(
        update={"base_url": box.url, "chunk_size": 50, "timeout_seconds": 2.0}
    )
    settings.serwersms.token = type(settings.skycore.api_key)("sandbox-token")  # type: ignore[misc]
    settings.serwersms.price_per_message = Decimal("0.10")
    settings.daily_cost_cap = Decimal(12)
    status = await send_event(write_event(tmp_path, attendees(3)), settings)
    assert counted(status) == {"accepted": 3}
    status = await deliver(write_campaign(tmp_path, numbers(200)), settings)
    assert counted(status) == {"accepted": 50, "pending": 150}
    assert "the day's cap (POSTHORN_DAILY_COST_CAP, " in status["because"]
    assert (
        "of 12.00 is reached: 9.50 is spent or reserved, and the next request costs 5.00. Run it again tomorrow"
        in (status["because"])
    )


async def test_unknown_ones_are_spent_and_refused_ones_are_not(box: Sandbox, priced: Settings, tmp_path: Path) -> None:
    box.faults.replace(
        [
            {"call": SEND, "fault": "close_before", "at": [1]},
            {"call": SEND, "fault": "status_before", "status": 429, "at": [2], "retry_after": "0"},
        ]
    )
    priced.serwersms.concurrency = 1
    status = await deliver(write_campaign(tmp_path, numbers(300), max_cost="10"), priced)
    assert counted(status)["unknown"] >= 50
    assert box.truth()["accepted"] + counted(status)["unknown"] <= 100
    assert status["state"] == "stopped"


async def test_what_was_surely_not_taken_leaves_room_for_it(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "fault": "status_before", "status": 429, "at": [1], "retry_after": "0"}])
    settings = sandbox_settings(box.url, tmp_path, concurrency=1, settle_seconds=0.3, price_per_message=Decimal("0.10"))
    status = await deliver(write_campaign(tmp_path, numbers(100), max_cost="10"), settings)
    assert (status["state"], counted(status)) == ("finished", {"accepted": 100})


async def test_what_each_country_costs_is_heeded(box: Sandbox, priced: Settings, tmp_path: Path) -> None:
    priced.serwersms.prices = "49=1.00"
    priced.serwersms.chunk_size = 10
    phones = [*numbers(10), *[f"+4915123456{number:03}" for number in range(20)]]
    file = write_campaign(tmp_path, phones, max_cost="15")
    checked = examine(load_wish(file, Kind.CAMPAIGN, priced))
    assert checked.cost == Decimal(21)
    assert "21.00 (by country prefix)" in check_text(checked)
    assert [one.message for one in checked.warnings if one.code == "cost_cap"] == [
        "it costs 21.00, and its max_cost is 15.00: it will stop before its end"
    ]
    status = await deliver(file, priced)
    assert counted(status) == {"accepted": 20, "pending": 10}


@pytest.mark.parametrize("capped", ["max_cost", "POSTHORN_DAILY_COST_CAP"])
def test_a_cap_without_a_price_is_refused_by_check_and_by_planning(capped: str, settings: Settings, tmp_path: Path) -> None:
    if capped == "max_cost":
        file = write_campaign(tmp_path, numbers(3), max_cost="1.5")
        event = write_event(tmp_path, attendees(3), max_cost="1.5")
    else:
        settings.daily_cost_cap = Decimal(5)
        file, event = write_campaign(tmp_path, numbers(3)), write_event(tmp_path, attendees(3))
    said = f"{capped}: a cap needs a price: set POSTHORN_SERWERSMS__PRICE_PER_MESSAGE"
    with pytest.raises(InputError, match=said):
        examine(load_wish(file, Kind.CAMPAIGN, settings))
    with pytest.raises(InputError, match=said):
        plan_file(file, settings)
    with pytest.raises(InputError, match="set POSTHORN_SKYCORE__PRICE_PER_MESSAGE"):
        plan_file(event, settings, kind=Kind.EVENT)


async def test_a_price_that_is_gone_stops_what_has_a_cap(box: Sandbox, priced: Settings, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, numbers(3))
    plan_file(file, priced)
    priced.serwersms.price_per_message, priced.daily_cost_cap = None, Decimal(5)
    status = await deliver(file, priced)
    assert (status["state"], counted(status), box.truth()["send_requests"]) == ("stopped", {"pending": 3}, 0)
    assert "needs a price: set POSTHORN_SERWERSMS__PRICE_PER_MESSAGE. Nothing more is sent" in status["because"]


@pytest.mark.parametrize("value", ["-1", "0", "1.234", '"5"', "true", "inf"])
def test_a_max_cost_that_cannot_be_meant_is_refused(value: str, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="max_cost: expected"):
        plan_file(write_campaign(tmp_path, numbers(3), max_cost=value), settings)


async def test_nobody_is_written_to_more_often_than_the_house_allows(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    settings.frequency_cap = "1/24h"
    await deliver(write_campaign(tmp_path, numbers(60)), settings)
    again = write_campaign(tmp_path, numbers(100), name="more", title='"Winter sale"')
    status = await deliver(again, settings)
    assert counted(status) == {"accepted": 40, "suppressed": 60}
    assert (status["state"], status["errors"]) == ("finished", {"too often": 60})
    assert "other campaigns have written to the number as often as POSTHORN_FREQUENCY_CAP allows" in status_table(status)
    assert (box.truth()["accepted"], box.truth()["numbers"]) == (100, 100)


async def test_tickets_are_exempt_and_do_not_count(box: Sandbox, tmp_path: Path) -> None:
    settings = ticket_settings(box.url, tmp_path)
    settings.frequency_cap = "1/24h"
    for round_ in ("first", "second"):
        file = write_event(tmp_path, attendees(3), allow_repeat="true")
        file.write_text(file.read_text(encoding="utf-8").replace('"gala"', f'"{round_}"'), encoding="utf-8")
        (tmp_path / "attendees.csv").write_text(
            (tmp_path / "attendees.csv").read_text(encoding="utf-8").replace("T0", round_[0].upper() + "0"), encoding="utf-8"
        )
        assert counted(await send_event(file, settings)) == {"accepted": 3}


@pytest.mark.parametrize("capped", ["max_cost", "POSTHORN_DAILY_COST_CAP"])
async def test_what_is_sent_again_on_purpose_costs_once_more(
    capped: str, box: Sandbox, priced: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message tells of its last attempt only; the one before it was paid, too. What was rejected was not."""
    monkeypatch.setenv("POSTHORN_DATABASE_URL", priced.database_url)
    monkeypatch.setenv("POSTHORN_STATE_DIR", str(priced.state_dir))
    box.faults.replace([{"call": SEND, "at": [1], "fault": "item_error", "items": 10, "code": 3103}])
    if capped == "max_cost":
        file = write_campaign(tmp_path, numbers(100), max_cost="15")
    else:
        file, priced.daily_cost_cap = write_campaign(tmp_path, numbers(100)), Decimal(15)
    assert counted(await deliver(file, priced)) == {"accepted": 90, "rejected": 10}
    assert resend_all(Kind.CAMPAIGN, "sale", by="Ada", why="another picture").resent == 100
    status = await deliver(file, priced)
    assert (status["state"], counted(status)) == ("stopped", {"accepted": 50, "pending": 50})
    assert box.truth()["accepted"] == 140
    assert "14.00 is spent or reserved" in status["because"]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_two_runs_at_once_on_postgresql_stay_below_the_days_cap_with_unknowns(
    seed: int,
    box: Sandbox,
    postgres_url: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    faults = ("close_before", "close_after", "reset_after")
    box.faults.replace(
        [{"call": SEND, "fault": one, "probability": 0.1, "seed": seed + at} for at, one in enumerate(faults)]
    )
    runs = []
    for name, at in (("one", 0), ("two", 3000)):
        folder = tmp_path / name
        folder.mkdir()
        own = sandbox_settings(box.url, folder, settle_seconds=0.1, breaker_after=100, price_per_message=Decimal("0.10"))
        own.database_url, own.daily_cost_cap = postgres_url, Decimal("112.5")
        file = write_campaign(folder, [f"+48501{number:06}" for number in range(at, at + 1500)], name=name, media="[]")
        runs.append(deliver(file, own))
    ended = await asyncio.gather(*runs)
    spent = sum(sum(counted(one).get(state, 0) for state in ("accepted", "unknown")) for one in ended)
    assert sum(box.truth()["faults"].values()) > 0
    assert box.truth()["accepted"] <= 1125
    assert spent <= 1125
    assert [one["state"] for one in ended] == ["stopped"] * 2
    assert all("the day's cap" in one["because"] for one in ended)
