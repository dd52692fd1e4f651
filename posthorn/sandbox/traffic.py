"""Incoming requests: counts per call, requests in flight, and a bounded log without credentials."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Any, Protocol

from posthorn.sandbox.faults import FaultRule
from posthorn.sandbox.wire import Received

_LOGGED = 2_000
_SENDS_KEPT = 10_000
_LARGE_BODY_BYTES = 64 * 1024
_HIDDEN_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})


class Describer(Protocol):
    """Something that can read a request's body."""

    name: str
    send_calls: frozenset[str]

    def described(self, received: Received) -> object:
        """The parsed body without credentials."""


@dataclass(slots=True)
class _Logged:
    number: int
    at: float
    provider: Describer
    call: str
    fault: str | None
    received: Received
    body: object = None

    def shown(self) -> dict[str, Any]:
        """The request as the log shows it."""
        received = self.received
        return {
            "number": self.number,
            "at": datetime.fromtimestamp(self.at, UTC).isoformat(),
            "provider": self.provider.name,
            "call": self.call,
            "method": received.method,
            "path": received.path,
            "headers": {str(key): value for key, value in received.headers.items() if key.lower() not in _HIDDEN_HEADERS},
            "body": self.body if self.body is not None else self.provider.described(received),
            "fault": self.fault,
        }


class Traffic:
    """Counts and log of every request except those to the truth."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._flights: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Reset the counts; requests in flight stay counted."""
        self.calls: Counter[str] = Counter()
        self.sends = 0
        self._kept: dict[int, _Logged] = {}
        self.max_in_flight = self.in_flight
        self.max_flights: dict[str, int] = dict(self._flights)
        self._log: deque[_Logged] = deque(maxlen=_LOGGED)

    def enter(self, provider: str) -> None:
        """A request to a provider begins."""
        self._flights[provider] += 1
        self.max_flights[provider] = max(self.max_flights.get(provider, 0), self._flights[provider])
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def leave(self, provider: str) -> None:
        """A request is over, however it ended."""
        self._flights[provider] -= 1
        self.in_flight -= 1

    def note(self, provider: Describer, call: str, received: Received, rule: FaultRule | None) -> None:
        """Count and log a request. A large body is parsed and trimmed now, a small one only if somebody looks."""
        self.calls[call] += 1
        fault = rule.fault if rule is not None else None
        logged = _Logged(self.calls.total(), time(), provider, call, fault, received)
        if len(received.body) > _LARGE_BODY_BYTES or received.form is not None:
            logged.body = provider.described(received)
            logged.received = Received(
                received.method, received.path, received.query, received.headers, received.content_type, b""
            )
        self._log.append(logged)
        if call in provider.send_calls:
            self.sends += 1
            self._keep(received.number, logged)

    def _keep(self, number: int, logged: _Logged) -> None:
        """Keep the requests that messages came with longer than the rest of the log."""
        self._kept[number] = logged
        if len(self._kept) > _SENDS_KEPT:
            del self._kept[next(iter(self._kept))]

    def send_of(self, number: int) -> dict[str, Any] | None:
        """The send with that request number, or None if it is no longer kept."""
        logged = self._kept.get(number)
        return None if logged is None else logged.shown()

    def log(self, call: str | None = None) -> Iterator[Mapping[str, Any]]:
        """The latest requests, oldest first."""
        for entry in self._log:
            if call in (None, entry.call):
                yield entry.shown()
