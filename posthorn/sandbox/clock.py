"""The provider's two clocks: its wall clock, and the clock by which messages age, which can run faster or be advanced.

They are separate so that a fast sandbox still gives messages dates by which its client finds them. This never sleeps.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from datetime import datetime
from email.utils import formatdate
from zoneinfo import ZoneInfo

STAMP = "%Y-%m-%d %H:%M:%S"
PROVIDERS_ZONE = "Europe/Warsaw"


class SandboxClock:
    """Wall time is this machine's plus ``skew_seconds``; age runs ``speed`` times as fast and can be advanced."""

    def __init__(self, speed: float = 1.0, zone: str = PROVIDERS_ZONE, skew_seconds: float = 0.0) -> None:
        self._initial = (speed, skew_seconds)
        self._zone = ZoneInfo(zone)
        self.watchers: list[Callable[[], None]] = []
        self.reset()

    def reset(self) -> None:
        """Reset to the start: age zero, first speed, first skew."""
        self.speed, self.skew_seconds = self._initial
        self._base_age = 0.0
        self._base_real = time.monotonic()
        self._tell()

    def _tell(self) -> None:
        """Wake everything that waits for an age: it may come sooner or later than expected."""
        for watcher in self.watchers:
            watcher()

    def age(self) -> float:
        """Provider seconds since the start, at the clock's speed: the time that a message's life is measured in."""
        return self._base_age + (time.monotonic() - self._base_real) * self.speed

    def set_speed(self, speed: float) -> None:
        """Age ``speed`` seconds per real second from now on; with zero the clock stands still.

        Raises:
            ValueError: the speed is negative.
        """
        if speed < 0:
            raise ValueError("speed: expected zero or more")
        self._base_age, self._base_real = self.age(), time.monotonic()
        self.speed = speed
        self._tell()

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass at once for everything already accepted."""
        self._base_age += seconds
        self._tell()

    def wall(self) -> float:
        """The provider's wall clock, as Unix seconds."""
        return time.time() + self.skew_seconds

    def stamp(self, wall: float) -> str:
        """A moment as the provider writes it: ``2026-11-30 09:00:00``, local and without a zone."""
        return _stamped(int(wall), self._zone)

    def read(self, text: str) -> float:
        """A moment from ``YYYY-MM-DD HH:MM[:SS]`` (a ``T`` or an offset is allowed too), as Unix seconds.

        Raises:
            ValueError: not a date.
        """
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=self._zone)).timestamp()

    def http_date(self) -> str:
        """The wall clock as a ``Date`` header."""
        return formatdate(self.wall(), usegmt=True)


@functools.lru_cache(maxsize=8_192)
def _stamped(second: int, zone: ZoneInfo) -> str:
    """Formatted once per second, since the many messages of a campaign share their seconds."""
    return datetime.fromtimestamp(second, zone).strftime(STAMP)
