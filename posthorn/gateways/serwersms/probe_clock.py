"""How far a provider's dates are ahead of ours, and which clock or zone is the cause."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

import httpx

from posthorn.gateways.http import HttpAnswer
from posthorn.gateways.probing import ProbeOrder, Reliance
from posthorn.models import Known, Observation

_CLOCK_SECONDS = 60.0
"""Moments of dispatch are in whole minutes, and lookups allow for more."""

_AGREE_SECONDS = 10.0


@dataclass(slots=True)
class Watch:
    """The ``Date`` of the newest answer, and how far ahead of our clock it was; hands each exchange on."""

    order: ProbeOrder
    ahead_seconds: float | None = None

    def notice(self, request: httpx.Request, answer: HttpAnswer | Exception) -> None:
        """A ``Tap``."""
        if isinstance(answer, HttpAnswer):
            with suppress(KeyError, ValueError, TypeError):
                dated = parsedate_to_datetime(answer.headers["date"])
                self.ahead_seconds = (dated.astimezone(UTC) - datetime.now(UTC)).total_seconds()
        if self.order.tap is not None:
            self.order.tap(request, answer)


def clock_of(
    reliance: Reliance, moments: Sequence[datetime], asked: tuple[datetime, datetime], watch: Watch, zone: ZoneInfo
) -> Observation:
    """What a date says about something that was asked for between two moments.

    ``moments`` are its readings: two in the hour that repeats in autumn. The ``Date`` of the answers tells a wrong clock
    from a wrong zone. A zone that is wrong for dates of files need not be wrong for messages: it is reported, but not
    used.
    """
    offset = min((_ahead(one, asked) for one in moments), key=abs)
    is_of_files = reliance.subject == Known.FILE_CLOCK
    if abs(offset) <= _CLOCK_SECONDS:
        return reliance.confirmed(f"{zone.key}, {offset:+.0f} s", "0")
    said = f"its dates are {abs(offset):,.0f} s {'ahead of' if offset > 0 else 'behind'} ours"
    if watch.ahead_seconds is not None and abs(watch.ahead_seconds - offset) <= _AGREE_SECONDS:
        return reliance.other(f"{said}, and so is the Date of its answers: one of the clocks is off", f"{offset:.0f}")
    if is_of_files:
        return reliance.other(f"{said}: another zone? --send-to shows whether messages are dated so, too")
    return reliance.other(f"{said}: set POSTHORN_SERWERSMS__TIMEZONE to its zone", f"{offset:.0f}")


def _ahead(moment: datetime, asked: tuple[datetime, datetime]) -> float:
    """By how many seconds a date is after its request, or before it (negative); 0 if it is within."""
    low, high = asked[0].replace(microsecond=0), asked[1]
    return min(0.0, (moment - low).total_seconds()) or max(0.0, (moment - high).total_seconds())
