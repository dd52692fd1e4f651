"""Watching a run while it goes on: too many refused or unknown in what was answered stops it, before the reports come."""

from __future__ import annotations

from collections.abc import Sequence

from posthorn.content.waves import Waves
from posthorn.errors import Halted
from posthorn.models import MessageState, Receipt

_BAD = (MessageState.REJECTED, MessageState.UNKNOWN)


class Halting:
    """Counts what this process has sent, against where the campaign is to stop. Without waves it counts for nothing."""

    def __init__(self, waves: Waves | None) -> None:
        self._halt = waves.halt if waves is not None else None
        self._bad = self._known = 0

    def saw(self, receipts: Sequence[Receipt]) -> Halted | None:
        """Count the outcome of a request; why nothing more is to be sent, where too much went wrong.

        What is pending again was not sent. What was taken may still fail, and counts as gone well here.
        """
        if self._halt is None:
            return None
        self._bad += sum(receipt.state in _BAD for receipt in receipts)
        self._known += sum(receipt.state != MessageState.PENDING for receipt in receipts)
        if not self._halt.is_reached(self._bad, self._known):
            return None
        return Halted(f"{self._bad:,} of {self._known:,} were rejected or are unknown; halt_at is {self._halt}")
