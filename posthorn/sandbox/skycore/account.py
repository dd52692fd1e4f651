"""The sandbox's Skycore account: its tickets, subscribers and limits, which are reset together. It answers no calls."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from posthorn.sandbox.clock import SandboxClock
from posthorn.sandbox.skycore.errors import ApiError
from posthorn.sandbox.skycore.options import SkycoreOptions, Template
from posthorn.sandbox.skycore.tickets import Tickets

_CHANGEABLE = frozenset(
    ("billing_problem", "credit", "request_quota", "quota_window_seconds", "min_interval_seconds", "throughput")
    + ("enforce_campaign_check", "vary")
)


class Account:
    """All state of the account."""

    def __init__(self, options: SkycoreOptions, clock: SandboxClock) -> None:
        self._first_options = options
        self.clock = clock
        self.tickets = Tickets(options, clock)
        self.reset()

    def reset(self) -> None:
        """Reset to the start."""
        self.options = self._first_options
        self.credit = self.options.credit
        self.tickets.clear()
        self.joined: set[str] = set(self.options.subscribers or ())
        self.left: set[str] = set(self.options.opted_out)
        self.opted_out: set[str] = set(self.options.opted_out)
        self.started_at = self.clock.age()
        self._last_call = float("-inf")
        self._quota_used, self._quota_since = 0, self.clock.age()
        self._recent_sends: deque[float] = deque()

    def change(self, order: Mapping[str, Any]) -> None:
        """Set limits and flags; ``credit`` is counted from now on.

        Raises:
            ValueError: an option that cannot be changed while it runs, or a value of the wrong kind.
        """
        if unknown := sorted(set(order) - _CHANGEABLE):
            raise ValueError(f"{', '.join(unknown)}: expected some of {', '.join(sorted(_CHANGEABLE))}")
        kinds = {option.name: str(option.type) for option in fields(SkycoreOptions)}
        for name, value in order.items():
            expects_flag = kinds[name] == "bool"
            if isinstance(value, bool) != expects_flag or not (value is None or isinstance(value, int | float)):
                raise ValueError(f"{name}: expected {kinds[name]}")
        self.options = replace(self.options, **order)
        self.credit = order.get("credit", self.credit)

    def stop(self, number: str) -> None:
        """A number answered STOP: it is subscribed to nothing, and only its owner can change that."""
        self.joined.discard(number)
        self.left.add(number)
        self.opted_out.add(number)

    def template(self, mms_id: str) -> Template | None:
        """A stored MMS."""
        return next((template for template in self.options.templates if template.mms_id == mms_id), None)

    def is_encoding(self, template: Template) -> bool:
        """Whether it cannot be sent yet."""
        return self.clock.age() - self.started_at < template.encoding_seconds

    def is_subscribed(self, number: str) -> bool:
        """Whether a number is subscribed, for tickets whose campaign is checked."""
        return number not in self.left and (self.options.subscribers is None or number in self.joined)

    def admit(self) -> None:
        """Admit a call, or refuse it. Refused calls count for neither limit.

        Raises:
            ApiError: E106, too soon after the previous call; E120, the limit is reached.
        """
        options, now = self.options, time.monotonic()
        if now - self._last_call < options.min_interval_seconds:
            raise ApiError("E106", f"You can call API every {options.min_interval_seconds:g} seconds")
        if options.quota_window_seconds is not None:
            self._begin_window(options.quota_window_seconds)
        if options.request_quota is not None and self._quota_used >= options.request_quota:
            raise ApiError("E120")
        self._last_call = now
        self._quota_used += 1

    def _begin_window(self, seconds: float) -> None:
        """Reset the quota, if its time has come."""
        if self.clock.age() - self._quota_since >= seconds:
            self._quota_used, self._quota_since = 0, self.clock.age()

    def admit_send(self) -> None:
        """Admit a send, or refuse it.

        Raises:
            ApiError: E113, the last second had as many as allowed.
        """
        if self.options.throughput is None:
            return
        now, recent = time.monotonic(), self._recent_sends
        while recent and now - recent[0] >= 1:
            recent.popleft()
        if len(recent) >= self.options.throughput:
            raise ApiError("E113")
        recent.append(now)

    def charge(self) -> None:
        """Pay for one ticket.

        Raises:
            ApiError: E713, there is no credit left.
        """
        if self.options.billing_problem or (self.credit is not None and self.credit <= 0):
            raise ApiError("E713")
        if self.credit is not None:
            self.credit -= 1
