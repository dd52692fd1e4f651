"""What the claims of one run share that are made ahead, while other requests are under way."""

from __future__ import annotations

import asyncio
import math

from posthorn.ledger.departures import Departures

_TURNS_PER_SLOT = 2
"""While one claim's request is under way, the next claim is made."""

_QUICK_SECONDS = 0.15


class ClaimsAhead:
    """How many claims there may be, which of them wait, and when what they rest on was last asked for.

    A claim holds one of the ``turns`` until its request is over; a request holds one of the run's slots, of which there are
    fewer. ``departures`` notes which claims were handed to the provider. ``waiting`` holds the chunks whose claim waits for
    a slot or is being given back. ``lock_proven_at`` is when the lock was last known to be ours; ``rechecked_at`` is when
    the ledger was last asked what was said since, one question at a time (``rechecking``), and ``listed`` is the
    suppression list's newest entry then. Both times are on the clock of ``sending.permit.clock_seconds``.
    ``claim_seconds`` is how long the last question for claims took.
    """

    __slots__ = (
        "claim_seconds",
        "departures",
        "listed",
        "lock_proven_at",
        "rechecked_at",
        "rechecking",
        "turns",
        "waiting",
    )

    def __init__(self, slots: int, departures: Departures) -> None:
        self.turns = asyncio.Semaphore(_TURNS_PER_SLOT * slots)
        self.departures = departures
        self.waiting: set[int] = set()
        self.claim_seconds = 0.0
        self.lock_proven_at = -math.inf
        self.rechecking = asyncio.Lock()
        self.rechecked_at = 0.0
        self.listed = 0

    @property
    def is_useful(self) -> bool:
        """Whether a claim may be made ahead: it is known if it was handed over, and not too old by the time of its turn.

        Where the ledger is slow or far away, most would be given back and made again.
        """
        return self.claim_seconds <= _QUICK_SECONDS and self.departures.is_kept
