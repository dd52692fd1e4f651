"""When a delivery may send: the settings' hours, narrowed by its file, compared with the moment when messages reach people.

That is the moment of the request, or the moment when the provider dispatches what it keeps. Nothing is claimed close to the
end of the hours. A caller that may not send now is told until when to wait; nothing here waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from posthorn.content import moments
from posthorn.errors import InputError, Stopped, Waits
from posthorn.hours import Hours, read_hours, spans
from posthorn.ledger.deliveries import Delivery, PlannedCampaign
from posthorn.models import WaitsFor
from posthorn.settings import Settings

MARGIN_SECONDS = 60.0
"""Nothing is claimed this close to the end of the hours; longer if an answer is waited for longer than that."""

Clock = Callable[[], float]


class Gate:
    """Says of one delivery, by the clock (seconds since 1970), whether a request may be claimed, or may leave.

    ``margin_seconds``: how long before the end nothing is claimed any more.
    """

    def __init__(self, delivery: Delivery, settings: Settings, margin_seconds: float, clock: Clock = time.time) -> None:
        self._house = settings.hours()
        self._own = own_hours(delivery.options)
        self._zone = ZoneInfo(settings.timezone)
        self._margin_seconds = max(MARGIN_SECONDS, margin_seconds)
        self._dispatch = Dispatch.of(delivery)
        self._clock = clock
        self._span = (0.0, 0.0)
        self._hours = None if delivery.test else effective_hours(self._house, self._own, is_approved=False)

    def widen(self) -> None:
        """Use the hours of the delivery's file although they go beyond the settings': a person has approved them."""
        if self._hours is not None:
            self._hours, self._span = effective_hours(self._house, self._own, is_approved=True), (0.0, 0.0)

    def refresh(self, delivery: Delivery) -> None:
        """Use the delivery as it is now: another of its waves may be open."""
        self._dispatch, self._span = Dispatch.of(delivery), (0.0, 0.0)

    def refuse_claim(self) -> None:
        """Refuse a claim outside the hours, or close before their end.

        Raises:
            Waits: with the next moment at which one may be made.
            Stopped: there is none.
        """
        if self._hours is None:
            return
        now = self._clock()
        if not self._span[0] <= now < self._span[1]:
            self._span = self._next_span(now)
        if now < self._span[0]:
            opens = moments.shown(datetime.fromtimestamp(self._span[0], UTC), self._zone.key)
            raise Waits(f"outside its hours ({self._hours}) until {opens}", reason=WaitsFor.HOURS, until=self._span[0])

    def refuse_to_leave(self) -> None:
        """Refuse a request that was claimed in time and has waited too long since.

        Raises:
            Waits, Stopped: as ``refuse_claim``.
        """
        if self._hours is not None and not self._dispatch.is_inside(self._hours, self._zone, self._clock()):
            self._span = (0.0, 0.0)
            self.refuse_claim()

    def _next_span(self, now: float) -> tuple[float, float]:
        hours = self._hours
        assert hours is not None
        for begin, end in spans(lambda at: self._dispatch.is_inside(hours, self._zone, at), now):
            if end - self._margin_seconds > begin:
                return begin, end - self._margin_seconds
        raise Stopped(f"its hours ({hours}) leave no moment to send it: {self._dispatch.why_never}")


class Dispatch:
    """When messages of a request reach people: at once, so many minutes later, or at a set moment."""

    def __init__(self, send_at: datetime | None = None, hold_minutes: int | None = None) -> None:
        self._send_at = send_at.timestamp() if send_at is not None else None
        self._hold_seconds = 60.0 * (hold_minutes or 0)

    @classmethod
    def of(cls, delivery: Delivery) -> Dispatch:
        """The dispatch of what may be claimed of a delivery now; a ticket reaches its attendee with its request."""
        if isinstance(delivery, PlannedCampaign):
            return cls(delivery.named_moment, delivery.content.hold_minutes)
        return cls()

    def is_inside(self, hours: Hours, zone: ZoneInfo, at: float) -> bool:
        """Whether messages of a request at that moment reach people in these hours.

        A request with a set moment may leave at any time before it: that wakes nobody. A held one leaves inside the hours.
        """
        if self._send_at is not None:
            return hours.is_open(self._send_at, zone) and (at <= self._send_at or hours.is_open(at, zone))
        return hours.is_open(at, zone) and (not self._hold_seconds or hours.is_open(at + self._hold_seconds, zone))

    @property
    def why_never(self) -> str:
        """What to change where no moment fits."""
        if self._send_at is not None:
            return "its send_at is outside them, and what is planned keeps it. Give it another name with another moment"
        if self._hold_seconds:
            return "what is held would be dispatched outside them. Change send_hours in its file or POSTHORN_SEND_HOURS"
        return "change send_hours in its file, or POSTHORN_SEND_HOURS"


def own_hours(options: Mapping[str, Any]) -> Hours | None:
    """The hours that a delivery's own file gives it."""
    text = options.get("send_hours")
    return read_hours(text) if text else None


