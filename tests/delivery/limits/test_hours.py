"""Nobody is woken: nothing is claimed outside the hours, nothing leaves after them, and what is left goes on by itself."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from posthorn.content.definition import CampaignContent
from posthorn.delivery.deciding.approval import decide
from posthorn.delivery.limits.hours import Gate
from posthorn.delivery.planning.check import examine
from posthorn.delivery.planning.load import load_wish
from posthorn.errors import InputError, Stopped, Waits
from posthorn.models import Kind
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.delivery.event_journey import attendees, send_event, ticket_settings, write_event
from tests.delivery.journey import counted, deliver, numbers, plan_file, question_of, write_campaign
from tests.ledger.ledgers import delivery

WARSAW = ZoneInfo("Europe/Warsaw")
OFFICE = "Mon-Fri 08:00-20:00, Sat 09:00-18:00"


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=WARSAW).timestamp()


class Hand:
    """A clock that a test sets."""

    def __init__(self, text: str) -> None:
        self.now = at(text)

    def __call__(self) -> float:
        return self.now


def gate(house: str | None, clock: Hand, *, own: str | None = None, test: bool = False, **content: Any) -> Gate:
    kept = CampaignContent(title="Autumn sale", **content)
    one = delivery(content=kept, options={"send_hours": own} if own else {}, test=test)
    return Gate(one, Settings(send_hours=house), 30.0, clock)


def opens(gate: Gate) -> str | None:
    """When the next claim may be made; None: now."""
    try:
        gate.refuse_claim()
    except Waits as waits:
        return f"{datetime.fromtimestamp(waits.until, WARSAW):%a %d %H:%M}"
    return None


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-27T07:59", "Fri 27 08:00"),
        ("2026-11-27T08:00", None),
        ("2026-11-27T19:58", None),
        ("2026-11-27T19:59", "Sat 28 09:00"),
        ("2026-11-27T20:00", "Sat 28 09:00"),
        ("2026-11-29T12:00", "Mon 30 08:00"),
    ],
)
def test_nothing_is_claimed_outside_nor_close_before_the_end(now: str, expected: str | None) -> None:
    assert opens(gate(OFFICE, Hand(now))) == expected


def test_the_gate_is_asked_again_at_each_claim_whatever_the_clock_does() -> None:
    hand = Hand("2026-11-27T19:00")
    one = gate(OFFICE, hand)
    seen = []
    for now in ("2026-11-27T19:00", "2026-11-27T19:59:30", "2026-11-28T09:00", "2026-11-27T07:00", "2026-11-27T12:00"):
        hand.now = at(now)
        seen.append(opens(one))
    assert seen == [None, "Sat 28 09:00", None, "Fri 27 08:00", None]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("Mon-Fri 10:00-18:00", "Fri 27 10:00"),
        ("Mon-Sun 07:00-23:00", None),
        ("Sun 10:00-12:00", "never"),
    ],
)
def test_a_file_may_narrow_the_hours_and_goes_beyond_them_only_with_a_word(own: str, expected: str | None) -> None:
    one = gate(OFFICE, Hand("2026-11-27T09:00"), own=own)
    if expected == "never":
        with pytest.raises(Stopped, match=r"its hours \(never\) leave no moment"):
            opens(one)
        one.widen()
        assert opens(one) == "Sun 29 10:00"
    else:
        assert opens(one) == expected
    late = gate(OFFICE, Hand("2026-11-27T22:00"), own="Mon-Sun 07:00-23:00")
    assert opens(late) == "Sat 28 09:00"
    late.widen()
    assert opens(late) is None


def test_a_file_has_hours_of_its_own_where_the_house_has_none() -> None:
    assert opens(gate(None, Hand("2026-11-27T22:00"))) is None
    assert opens(gate(None, Hand("2026-11-27T22:00"), own="Sat 10:00-12:00")) == "Sat 28 10:00"


def test_a_test_reaches_nobody_at_any_hour() -> None:
    assert opens(gate(OFFICE, Hand("2026-11-27T22:00"), test=True)) is None


@pytest.mark.parametrize(
    ("now", "minutes", "expected"),
    [
        ("2026-11-27T19:00", 30, None),
        ("2026-11-27T19:29", 30, "Sat 28 09:00"),
        ("2026-11-27T07:45", 30, "Fri 27 08:00"),
        ("2026-11-27T12:00", 24 * 60, None),
        ("2026-11-27T19:00", 24 * 60, "Mon 30 08:00"),
    ],
)
def test_what_is_held_is_dispatched_inside(now: str, minutes: int, expected: str | None) -> None:
    assert opens(gate(OFFICE, Hand(now), hold_minutes=minutes)) == expected


def test_what_has_a_moment_of_its_own_may_be_handed_over_at_night_if_that_moment_is_inside() -> None:
    assert opens(gate(OFFICE, Hand("2026-11-27T22:00"), send_at="2026-11-28T08:00:00+00:00")) is None
    with pytest.raises(Stopped, match="its send_at is outside them"):
        opens(gate(OFFICE, Hand("2026-11-27T12:00"), send_at="2026-11-27T22:00:00+00:00"))


@pytest.mark.parametrize("night", ["2026-03-29", "2026-10-25"])
def test_in_the_nights_in_which_clocks_change_nothing_is_claimed_that_the_wall_says_is_outside(night: str) -> None:
    hand = Hand(f"{night}T00:00")
    hours = "Sun 01:00-02:30"
    one = gate(hours, hand)
    claimed = []
    for _ in range(5 * 60):
        hand.now += 60.0
        if opens(one) is None:
            claimed.append(datetime.fromtimestamp(hand.now, WARSAW))
    assert claimed
    assert all((1, 0) <= (moment.hour, moment.minute) < (2, 30) for moment in claimed)


async def test_a_closed_campaign_waits_and_goes_on_at_its_opening(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    settings.send_hours = OFFICE
    file, hand = write_campaign(tmp_path, numbers(120)), Hand("2099-11-27T22:00")
    status = await deliver(file, settings, clock=hand)
    assert (status["state"], counted(status), box.truth()["send_requests"]) == ("waiting", {"pending": 120}, 0)
    assert status["waiting_until"] == "2099-11-28T08:00:00+00:00"
    assert "`make serve` goes on by itself, else run `posthorn campaign send` with the same file then" in status["because"]
    hand.now = at("2099-11-28T09:00")
    status = await deliver(file, settings, clock=hand)
    assert (status["state"], counted(status), status["waiting_until"]) == ("finished", {"accepted": 120}, None)


async def test_hours_that_end_during_a_run_let_nothing_more_leave(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    settings.send_hours, settings.serwersms.concurrency = OFFICE, 1
    begun = at("2099-11-27T19:58")
    file = write_campaign(tmp_path, numbers(500))
    status = await deliver(file, settings, clock=lambda: begun + 30.0 * box.traffic.sends)  # half a minute a request
    assert (status["state"], counted(status)) == ("waiting", {"pending": 400, "accepted": 100})
    assert (box.truth()["accepted"], box.truth()["send_requests"]) == (100, 2)


async def test_a_request_that_overslept_the_end_of_the_hours_does_not_leave(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    settings.send_hours = OFFICE
    moments = iter([at("2099-11-27T19:00")])
    status = await deliver(
        write_campaign(tmp_path, numbers(50)), settings, clock=lambda: next(moments, at("2099-11-27T20:00"))
    )
    assert (status["state"], counted(status), box.truth()["send_requests"]) == ("waiting", {"pending": 50}, 0)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"send_at": "2099-11-27T21:00:00+01:00"},
            "send_at: .*outside its hours .*next moment inside is Sat 2099-11-28 09:00",
        ),
        ({"send_hours": '"Mon 8-20"'}, "send_hours: expected hours such as Mon-Fri"),
        ({"hold_minutes": "4320", "send_hours": '"Tue 10:00-12:00"'}, "hold_minutes: .*leave no moment"),
    ],
)
def test_what_would_land_outside_is_refused_by_check_and_by_planning(
    keys: dict[str, str], said: str, settings: Settings, tmp_path: Path
) -> None:
    settings.send_hours = OFFICE
    file = write_campaign(tmp_path, numbers(3), **keys)
    with pytest.raises(InputError, match=said):
        examine(load_wish(file, Kind.CAMPAIGN, settings))
    with pytest.raises(InputError, match=said):
        plan_file(file, settings)


async def test_an_event_waits_for_its_hours(tmp_path: Path) -> None:
    async with Sandbox(speed=0) as box:
        settings = ticket_settings(box.url, tmp_path)
        settings.send_hours = OFFICE
        file, hand = write_event(tmp_path, attendees(3), send_hours='"Mon-Fri 10:00-12:00"'), Hand("2099-11-27T09:00")
        status = await send_event(file, settings, clock=hand)
        assert (status["state"], counted(status), status["waiting_until"]) == (
            "waiting",
            {"pending": 3},
            "2099-11-27T09:00:00+00:00",
        )
        assert "`posthorn tickets send` with the same file then" in status["because"]
        hand.now = at("2099-11-27T10:00")
        assert counted(await send_event(file, settings, clock=hand)) == {"accepted": 3}


async def test_an_event_is_sent_beyond_the_hours_of_the_house_once_that_is_approved(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ticket_settings(box.url, tmp_path)
    settings.send_hours = OFFICE
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("POSTHORN_SEND_HOURS", OFFICE)
    file, late = write_event(tmp_path, attendees(3), send_hours='"Mon-Sun 07:00-22:00"'), Hand("2099-11-27T21:00")
    warned = [one.code for one in examine(load_wish(file, Kind.EVENT, settings)).warnings]
    assert "approval_hours" in warned
    status = await send_event(file, settings, clock=late)
    assert (status["state"], counted(status)) == ("waiting", {"pending": 3}), "nobody has said yes"
    question = await asyncio.to_thread(question_of, "gala")
    assert question is not None
    assert f"beyond those of the house ({OFFICE})" in question.as_text()
    decide("gala", approved=True, by="Ada", content=question.content)
    assert counted(await send_event(file, settings, clock=late)) == {"accepted": 3}
