"""How fast, and whether at all: the waits a provider asks for, and the breaker that opens when outcomes stay unknown.

One ``Pace`` serves everything a process sends through one account, so a wait that one request earns slows them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time

from posthorn.delivery.running.waiting import board

MAX_WAIT_SECONDS = 300.0
_FIRST_WAIT_SECONDS = 1.0
_QUICK_SECONDS = 0.5
_PATIENCE_SECONDS = 1800.0


class Pace:
    """When the next request may leave.

    ``breaker_after`` unknown outcomes in a row open the breaker; any clear answer closes the count again.
    ``min_interval_seconds`` is the shortest time between the starts of two requests.
    """

    def __init__(self, breaker_after: int, *, min_interval_seconds: float = 0.0) -> None:
        self._breaker_after = breaker_after
        self._min_interval_seconds = min_interval_seconds
        self._not_before = 0.0
        self._woken = asyncio.Event()
        self._slowed_since: float | None = None
        self._slowdowns = 0
        self._unknown_in_a_row = 0
        self._answer_seconds: float | None = None
        self._board = board()

    async def wait(self) -> None:
        """Wait until the next request may leave, or until ``wake``. Each waiter gets its own moment."""
        while not self._woken.is_set() and (seconds := self.waiting_seconds) > 0:
            with contextlib.suppress(TimeoutError), self._shown(seconds):
                await asyncio.wait_for(self._woken.wait(), seconds)
        if self._min_interval_seconds:
            self._not_before = max(self._not_before, time.monotonic() + self._min_interval_seconds)

    def _shown(self, seconds: float) -> contextlib.AbstractContextManager[None]:
        """Show a pause that the provider asked for. The ordinary distance between two requests is not shown."""
        if self._slowed_since is None:
            return contextlib.nullcontext()
        return self._board.waiting("because the provider asks for a pause", time.time() + seconds)

    def wake(self) -> None:
        """End all waits: the run has stopped."""
        self._woken.set()

    def slow(self, asked_seconds: float | None) -> None:
        """The provider asks for a pause: as long as it said (capped), or else doubling from one second, with jitter."""
        own = min(_FIRST_WAIT_SECONDS * 2**self._slowdowns, MAX_WAIT_SECONDS) * random.uniform(0.75, 1.25)  # noqa: S311
        seconds = min(asked_seconds if asked_seconds is not None else own, MAX_WAIT_SECONDS)
        now = time.monotonic()
        if now >= self._not_before:  # requests that were in flight together earn one wait, not a longer one each
            self._slowdowns += 1
        self._slowed_since = self._slowed_since or now
        self._not_before = max(self._not_before, now + seconds)

    def answered(self) -> None:
        """A clear answer came: the provider keeps up, and the breaker's count starts again."""
        self._slowdowns = 0
        self._slowed_since = None
        self._unknown_in_a_row = 0

    def took(self, seconds: float) -> None:
        """How long the last request took."""
        self._answer_seconds = seconds

    @property
    def is_quick(self) -> bool:
        """Whether requests follow each other so closely that the time of a claim between two of them matters."""
        is_spaced = self._min_interval_seconds > 0 or self.waiting_seconds > 0
        return self._answer_seconds is not None and self._answer_seconds < _QUICK_SECONDS and not is_spaced

    def unknown(self) -> None:
        """One more outcome is unknown."""
        self._unknown_in_a_row += 1

    @property
    def waiting_seconds(self) -> float:
        """How long the next request still has to wait."""
        return max(0.0, self._not_before - time.monotonic())

    @property
    def is_broken(self) -> bool:
        """Whether too many outcomes in a row were unknown, so that nothing more should be sent."""
        return self._unknown_in_a_row >= self._breaker_after

    @property
    def is_out_of_patience(self) -> bool:
        """Whether the provider has asked for nothing but pauses for half an hour."""
        return self._slowed_since is not None and time.monotonic() - self._slowed_since > _PATIENCE_SECONDS
