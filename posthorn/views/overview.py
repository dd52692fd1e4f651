"""All deliveries on one page; those that need a person come first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from posthorn.gateways.registry import by_name
from posthorn.ledger import deliveries, totals
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger
from posthorn.models import taken_of
from posthorn.settings import Settings
from posthorn.views.markdown import link, prose, table
from posthorn.views.status import artifact_key

OVERVIEW = "posthorn-overview"
"""The key of its artifact."""

NEWEST = 50
"""How many deliveries it holds."""

_HEADS = ("delivery", "state", "last run", "sent:", "of:", "delivered:", "cost:")
_CALLS = ("needs_attention", "stopped", "waiting")


def overview(ledger: Ledger, settings: Settings) -> str:
    """The newest deliveries in Markdown: those that need a person come first, the newest at the top of each part."""
    newest = [(one, totals.status(ledger, one)) for one in reversed(deliveries.all_records(ledger)[-NEWEST:])]
    calling = [(one, status) for one, status in newest if status["state"] in _CALLS]
    others = [(one, status) for one, status in newest if status["state"] not in _CALLS]
    parts = ["# Deliveries", f"Times are those of {settings.timezone}."]
    if calling:
        rows = [(*_row(one, status, settings)[:3], prose(status["because"] or _words(status))) for one, status in calling]
        parts += ["## Somebody has to look, or to decide", table((*_HEADS[:3], "why"), rows)]
    if newest:
        parts += ["## All", table(_HEADS, [_row(one, status, settings) for one, status in [*calling, *others]])]
    else:
        parts.append("None yet. `posthorn campaign send FILE`, or the deployment `campaign`, makes the first one.")
    return "\n\n".join(parts) + "\n"


def _row(delivery: Delivery, status: Mapping[str, Any], settings: Settings) -> tuple[str, ...]:
    counted = status["totals"]
    taken = taken_of(counted)
    to_send = counted["input"] - counted["invalid"] - counted["duplicate"]
    state = status["state"].replace("_", " ")
    unbalanced = "" if status["balanced"] else ", **NOT BALANCED**"
    return (
        link(delivery.name + (" (test)" if delivery.test else ""), artifact_key(status["kind"], delivery.name)),
        (f"**{state}**" if status["state"] in _CALLS else state) + unbalanced,
        _moment(delivery.run_started_at, settings.timezone) if delivery.run_started_at else "not yet",
        f"{taken:,}",
        f"{to_send:,}",
        f"{100 * counted['delivered'] // to_send} %" if to_send else "",
        _cost(delivery, taken, settings),
    )


def _words(status: Mapping[str, Any]) -> str:
    counted = status["totals"]
    return f"unknown: {counted['unknown']:,}, rejected: {counted['rejected']:,}"


def _cost(delivery: Delivery, taken: int, settings: Settings) -> str:
    price = by_name(delivery.gateway).account(settings).price_per_message
    return "" if price is None or delivery.test else f"{price * taken:,.2f}"


def _moment(seconds: float, zone: str) -> str:
    return f"{datetime.fromtimestamp(seconds, ZoneInfo(zone)):%m-%d %H:%M}"