def effective_hours(house: Hours | None, own: Hours | None, *, is_approved: bool) -> Hours | None:
    """The hours in force: the file's if they are narrower or approved, else what is in both; None: any time."""
    if house is None or own is None:
        return own or house
    return own if is_approved else house & own


def is_wider(house: Hours | None, own: Hours | None) -> bool:
    """Whether a file's hours go beyond those of the settings."""
    return house is not None and own is not None and not own.is_within(house)


def next_claim(hours: Hours, zone: str, dispatch: Dispatch, now: float) -> float | None:
    """The next moment at which a request may be claimed, ``now`` where that is; None: there is none."""
    of_zone = ZoneInfo(zone)
    fits = spans(lambda at: dispatch.is_inside(hours, of_zone, at), now)
    return next((begin for begin, end in fits if end - MARGIN_SECONDS > begin), None)


def refuse_outside(
    settings: Settings, own: Hours | None, now: datetime, *, send_at: datetime | None = None, hold_minutes: int | None = None
) -> None:
    """Refuse a delivery whose dispatch lands outside the hours, as its file has them.

    Raises:
        InputError: ``send_at`` is outside; what is held now is dispatched outside; or no moment of the week fits.
    """
    hours = effective_hours(settings.hours(), own, is_approved=True)
    if hours is None:
        return
    zone, seconds = ZoneInfo(settings.timezone), now.timestamp()
    if send_at is not None and not hours.is_open(send_at.timestamp(), zone):
        opens = _after(hours, settings.timezone, send_at)
        raise InputError("send_at", f"{moments.shown(send_at, zone.key)} is outside its hours ({hours}); {opens}")
    held = 60.0 * (hold_minutes or 0)
    if held and hours.is_open(seconds, zone) and not hours.is_open(seconds + held, zone):
        lands = moments.shown(datetime.fromtimestamp(seconds + held, UTC), zone.key)
        raise InputError(
            "hold_minutes",
            f"what is sent now is dispatched {lands}, outside its hours ({hours}); hold it for less, or send it earlier",
        )
    if next_claim(hours, settings.timezone, Dispatch(send_at, hold_minutes), seconds) is None:
        key = "hold_minutes" if held else "send_hours"
        raise InputError(key, f"its hours ({hours}) leave no moment to send it; make them longer, or hold it for less")


class ShownHours(NamedTuple):
    """The hours in force for a delivery, as they are shown. ``opens``: when sending begins, if that is not now."""

    hours: str
    timezone: str
    opens: datetime | None

    def __str__(self) -> str:
        """``Mon-Fri 08:00-20:00 (Europe/Warsaw); closed now, sending starts Sat 2026-11-28 09:00 +01:00``"""
        closed = f"; closed now, sending starts {moments.shown(self.opens, self.timezone)}" if self.opens else ""
        return f"{self.hours} ({self.timezone}){closed}"


def shown_hours(settings: Settings, own: Hours | None, now: datetime, dispatch: Dispatch | None = None) -> ShownHours | None:
    """The hours in force for a delivery with this file; None: any time."""
    hours = effective_hours(settings.hours(), own, is_approved=True)
    if hours is None:
        return None
    opens = next_claim(hours, settings.timezone, dispatch or Dispatch(), now.timestamp())
    is_later = opens is not None and opens > now.timestamp()
    return ShownHours(str(hours), settings.timezone, datetime.fromtimestamp(opens, UTC) if opens and is_later else None)


def _after(hours: Hours, zone: str, moment: datetime) -> str:
    opens = next_claim(hours, zone, Dispatch(), moment.timestamp())
    if opens is None:
        return "expected a moment inside"
    return f"the next moment inside is {moments.shown(datetime.fromtimestamp(opens, UTC), zone)}"
