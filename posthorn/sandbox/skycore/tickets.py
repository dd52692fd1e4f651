"""Every ticket that the sandbox's Skycore took, and its current state. It takes repeated ones; the truth counts them."""

from __future__ import annotations

import base64
import secrets
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from posthorn.sandbox.clock import SandboxClock
from posthorn.sandbox.skycore.lifecycle import Event, course, marked, state_at
from posthorn.sandbox.skycore.options import SkycoreOptions

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Ticket:
    """One accepted call. ``taken_at`` is an age of the sandbox clock, ``accepted`` a wall time; ``nth`` counts its pair's.

    ``data`` holds the optional parameters (``customtext_2``, ``data_first_name``, ``ddmtext``, ...).
    """

    number: int
    tracking_id: str
    to: str
    barcode: str
    mms_id: str
    sender: str
    campaign_ref: str | None
    data: Mapping[str, str]
    taken_at: float
    accepted: float
    nth: int
    request: int = 0

    @property
    def pair(self) -> Pair:
        """Number and barcode. Nobody should get the same pair twice unless it was asked for."""
        return self.to, self.barcode


class Tickets:
    """All tickets in the order in which they were taken, and the queries about them."""

    def __init__(self, options: SkycoreOptions, clock: SandboxClock) -> None:
        self._options = options
        self._clock = clock
        # A random start makes the ids of this run differ from those of every earlier one.
        self._last_number = secrets.randbelow(9 * 10**14) + 10**14
        self.clear()

    def clear(self) -> None:
        """Forget every ticket; ids go on."""
        self.all: list[Ticket] = []
        self._by_tracking_id: dict[str, Ticket] = {}
        self._pairs: dict[Pair, int] = {}
        self.marks: dict[str, tuple[tuple[str, float], tuple[Event, ...]]] = {}

    def new_id(self) -> tuple[int, str]:
        """A new number and its TRACKINGID: ``MMS_<number>``, or that as base64 (since November 2013)."""
        self._last_number += 1
        plain = f"MMS_{self._last_number}"
        is_plain = self._options.tracking_ids == "seed"
        return self._last_number, plain if is_plain else base64.b64encode(plain.encode()).decode()

    def nth(self, pair: Pair) -> int:
        """The count of the pair's next ticket, from 1."""
        return self._pairs.get(pair, 0) + 1

    def store(self, ticket: Ticket) -> None:
        """Add a ticket."""
        self.all.append(ticket)
        self._last_number = max(self._last_number, ticket.number)
        self._by_tracking_id[ticket.tracking_id] = ticket
        self._pairs[ticket.pair] = ticket.nth

    def course(self, ticket: Ticket) -> tuple[Event, ...]:
        """The events of a ticket, in order."""
        if ticket.tracking_id in self.marks:
            return self.marks[ticket.tracking_id][1]
        return course(self._options, _name(ticket))

    def mark(self, ticket: Ticket, outcome: str, age: float) -> None:
        """Set the outcome of a ticket now: ``delivered``, ``undelivered``, or ``silent``, which is never reported on.

        Raises:
            ValueError: another word.
        """
        happened = [event for event in self.course(ticket) if ticket.taken_at + event.after <= age and event.state == "sent"]
        events = marked(tuple(happened), outcome, age - ticket.taken_at, self._options)
        self.marks[ticket.tracking_id] = (outcome, age), events

    def mark_of(self, ticket: Ticket) -> tuple[str, float] | None:
        """The outcome that a person last set for a ticket, and the clock's age then; None if nobody did."""
        kept = self.marks.get(ticket.tracking_id)
        return None if kept is None else kept[0]

    def standing(self, ticket: Ticket, age: float) -> str:
        """``accepted``, ``sent``, ``delivered``, ``undelivered`` or ``failed`` at an age of the clock."""
        if ticket.tracking_id not in self.marks:
            return state_at(self._options, _name(ticket), age - ticket.taken_at)
        happened = [event.state for event in self.course(ticket) if ticket.taken_at + event.after <= age]
        return happened[-1] if happened else "accepted"

    # The truth.

    def by_tracking_id(self, tracking_id: str) -> Ticket | None:
        """The ticket of a TRACKINGID, or None."""
        return self._by_tracking_id.get(tracking_id)

    def by_number(self, number: int) -> Ticket | None:
        """The ticket of a number, or None."""
        place = bisect_left(self.all, number, key=lambda ticket: ticket.number)
        return self.all[place] if place < len(self.all) and self.all[place].number == number else None

    def totals(self) -> dict[str, int]:
        """Tickets taken, distinct number/barcode pairs, pairs taken more than once, numbers, and how many have left."""
        age = self._clock.age()
        states = [self.standing(ticket, age) for ticket in self.all]
        ends = {state: states.count(state) for state in ("delivered", "undelivered", "failed")}
        return {
            "accepted": len(self.all),
            "pairs": len(self._pairs),
            "twice": sum(count > 1 for count in self._pairs.values()),
            "numbers": len({to for to, _ in self._pairs}),
            "dispatched": len(states) - states.count("accepted") - ends["failed"],
            **ends,
        }

    def counts(self, mms_id: str | None) -> dict[str, int]:
        """How many tickets were taken per pair, as ``{"<number> <barcode>": n}``."""
        counts: dict[str, int] = {}
        for ticket in self.all:
            if mms_id in (None, ticket.mms_id):
                name = f"{ticket.to} {ticket.barcode}"
                counts[name] = counts.get(name, 0) + 1
        return counts

    def told(self, to: str | None, barcode: str | None, mms_id: str | None) -> Iterator[dict[str, Any]]:
        """Tickets with their states, oldest first."""
        age = self._clock.age()
        for ticket in self.all:
            if to in (None, ticket.to) and barcode in (None, ticket.barcode) and mms_id in (None, ticket.mms_id):
                yield {
                    "id": ticket.number,
                    "to": ticket.to,
                    "barcode": ticket.barcode,
                    "mms_id": ticket.mms_id,
                    "tracking_id": ticket.tracking_id,
                    "state": self.standing(ticket, age),
                    "from": ticket.sender,
                    "campaign_ref": ticket.campaign_ref,
                    "data": dict(ticket.data),
                    "nth": ticket.nth,
                    "accepted_at": datetime.fromtimestamp(ticket.accepted, UTC).isoformat(),
                }


def _name(ticket: Ticket) -> str:
    """What identifies the ticket, to choose its outcome."""
    return f"{ticket.to}|{ticket.barcode}|{ticket.nth}"
