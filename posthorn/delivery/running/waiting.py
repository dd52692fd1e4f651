"""What a run waits for, and until when. The code that waits says it; a terminal or Prefect's UI shows it.

A board belongs to one run of a flow or command and to everything it starts; it is read from any thread. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """One wait. ``reason`` says for or to what; ``until`` is in seconds since 1970, None if nobody can tell."""

    reason: str
    until: float | None = None

    def __str__(self) -> str:
        """``waiting until 14:05:10 CET at the latest for another process that looks after sale``"""
        until = "" if self.until is None else f" until {clock_time(self.until)} at the latest"
        return f"waiting{until} {self.reason}"


def clock_time(seconds: float) -> str:
    """``14:05:10 CET``, of today or tomorrow."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%H:%M:%S %Z}"


class Board:
    """The waits that are under way. ``now`` is the one that began last."""

    def __init__(self) -> None:
        self._waits: dict[object, Waiting] = {}

    @property
    def now(self) -> Waiting | None:
        """What is waited for right now, if anything is."""
        return next(reversed(list(self._waits.values())), None)

    @contextmanager
    def waiting(self, reason: str, until: float | None = None) -> Iterator[None]:
        """Show that the block waits."""
        key = object()
        self._waits[key] = Waiting(reason, until)
        try:
            yield
        finally:
            del self._waits[key]


_board: ContextVar[Board] = ContextVar("board")


def board() -> Board:
    """The board of this run's watcher; without a watcher, a board that nobody looks at."""
    return _board.get(None) or Board()


@contextmanager
def watched() -> Iterator[Board]:
    """The board of everything that the block starts: the present one, or a new one."""
    there = _board.get(None)
    if there is not None:
        yield there
        return
    token = _board.set(made := Board())
    try:
        yield made
    finally:
        _board.reset(token)
