"""Hours by the clock on the wall: how they are read, and what the nights of daylight saving make of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from posthorn.hours import read_hours, spans

WARSAW = ZoneInfo("Europe/Warsaw")


def at(text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=WARSAW, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Mon-Fri 08:00-20:00, Sat 09:00-18:00", "Mon-Fri 08:00-20:00, Sat 09:00-18:00"),
        ("mon-FRI 8:00 – 20:00", "Mon-Fri 08:00-20:00"),
        ("Sat-Mon 10:00-24:00", "Mon 10:00-24:00, Sat-Sun 10:00-24:00"),
        ("Mon 08:00-12:00, Mon 11:00-13:00, Mon 15:00-16:00", "Mon 08:00-13:00, Mon 15:00-16:00"),
        ("Mon-Sun 00:00-24:00", "Mon-Sun 00:00-24:00"),
    ],
)
def test_what_is_read_is_shown_as_it_is_meant(text: str, shown: str) -> None:
    assert str(read_hours(text)) == shown
    assert read_hours(shown) == read_hours(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected hours such as"),
        ("Mon-Fri", "expected hours such as"),
        ("08:00-20:00", "expected hours such as"),
        ("Mon 08:00-20:00,", "expected hours such as"),
        ("Pon 08:00-20:00", "days are Mon, Tue"),
        ("Mon 20:00-06:00", "a span over midnight is two"),
        ("Mon 24:00-24:00", "a span over midnight is two"),
        ("Mon 08:00-24:01", "times from 00:00 to 24:00"),
        ("Mon 08:60-10:00", "times from 00:00 to 24:00"),
        ("Mon 08:00-08:10", "at least 15 minutes"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_hours(text)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-27T07:59:59", False),
        ("2026-11-27T08:00:00", True),
        ("2026-11-27T23:59:59", True),
        ("2026-11-28T00:00:00", False),
    ],
)
def test_the_beginning_is_inside_and_the_end_is_not(moment: str, is_open: bool) -> None:
    assert read_hours("Fri 08:00-24:00").is_open(at(moment), WARSAW) == is_open


def test_narrower_and_wider() -> None:
    house = read_hours("Mon-Fri 08:00-20:00")
    assert read_hours("Mon 10:00-12:00").is_within(house)
    assert not read_hours("Mon 10:00-20:01").is_within(house)
    assert str(read_hours("Mon-Tue 07:00-09:00, Sat 10:00-11:00") & house) == "Mon-Tue 08:00-09:00"
    assert str(read_hours("Sat 10:00-11:00") & house) == "never"


def found(text: str, since: str, count: int = 1) -> list[tuple[str, str]]:
    hours = read_hours(text)
    some = spans(lambda seconds: hours.is_open(seconds, WARSAW), at(since))
    return [
        tuple(f"{datetime.fromtimestamp(edge, WARSAW):%a %H:%M %z}" for edge in next(some))  # type: ignore[misc]
        for _ in range(count)
    ]


def test_the_next_span_is_found_from_inside_and_from_outside() -> None:
    assert found("Mon-Fri 08:00-20:00", "2026-11-27T21:00", 2) == [
        ("Mon 08:00 +0100", "Mon 20:00 +0100"),
        ("Tue 08:00 +0100", "Tue 20:00 +0100"),
    ]
    assert found("Mon-Fri 08:00-20:00", "2026-11-27T19:59") == [("Fri 19:59 +0100", "Fri 20:00 +0100")]
    assert found("Fri 20:00-24:00, Sat 00:00-02:00", "2026-11-27T12:00") == [("Fri 20:00 +0100", "Sat 02:00 +0100")]


def test_the_night_in_which_the_clock_goes_forward() -> None:
    """29 March 2026: after 01:59 comes 03:00."""
    assert found("Sun 02:30-04:00", "2026-03-29T00:00") == [("Sun 03:00 +0200", "Sun 04:00 +0200")]
    assert found("Sun 01:00-02:30", "2026-03-29T00:00") == [("Sun 01:00 +0100", "Sun 03:00 +0200")]
    assert found("Sun 02:00-03:00", "2026-03-28T12:00") == [("Sun 02:00 +0200", "Sun 03:00 +0200")], "a week later"


def test_an_hour_that_is_skipped_is_waited_for_until_the_week_after() -> None:
    assert found("Sun 02:00-03:00", "2026-03-22T03:00") == [("Sun 02:00 +0200", "Sun 03:00 +0200")]


def test_the_night_in_which_the_clock_goes_back() -> None:
    """25 October 2026: after 02:59 comes 02:00 again."""
    assert found("Sun 02:00-03:00", "2026-10-25T00:00") == [("Sun 02:00 +0200", "Sun 03:00 +0100")]
    assert found("Sun 01:00-02:30", "2026-10-25T00:00", 2) == [
        ("Sun 01:00 +0200", "Sun 02:30 +0200"),
        ("Sun 02:00 +0100", "Sun 02:30 +0100"),
    ]
    hours = read_hours("Sun 01:00-02:30")
    assert not hours.is_open(at("2026-10-25T02:45"), WARSAW)
    assert hours.is_open(at("2026-10-25T02:15", fold=1), WARSAW)


def test_what_is_always_open_has_no_end_in_sight() -> None:
    everyday = read_hours("Mon-Sun 00:00-24:00")
    since = at("2026-11-27T12:00")
    ((begin, end),) = spans(lambda seconds: everyday.is_open(seconds, WARSAW), since)
    assert (begin, end - begin) == (since, timedelta(days=15).total_seconds())
    assert list(spans(lambda _: False, since)) == []
