"""What a probe of an account is asked and tells. The gateway's package has the probe; everybody else iterates over it.

By default a probe makes only calls that cost nothing and send nothing to anybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from posthorn.errors import GatewayError, OutcomeUnknown, TryAgain
from posthorn.models import Observation, Phone, Verdict
from posthorn.settings import Settings

if TYPE_CHECKING:
    from posthorn.gateways.http import Tap

NEEDS_TEST_NUMBER = "cannot tell without --test-number"
NEEDS_SEND_TO = "cannot tell without sending (--send-to)"


def _silent(_: str) -> None:
    """Nobody is watching."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOrder:
    """What a probe may do. ``test_number`` may get sends that are only checked, ``send_to`` real messages.

    ``tap`` is told of every exchange, ``say`` of what is waited for. ``report_seconds`` is how long a report is waited for.
    """

    test_number: Phone | None = None
    send_to: Phone | None = None
    tap: Tap | None = None
    say: Callable[[str], None] = _silent
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    report_seconds: float = 600.0


Probe: TypeAlias = Callable[[Settings, ProbeOrder], AsyncIterator[Observation]]


@dataclass(frozen=True, slots=True)
class Reliance:
    """One thing that we rely on, and where it comes from. What was seen of it makes an ``Observation``."""

    subject: str
    relies: str
    source: str

    def confirmed(self, seen: str, value: str = "") -> Observation:
        """It holds."""
        return Observation(self.subject, self.relies, self.source, Verdict.CONFIRMED, seen, value)

    def other(self, seen: str, value: str = "") -> Observation:
        """It does not hold."""
        return Observation(self.subject, self.relies, self.source, Verdict.OTHER, seen, value)

    def unclear(self, seen: str) -> Observation:
        """Nobody can tell."""
        return Observation(self.subject, self.relies, self.source, Verdict.UNCLEAR, seen)

    def judged(self, is_so: bool, seen: str, value: str = "") -> Observation:
        """Confirmed or other."""
        return (self.confirmed if is_so else self.other)(seen, value)

    def failed(self, error: GatewayError) -> Observation:
        """What an error says about it: unclear if no answer came, other if the provider refused."""
        is_silent = isinstance(error, (TryAgain, OutcomeUnknown))
        return self.unclear(str(error)) if is_silent else self.other(str(error))
