"""Hours of the week in which messages may reach people: ``Mon-Fri 08:00-20:00, Sat 09:00-18:00``, by the clock on the wall.

A moment is inside if the zone's clock shows a time inside, even in the nights in which it goes forward or back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MINUTES = 1440
_MINUTE_SECONDS = 60
_HORIZON_MINUTES = 15 * _MINUTES
"""Hours that open at all open within a week, or in the week after if the clock skips that hour."""
_ITEM = re.compile(r"([a-z]{3})(?:\s*-\s*([a-z]{3}))?\s+(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})", re.IGNORECASE)
_EXPECTED = "expected hours such as Mon-Fri 08:00-20:00, Sat 09:00-18:00"
_SHORTEST_MINUTES = 15


@dataclass(frozen=True, slots=True)
class Hours:
    """The minutes of each weekday, Monday first, as bits: bit 0 is the minute that begins at 00:00."""

    minutes: tuple[int, ...]

    def __str__(self) -> str:
        """``Mon-Fri 08:00-20:00, Sat 09:00-18:00``, as ``read_hours`` reads it; ``never`` if nothing is open."""
        parts: list[str] = []
        first = 0
        for day in range(1, len(_DAYS) + 1):
            if day == len(_DAYS) or self.minutes[day] != self.minutes[first]:
                days = _DAYS[first] if day == first + 1 else f"{_DAYS[first]}-{_DAYS[day - 1]}"
                parts += [f"{days} {_time(start)}-{_time(end)}" for start, end in _windows(self.minutes[first])]
                first = day
        return ", ".join(parts) or "never"

    def __and__(self, other: Hours) -> Hours:
        """The hours that are in both."""
        return Hours(tuple(mine & theirs for mine, theirs in zip(self.minutes, other.minutes, strict=True)))

    def is_within(self, other: Hours) -> bool:
        """Whether no minute is outside the other's."""
        return self & other == self

    def is_open(self, seconds: float, zone: ZoneInfo) -> bool:
        """Whether the zone's clock shows a time inside at that moment (seconds since 1970)."""
        local = datetime.fromtimestamp(seconds, UTC).astimezone(zone)
        return bool(self.minutes[local.weekday()] >> (60 * local.hour + local.minute) & 1)


def read_hours(text: str) -> Hours:
    """The hours an operator wrote.

    Raises:
        ValueError: they cannot be read, or a span is shorter than a quarter of an hour; the message says what is expected.
    """
    minutes = [0] * len(_DAYS)
    for item in text.replace("\u2013", "-").split(","):
        found = _ITEM.fullmatch(item.strip())
        if found is None:
            raise ValueError(_EXPECTED)
        start, end = _minute(found[3], found[4]), _minute(found[5], found[6])
        if end <= start:
            raise ValueError(f"{_EXPECTED}; a span over midnight is two, as in Mon 20:00-24:00, Tue 00:00-06:00")
        if end - start < _SHORTEST_MINUTES:
            raise ValueError(f"{_EXPECTED}; each span at least {_SHORTEST_MINUTES} minutes long")
        for day in _days(found[1], found[2] or found[1]):
            minutes[day] |= (1 << end) - (1 << start)
    return Hours(tuple(minutes))


def spans(allows: Callable[[float], bool], since: float) -> Iterator[tuple[float, float]]:
    """The spans ``(from, until)`` (seconds) of whole minutes that ``allows``, from now on and over the next fifteen days.

    It looks at each minute, so the nights in which clocks change need no special rule. The first span begins at ``since`` if
    that moment is inside; the last may go on after its end.
    """
    first = int(since // _MINUTE_SECONDS)
    begun: float | None = None
    for minute in range(first, first + _HORIZON_MINUTES):
        at = float(minute * _MINUTE_SECONDS)
        if allows(at):
            begun = max(at, since) if begun is None else begun
        elif begun is not None:
            yield begun, at
            begun = None
    if begun is not None:
        yield begun, float((first + _HORIZON_MINUTES) * _MINUTE_SECONDS)


def _days(first: str, last: str) -> Iterator[int]:
    """The days from one to the other, past the end of the week if needed."""
    names = {name.casefold(): day for day, name in enumerate(_DAYS)}
    try:
        begin, end = names[first.casefold()], names[last.casefold()]
    except KeyError:
        raise ValueError(f"{_EXPECTED}; days are {', '.join(_DAYS)}") from None
    return (day % len(_DAYS) for day in range(begin, end + 1 + (len(_DAYS) if end < begin else 0)))


def _minute(hour: str, minute: str) -> int:
    """The minute of the day; 24:00 is its end."""
    at = 60 * int(hour) + int(minute)
    if int(minute) >= 60 or at > _MINUTES:
        raise ValueError(f"{_EXPECTED}; times from 00:00 to 24:00")
    return at


def _windows(minutes: int) -> Iterator[tuple[int, int]]:
    """The spans of a day's minutes, as minutes of the day."""
    at = 0
    while minutes >> at:
        start = at + ((minutes >> at) & -(minutes >> at)).bit_length() - 1
        gap = ~(minutes >> start)
        at = start + (gap & -gap).bit_length() - 1
        yield start, at


def _time(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
