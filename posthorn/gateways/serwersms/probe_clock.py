"""How far a provider's dates are ahead of ours, and whose clock or which zone that speaks of."""

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
from posthorn.models import Observation

_CLOCK_SECONDS = 5.0
"""What an answer may take, and the whole seconds of its dates."""


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
    """What a date says of something that was asked for between two moments.

    ``moments`` are its readings: two in the hour that autumn repeats. The ``Date`` of the answers tells a wrong clock from a
    wrong zone.
    """
    offset = min((_ahead(one, asked) for one in moments), key=abs)
    value = f"{offset:.0f}"
    if abs(offset) <= _CLOCK_SECONDS:
        return reliance.confirmed(f"{zone.key}, within {_CLOCK_SECONDS:.0f} s", "0")
    said = f"its dates are {abs(offset):,.0f} s {'ahead of' if offset > 0 else 'behind'} ours"
    if watch.ahead_seconds is None:
        return reliance.other(f"{said}: the zone of the settings, its clock or ours is off", value)
    if abs(watch.ahead_seconds - offset) <= _CLOCK_SECONDS + 1:
        return reliance.other(f"{said}, and so is the Date of its answers: one of the clocks is off", value)
    return reliance.other(f"{said}, but the Date of its answers is not: set POSTHORN_SERWERSMS__TIMEZONE to its zone", value)


def _ahead(moment: datetime, asked: tuple[datetime, datetime]) -> float:
    """Seconds that a date lies after the request that it is about, or before it; 0 where it lies within."""
    low, high = asked[0].replace(microsecond=0), asked[1]
    return min(0.0, (moment - low).total_seconds()) or max(0.0, (moment - high).total_seconds())
