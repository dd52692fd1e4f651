"""All deliveries of the ledger in one list, the newest first: for `posthorn list`. No number of a person is in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from posthorn.content.amounts import money
from posthorn.content.definition import CampaignContent
from posthorn.gateways.registry import by_name
from posthorn.ledger.store.engine import open_ledger
from posthorn.ledger.totals import Summary, summaries
from posthorn.settings import Settings, SettingsError, load_settings
from posthorn.views.tables import Paint, table, unpainted

_HEADERS = ("name", "kind", "state", "when", "input", "left", "taken", "rejected", "unknown", "delivered", "cost")
_COUNTS = _HEADERS[4:]


def listed(kind: str | None = None, state: str | None = None) -> list[dict[str, Any]]:
    """An entry for each delivery, of that kind and in that state if they are given, the newest first; JSON values.

    ``delivered_share`` is the part (0 to 1) of the messages taken by the provider that is reported as delivered. ``cost`` is
    what the taken ones cost. Both are None if that is unknown.
    """
    settings = load_settings()
    with open_ledger(settings) as ledger:
        entries = [_entry(one, settings) for one in summaries(ledger)]
    return [one for one in entries if kind in (None, one["kind"]) and state in (None, one["state"])]


def as_table(entries: Sequence[dict[str, Any]], paint: Paint = unpainted) -> str:
    """The entries as a table, with times in the operators' zone; ``paint`` colours the states."""
    zone = ZoneInfo(load_settings().timezone)
    return table(_HEADERS, [_row(one, zone, paint) for one in entries], right=_COUNTS)


def _entry(one: Summary, settings: Settings) -> dict[str, Any]:
    counted, content = one.totals, one.delivery.content
    price = None if one.delivery.test else _price(one.delivery.gateway, settings)
    return {
        "name": one.delivery.name,
        "kind": one.delivery.kind.name.lower(),
        "test": one.delivery.test,
        "state": one.state,
        "planned_at": _iso(one.delivery.created_at),
        "run_started_at": _iso(one.delivery.run_started_at),
        "send_at": content.send_at.isoformat() if isinstance(content, CampaignContent) and content.send_at else None,
        "totals": counted,
        "second_copies": one.second_copies,
        "taken": one.taken,
        "delivered_share": round(counted["delivered"] / one.taken, 4) if one.taken else None,
        "cost": None if price is None else str(price * (one.taken + one.second_copies)),
    }


def _price(gateway: str, settings: Settings) -> Decimal | None:
    try:
        return by_name(gateway).account(settings).price_per_message
    except SettingsError:  # also listed if this installation no longer has its gateway
        return None


def _row(one: dict[str, Any], zone: ZoneInfo, paint: Paint) -> tuple[str, ...]:
    counted, share, cost = one["totals"], one["delivered_share"], one["cost"]
    return (
        one["name"] + (" (test)" if one["test"] else ""),
        one["kind"],
        paint(one["state"], one["state"].replace("_", " ")),
        _when(one, zone),
        f"{counted['input']:,}",
        f"{counted['pending'] + counted['sending']:,}",
        f"{one['taken']:,}",
        f"{counted['rejected']:,}",
        f"{counted['unknown']:,}",
        "" if share is None else f"{share:.1%}",
        "" if cost is None else money(Decimal(cost)),
    )


def _when(one: dict[str, Any], zone: ZoneInfo) -> str:
    """When its last run began, or when it was planned if it never ran."""
    moment = datetime.fromisoformat(one["run_started_at"] or one["planned_at"]).astimezone(zone)
    return f"{moment:%Y-%m-%d %H:%M %Z}" + ("" if one["run_started_at"] else " (planned)")


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
