"""Waves of a campaign, as an operator writes them: a few people first, then more and more, as long as it goes well."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator

_WAIT = re.compile(r"([1-9]\d{0,3})\s*(m|min|h)")
_HALT = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)\s*%\s*of\s+at\s+least\s+([1-9]\d{0,6})")
_MAX_WAIT_SECONDS = 48 * 3600
USUAL_WAIT = "30m"
USUAL_HALT = "5 % of at least 50"


class Halt(NamedTuple):
    """When a campaign stops: if ``percent`` of at least ``least`` messages of known outcome went wrong."""

    percent: float
    least: int

    def is_reached(self, bad: int, known: int) -> bool:
        """Whether too many went wrong for anything more to be sent."""
        return known >= self.least and 100.0 * bad >= self.percent * known

    def __str__(self) -> str:
        """``5 % of at least 50``"""
        return f"{self.percent:g} % of at least {self.least}"


def read_wait(text: str) -> float:
    """``30m`` or ``2h``, in seconds.

    Raises:
        ValueError: it cannot be read, or is longer than two days.
    """
    found = _WAIT.fullmatch(text.strip())
    seconds = int(found[1]) * (3600.0 if found[2] == "h" else 60.0) if found else 0.0
    if not 0 < seconds <= _MAX_WAIT_SECONDS:
        raise ValueError("expected a time from 1m to 48h, such as 30m")
    return seconds


def read_halt(text: str) -> Halt:
    """``5 % of at least 50``.

    Raises:
        ValueError: it cannot be read.
    """
    found = _HALT.fullmatch(text.strip())
    if found is None or not 0 < float(found[1]) <= 100:
        raise ValueError("expected a share and a number of messages, such as 5 % of at least 50")
    return Halt(float(found[1]), int(found[2]))


def _checked_wait(text: str) -> str:
    read_wait(text)
    return text


def _checked_halt(text: str) -> str:
    return str(read_halt(text))


def _checked_ramp(shares: list[float]) -> list[float]:
    steps = list(shares)
    if not steps or sorted(set(steps)) != steps or not steps[0] > 0 or steps[-1] != 1:
        raise ValueError("expected rising shares up to 1, such as [0.05, 0.25, 1]")
    return steps


WaitText = Annotated[str, AfterValidator(_checked_wait)]
HaltText = Annotated[str, AfterValidator(_checked_halt)]
Ramp = Annotated[list[float], AfterValidator(_checked_ramp)]


@dataclass(frozen=True, slots=True)
class Waves:
    """How a campaign is sent: ``canary`` people first, then rising shares of the rest; 0 and (1,) if all is sent at once.

    After each wave ``wait_seconds`` pass, and its reports are judged by ``halt``.
    """

    canary: int
    wait_seconds: float
    ramp: tuple[float, ...]
    halt: Halt

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Waves | None:
        """The waves in a delivery's options; None if its file asks for none."""
        if not options.get("canary") and not options.get("halt_at"):
            return None
        return cls(
            canary=options.get("canary") or 0,
            wait_seconds=read_wait(options.get("canary_wait") or USUAL_WAIT),
            ramp=tuple(options.get("ramp") or (1.0,)),
            halt=read_halt(options.get("halt_at") or USUAL_HALT),
        )

    def __str__(self) -> str:
        """``200 first, then after 30 min each 5 %, 25 %, 100 %; stops at 5 % of at least 50 that went wrong``"""
        steps = ", ".join(f"{100 * share:g} %" for share in self.ramp)
        first = f"{self.canary:,} first, then after {self.wait_seconds / 60:g} min each {steps}; " if self.canary else ""
        return f"{first}stops at {self.halt} that went wrong"


def wave_sizes(count: int, ramp: Sequence[float]) -> list[int]:
    """How many of these pieces are in each step of a ramp. No piece is in two; each step gets one if it can."""
    sizes: list[int] = []
    for share in ramp:
        upto = count if share == 1 else max(1, int(share * count))
        sizes.append(max(0, min(count, upto) - sum(sizes)))
    return sizes
