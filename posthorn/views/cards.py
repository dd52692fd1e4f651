"""What dashboards show: one campaign or event with its codes in words, its pace and end; and all in one table."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from posthorn.ledger import deliveries, totals
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger
from posthorn.models import TAKEN
from posthorn.settings import load_settings
from posthorn.views.status import codes_in_words, status_rows, status_table

NEWEST = 50
"""How many campaigns and events the overview holds."""

_MOST_CODES = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """One campaign or event: its status, the rows of its table, and a description in Markdown. No phone number in it."""

    status: dict[str, Any]
    rows: list[dict[str, Any]]
    description: str


def show(ledger: Ledger, name: str, *, test: bool = False) -> Shown:
    """How a campaign or event is shown.

    Raises:
        DeliveryNotFound: there is none of that name.
    """
    campaign = deliveries.get(ledger, name, test=test)
    status = totals.status(ledger, campaign)
    lines = [f"```\n{status_table(status)}\n```"]
    if pace := totals.messages_per_second(ledger, campaign):
        lines.append(f"Pace of the run: {pace:,.1f} messages a second{_until(status, pace)}.")
    rejected = campaign.invalid + campaign.duplicate
    if rejected and campaign.rejects_file:
        lines.append(
            f"Rejected rows ({rejected:,}), with line and reason, readable by their owner: `{campaign.rejects_file}`"
        )
    return Shown(status, status_rows(status), "\n\n".join(lines))


def show_now(name: str, *, test: bool = False) -> tuple[Shown, list[dict[str, Any]]]:
    """``show`` and ``overview`` on the ledger of the settings."""
    ledger = Ledger(load_settings().database_url)
    try:
        return show(ledger, name, test=test), overview(ledger)
    finally:
        ledger.close()


def overview(ledger: Ledger) -> list[dict[str, Any]]:
    """A row for each of the newest campaigns and events, newest first."""
    return [_row(ledger, campaign) for campaign in reversed(deliveries.all_records(ledger)[-NEWEST:])]


def _row(ledger: Ledger, campaign: Delivery) -> dict[str, Any]:
    status = totals.status(ledger, campaign)
    counted = status["totals"]
    pace = totals.messages_per_second(ledger, campaign)
    codes = [
        f"{code} {words}: {count:,}" if words else f"{code}: {count:,}" for code, count, words in codes_in_words(status)
    ]
    return {
        "name": campaign.name + (" (test)" if campaign.test else ""),
        "kind": status["kind"],
        "state": status["state"].replace("_", " "),
        "input": counted["input"],
        "left": _left(counted),
        "taken": sum(counted[state] for state in TAKEN),
        "delivered": counted["delivered"],
        "rejected": counted["rejected"],
        "unknown": counted["unknown"],
        "second copies": status["second_copies"],
        "balanced": "yes" if status["balanced"] else "NO",
        "codes": "; ".join(codes[:_MOST_CODES]) + (" …" if len(codes) > _MOST_CODES else ""),
        "per second": round(pace, 1) if pace else "",
        "end in sight": _until(status, pace).removeprefix("; ") if pace else "",
        "last run": _moment(campaign.run_started_at) if campaign.run_started_at else "",
    }


def _left(counted: Mapping[str, int]) -> int:
    return counted["pending"] + counted["sending"]


def _until(status: Mapping[str, Any], pace: float) -> str:
    """``; about 12 min left, until 2026-11-22 14:05 CET``; empty for one that does not run."""
    left = _left(status["totals"])
    if not left or status["state"] != "running":
        return ""
    seconds = left / pace
    return f"; about {math.ceil(seconds / 60):,} min left, until {_moment(time.time() + seconds)}"


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M %Z}"
