"""How entries of the suppression list are shown: masked, with who said so, since when and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tabulate import tabulate

from posthorn.content.plain import plain
from posthorn.delivery.settling.listing import shown_title
from posthorn.ledger.suppression import Suppression
from posthorn.models import OPT_OUT_SOURCES, mask_phone

LONGEST_WORDS = 300


def shown(one: Suppression) -> dict[str, Any]:
    """An entry as it may be shown: numbers masked, also in what people wrote, moments in UTC."""
    return {
        "phone": mask_phone(one.phone),
        "scope": one.scope.name.lower(),
        "source": one.source,
        "why": shown_title(one.why),
        "by": one.by,
        "since": moment(one.since),
        "removed_at": moment(one.removed_at),
        "removed_by": one.removed_by,
        "removed_why": one.removed_why and shown_title(one.removed_why),
    }


def moment(seconds: float | None) -> str | None:
    """A time as it is written: ISO 8601 in UTC; None where there is none."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def entries_table(entries: Sequence[Mapping[str, Any]]) -> str:
    """Entries as a table, safe for a terminal."""
    headers = ("number", "scope", "source", "since", "by", "why")
    rows = [
        (
            one["phone"],
            one["scope"] if one["removed_at"] is None else f"{one['scope']}, removed",
            one["source"],
            _local(one["since"]),
            plain(one["by"], most=60),
            plain(_whole_why(one), most=LONGEST_WORDS),
        )
        for one in entries
    ]
    return tabulate(rows, headers=headers, tablefmt="simple_outline", disable_numparse=True)


def _whole_why(one: Mapping[str, Any]) -> str:
    why = one["why"] or OPT_OUT_SOURCES.get(one["source"], "")
    if one["removed_at"] is None:
        return why
    return f"{why}; removed {_local(one['removed_at'])} by {one['removed_by']}: {one['removed_why']}"


def _local(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M %Z}"
