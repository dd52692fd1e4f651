"""Watching a run while it goes on: it is stopped early if too many messages are refused or do not arrive.

What is unknown is not counted here, because a lookup may still find it. It counts when a finished wave is judged.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from posthorn.content.waves import Waves
from posthorn.errors import Halted
from posthorn.ledger import waves as ledger_waves
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger
from posthorn.models import UNSETTLED_STATES, MessageState, Receipt

LOOK_EVERY_SECONDS = 30.0


class Halting:
    """Says whether too much goes wrong in one run, by the campaign's ``halt_at``. Without waves nothing is watched."""

    def __init__(self, waves: Waves | None) -> None:
        self._halt = waves.halt if waves is not None else None
        self._rejected = self._answered = 0
        self._since = time.time()
        self._looked_at = -LOOK_EVERY_SECONDS

    def saw(self, receipts: Sequence[Receipt]) -> Halted | None:
        """Count the answers to a request of this process. If too much was refused: why nothing more is to be sent.

        What is pending again was not sent. What was taken may still fail, but counts as gone well here.
        """
        if self._halt is None:
            return None
        self._rejected += sum(receipt.state == MessageState.REJECTED for receipt in receipts)
        self._answered += sum(receipt.state not in UNSETTLED_STATES for receipt in receipts)
        if not self._halt.is_reached(self._rejected, self._answered):
            return None
        return Halted(f"{self._rejected:,} of {self._answered:,} were rejected; halt_at is {self._halt}")

    def look(self, ledger: Ledger, delivery: Delivery) -> Halted | None:
        """Look now and then at the reports on what was sent since this run began, whoever asked for them."""
        now = time.monotonic()
        if self._halt is None or now - self._looked_at < LOOK_EVERY_SECONDS:
            return None
        self._looked_at = now
        told = ledger_waves.outcomes_since(ledger, delivery, self._since)
        bad, known = told.bad - told.unknown, told.known - told.unknown
        if not self._halt.is_reached(bad, known):
            return None
        return Halted(f"{bad:,} of {known:,} went wrong (rejected or undelivered) as it was sent; halt_at is {self._halt}")
