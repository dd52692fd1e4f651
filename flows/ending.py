"""The final state of a run, by name: what an operator sees first in the Prefect UI and what automations listen to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from posthorn.errors import AlreadyRunning

ALREADY_RUNNING = "AlreadyRunning"
"""The name of the state of a run that found another at work: it says nothing of that other one."""


def ending(status: Mapping[str, Any]) -> State[Any]:
    """``Completed``, ``NeedsAttention`` (a person is asked), ``Waiting`` (goes on by itself), ``Stopped``, ``Withdrawn``."""
    counted = status["totals"]
    left = counted["pending"] + counted["sending"]
    if status["state"] == "cancelled":
        message = f"cancelled: {counted['cancelled']:,}"
        if counted["unknown"] or counted["scheduled"]:
            message += f", unknown: {counted['unknown']:,}, still kept by the provider: {counted['scheduled']:,}"
        return Completed(name="Withdrawn", message=message)
    if status["state"] == "waiting":
        return Completed(name="Waiting", message=status["because"])
    if left:  # a helper may still have requests under way: the run is over all the same
        because = status["because"] or "interrupted"
        return Failed(name="Stopped", message=f"{because}. Not sent yet: {left:,}. Run it again when the cause is gone.")
    if status["state"] == "needs_attention":
        message = f"unknown: {counted['unknown']:,}, rejected: {counted['rejected']:,}"
        if status["second_copies"] or status["waiting_until"]:
            message += f", second copies: {status['second_copies']:,}; {status['because']}"
        return Completed(name="NeedsAttention", message=message)
    return Completed(message=f"all {counted['input']:,} rows accounted for")


def already_running(error: AlreadyRunning) -> State[Any]:
    """``AlreadyRunning``: another run sends this campaign; nothing was done here."""
    return Completed(name=ALREADY_RUNNING, message=str(error))


def not_approved(error: Exception) -> State[Any]:
    """``NotApproved``: a person said no; nothing was sent."""
    return Completed(name="NotApproved", message=f"{error}. Nothing was sent")
