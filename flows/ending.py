"""The final state of a run, by name. Operators see it first in the Prefect UI, and automations listen to it.

A delivery that needs a person ends in a failed state with its own name, so that nobody takes it for done. Flows have no
retries, so a failed state runs nothing again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from posthorn.errors import AlreadyRunning, NotMerged
from posthorn.views.status import go_on

ALREADY_RUNNING = "AlreadyRunning"
"""The state name of a run that found another run at work. It says nothing about that other run."""

HAS_NEWS = "its file has news"
"""What such a run returns if its file has changes that the other run does not have: send it again afterwards."""

NEEDS_ATTENTION = "NeedsAttention"
NOT_APPROVED = "NotApproved"
STOPPED = "Stopped"
WITHDRAWN = "Withdrawn"

ENDINGS = frozenset({NEEDS_ATTENTION, NOT_APPROVED, STOPPED, WITHDRAWN})
"""Endings that Prefect shows as failures but that are none: the ledger decides."""


def ending(status: Mapping[str, Any]) -> State[Any]:
    """How a run of a delivery ended: ``Completed``, ``Waiting``, ``NeedsAttention``, ``Stopped`` or ``Withdrawn``."""
    counted = status["totals"]
    left = counted["pending"] + counted["sending"]
    if status["state"] == "cancelled":
        return Cancelled(name=WITHDRAWN, message=_withdrawn(counted))
    if status["state"] == "waiting":
        return Completed(name="Waiting", message=status["because"])
    is_asked = status["state"] == "needs_attention"
    if left and not is_asked:  # a helper may still have requests under way, but the run is over
        because = status["because"] or "interrupted"
        message = f"{because.rstrip('.')}. Sent: {_sent(counted):,}, not sent yet: {left:,}. Next: {go_on(status)}"
        return Failed(name=STOPPED, message=message)
    if is_asked:
        message = f"unknown: {counted['unknown']:,}, rejected: {counted['rejected']:,}"
        if status["second_copies"] or status["waiting_until"]:
            message += f", second copies: {status['second_copies']:,}; {status['because']}"
        elif left:
            message = f"{status['because']}. Not sent yet: {left:,}"
        return Failed(name=NEEDS_ATTENTION, message=message)
    return Completed(message=f"all {counted['input']:,} rows accounted for")


def _withdrawn(counted: Mapping[str, int]) -> str:
    message = f"cancelled: {counted['cancelled']:,}"
    if counted["unknown"] or counted["scheduled"]:
        message += f", unknown: {counted['unknown']:,}, still kept by the provider: {counted['scheduled']:,}"
    return message


def _sent(counted: Mapping[str, int]) -> int:
    return sum(counted[state] for state in ("accepted", "scheduled", "delivered", "undelivered", "no_report"))


def already_running(error: AlreadyRunning) -> State[Any]:
    """``AlreadyRunning``: another run sends this delivery; nothing was done here."""
    return Completed(name=ALREADY_RUNNING, message=str(error), data=HAS_NEWS if isinstance(error, NotMerged) else None)


def not_approved(error: Exception) -> State[Any]:
    """``NotApproved``: a person said no; nothing was sent."""
    return Failed(name=NOT_APPROVED, message=f"{error}. Nothing was sent")
