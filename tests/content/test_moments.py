"""A moment is what somebody meant by it, or they are told."""

from datetime import UTC, datetime

import pytest

from posthorn.content import moments
from posthorn.errors import InputError

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "zone", "given", "said"),
    [
        pytest.param("2027-03-28T02:30", "Europe/Warsaw", False, "does not exist.*say 03:30", id="the hour that is skipped"),
        pytest.param("2027-10-31T02:30", "Europe/Warsaw", False, r"comes twice.*\+02:00 or \+01:00", id="twice"),
        pytest.param("2026-12-01T09:00+01:00", "America/New_York", True, "leave one of the two out", id="two zones"),
        pytest.param("2026-10-01T09:00", "Europe/Warsaw", False, "has passed", id="the past"),
        pytest.param("0001-01-01T00:00", "Europe/Warsaw", False, "of the years 2000 to 2199", id="no zone has that year"),
        pytest.param("tomorrow", "Europe/Warsaw", False, "is not a moment", id="words"),
    ],
)
def test_a_moment_that_cannot_be_meant_is_refused(at, zone, given, said):
    with pytest.raises(InputError, match=said):
        moments.read_at(at, zone, zone_is_given=given, now=NOW)


@pytest.mark.parametrize(
    ("at", "zone", "given", "utc"),
    [
        ("2026-12-01T09:00", "Europe/Warsaw", False, "2026-12-01T08:00:00+00:00"),
        ("2026-12-01T09:00-05:00", "America/New_York", True, "2026-12-01T14:00:00+00:00"),
        ("2026-12-01T09:00-05:00", "Europe/Warsaw", False, "2026-12-01T14:00:00+00:00"),
        ("2027-10-31T02:30+01:00", "Europe/Warsaw", False, "2027-10-31T01:30:00+00:00"),
    ],
)
def test_a_moment_is_read_in_its_zone(at, zone, given, utc):
    assert moments.read_at(at, zone, zone_is_given=given, now=NOW).astimezone(UTC).isoformat() == utc


def test_a_moment_is_shown_in_both_zones():
    moment = datetime(2026, 11, 30, 8, tzinfo=UTC)
    assert moments.shown(moment, "Europe/Warsaw", "Europe/Warsaw") == "Mon 2026-11-30 09:00 +01:00 (Europe/Warsaw)"
    assert moments.shown(moment, "Europe/Warsaw", "Europe/London") == (
        "Mon 2026-11-30 09:00 +01:00 (Europe/Warsaw) = Mon 2026-11-30 08:00 +00:00 (Europe/London)"
    )


def test_an_unknown_zone_is_refused():
    with pytest.raises(InputError, match="--timezone: 'Mars' is not a time zone"):
        moments.checked_zone("Mars")
