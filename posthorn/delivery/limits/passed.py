"""A moment of dispatch that passed before everything had left: only a person decides what becomes of the rest."""

from __future__ import annotations

import time
from collections.abc import Mapping

from posthorn.errors import MomentPassed
from posthorn.ledger import totals
from posthorn.ledger.deliveries import Delivery, PlannedCampaign
from posthorn.ledger.store.engine import Ledger

_WENT = ("pending", "invalid", "duplicate", "input")


def has_passed(delivery: Delivery) -> bool:
    """Whether what is still to be sent has a moment of dispatch that is over. Never of a test: it reaches nobody."""
    moment = _moment(delivery)
    return moment is not None and moment <= time.time() and not delivery.test


def refuse_passed(ledger: Ledger, delivery: Delivery, new: int = 0) -> None:
    """Refuse to send what is pending, and ``new`` rows of its list, at a moment that has passed.

    Raises:
        MomentPassed: how long ago, how many have left, and what to do.
    """
    if not has_passed(delivery):
        return
    counted = totals.totals(ledger, delivery)
    if counted["pending"] + new:
        raise MomentPassed("send_at", passed_words(delivery, counted, new))


def passed_words(delivery: Delivery, counted: Mapping[str, int], new: int = 0) -> str:
    """``its moment passed 12 min ago, 3 of 10 have left; …``."""
    minutes = (time.time() - (_moment(delivery) or 0.0)) / 60
    left = sum(count for name, count in counted.items() if name not in _WENT)
    return (
        f"its moment passed {minutes:,.0f} min ago, {left:,} of {left + counted['pending'] + new:,} have left; remove or"
        " move send_at in its file, or say --late, which sends the rest now"
    )


def _moment(delivery: Delivery) -> float | None:
    """The moment of dispatch that a campaign has (seconds), if any; a ticket has none."""
    send_at = delivery.content.send_at if isinstance(delivery, PlannedCampaign) else None
    return None if send_at is None else send_at.timestamp()
