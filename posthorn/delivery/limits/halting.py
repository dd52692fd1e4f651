"""Watching a run while it goes on: too many that were refused, or that did not arrive, stop it before its end.

What is unknown is not counted here: a lookup may find it yet. It counts where a wave that is over is judged.
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
    """Says of one run whether too much goes wrong, by where its campaign is to stop. Without waves nothing does."""

    def __init__(self, waves: Waves | None) -> None:
        self._halt = waves.halt if waves is not None else None
        self._rejected = self._answered = 0
        self._since = time.time()
        self._looked_at = -LOOK_EVERY_SECONDS

    def saw(self, receipts: Sequence[Receipt]) -> Halted | None:
        """Count what was answered to a request of this process; why nothing more is to be sent, where too much was refused.

        What is pending again was not sent. What was taken may still fail, and counts as gone well here.
        """
        if self._halt is None:
            return None
        self._rejected += sum(receipt.state == MessageState.REJECTED for receipt in receipts)
        self._answered += sum(receipt.state not in UNSETTLED_STATES for receipt in receipts)
        if not self._halt.is_reached(self._rejected, self._answered):
            return None
        return Halted(f"{self._rejected:,} of {self._answered:,} were rejected; halt_at is {self._halt}")

    def look(self, ledger: Ledger, delivery: Delivery) -> Halted | None:
        """Now and then, what the reports say of what was sent since this run began, whoever asked for them."""
        now = time.monotonic()
        if self._halt is None or now - self._looked_at < LOOK_EVERY_SECONDS:
            return None
        self._looked_at = now
        told = ledger_waves.outcomes_since(ledger, delivery, self._since)
        bad, known = told.bad - told.unknown, told.known - told.unknown
        if not self._halt.is_reached(bad, known):
            return None
        return Halted(f"{bad:,} of {known:,} went wrong (rejected or undelivered) as it was sent; halt_at is {self._halt}")
