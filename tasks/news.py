"""Emit Prefect events about campaigns and events, for automations: ``posthorn.campaign.*``, ``posthorn.event.*``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.events import emit_event


def tell(happening: str, status: Mapping[str, Any]) -> None:
    """Emit one event about the delivery with that status. The delivery is the resource, its totals are the payload.

    ``happening`` is planned, started, finished, needs_attention, stopped, cancelled, or cost (a cap is nearly used up).
    The event holds no phone number.
    """
    kind, name = status["kind"], status["name"]
    payload = {key: status[key] for key in ("state", "totals", "balanced", "errors", "test", "because")}
    emit_event(
        event=f"posthorn.{kind}.{happening}",
        resource={"prefect.resource.id": f"posthorn.{kind}.{name}", "prefect.resource.name": name},
        payload=payload,
    )


def tell_ending(status: Mapping[str, Any]) -> None:
    """Emit how a run ended, from the delivery's state. If it runs elsewhere, that run emits it."""
    if status["state"] != "running":
        tell(status["state"], status)
