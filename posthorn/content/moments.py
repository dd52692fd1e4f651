"""Moments with their weekday and zone, as operators and providers read them, and warnings about odd ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from posthorn.content.warnings import Caution
from posthorn.errors import InputError

FIRST_HOUR, LAST_HOUR = 8, 21
"""Hours of the day outside which a message wakes people."""
FIRST_YEAR, LAST_YEAR = 2000, 2199
"""Years that a moment may plausibly be in."""
_FAR = timedelta(days=180)


def shown(moment: datetime, *zones: str) -> str:
    """``Mon 2026-11-30 09:00 +01:00 (Europe/Warsaw)`` in each zone; zones that agree are listed together."""
    readings: dict[str, list[str]] = {}
    for zone in dict.fromkeys(zones):
        local = moment.astimezone(ZoneInfo(zone))
        readings.setdefault(f"{local:%a %Y-%m-%d %H:%M} {_offset(local)}", []).append(zone)
    return " = ".join(f"{reading} ({', '.join(names)})" for reading, names in readings.items())


def oddities(moment: datetime, now: datetime, zone: str, key: str = "send_at") -> Iterator[Caution]:
    """Probable slips in a written moment: far in the future, an offset that is not the zone's, an odd hour."""
    local = moment.astimezone(ZoneInfo(zone))
    if moment - now > _FAR:
        days = (moment - now).days
        yield Caution("moment_far", f"{key}: {local:%a %Y-%m-%d} is {days:,} days ahead; is the year right?")
    if moment.utcoffset() not in (local.utcoffset(), timedelta(0)):
        yield Caution(
            "moment_offset",
            f"{key}: {moment:%H:%M} with {_offset(moment)} is {local:%H:%M} in {zone}, which has {_offset(local)} then",
        )
    if is_repeated(local):
        yield Caution(
            "moment_repeated",
            f"{key}: {local:%H:%M} comes twice in {zone} on that day (clocks go back); {_offset(local)} is meant",
        )
    if not FIRST_HOUR <= local.hour < LAST_HOUR:
        yield Caution("moment_night", f"{key}: {local:%a %H:%M} in {zone} is at night")


def is_repeated(local: datetime) -> bool:
    """Whether the clock shows this time twice on that day."""
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset() and not is_skipped(local)


def is_skipped(local: datetime) -> bool:
    """Whether the clock never shows this time on that day: it goes forward over it."""
    bare = local.replace(tzinfo=None)
    return local.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None) != bare


def checked_zone(name: str) -> str:
    """The name of a time zone.

    Raises:
        InputError: there is no such zone.
    """
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError("--timezone", f"{name!r} is not a time zone; expected one such as Europe/Warsaw") from None


def read_at(text: str, zone: str, *, zone_is_given: bool, now: datetime) -> datetime:
    """The moment of ``--at``: in ``zone`` unless it has an offset of its own.

    Raises:
        InputError: it cannot be read, has passed, does not exist in the zone, or its offset contradicts ``--timezone``.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError("--at", f"{text!r} is not a moment; expected one such as 2026-12-01T09:00") from None
    if not FIRST_YEAR <= at.year <= LAST_YEAR:  # outside these years, another time zone may have no date for it
        raise InputError("--at", f"expected a moment of the years {FIRST_YEAR} to {LAST_YEAR}")
    local = at.replace(tzinfo=ZoneInfo(zone)) if at.tzinfo is None else at.astimezone(ZoneInfo(zone))
    if at.tzinfo is None and is_skipped(local):
        shift = local.astimezone(UTC).astimezone(ZoneInfo(zone))
        raise InputError(
            "--at",
            f"{at:%H:%M} does not exist in {zone} on {at:%Y-%m-%d}: clocks go forward; say {shift:%H:%M}, or another hour",
        )
    if at.tzinfo is None and is_repeated(local):
        raise InputError(
            "--at",
            f"{at:%H:%M} comes twice in {zone} on {at:%Y-%m-%d}: clocks go back; add the offset you mean,"
            f" {_offset(local.replace(fold=0))} or {_offset(local.replace(fold=1))}",
        )
    if at.tzinfo is not None and zone_is_given and at.utcoffset() != local.utcoffset():
        raise InputError(
            "--at", f"{_offset(at)} is not the offset of {zone} on that day ({_offset(local)}); leave one of the two out"
        )
    if local <= now:
        raise InputError("--at", f"{shown(local, zone)} has passed")
    return local


def _offset(moment: datetime) -> str:
    return moment.isoformat()[-6:]
