"""What lies at a provider and what it says of the account, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from posthorn.content.plain import plain
from posthorn.models import Credit, Observation, StoredFile, Verdict
from posthorn.views.tables import table

_COLUMNS = ("id", "name", "bytes", "type", "stored")
_WORDS = {Verdict.CONFIRMED: "confirmed", Verdict.OTHER: "OTHER", Verdict.UNCLEAR: "cannot tell"}
_MAX_SEEN = 300


def files_table(files: Sequence[StoredFile]) -> str:
    """The files as a table, the newest last, as the provider lists them."""
    rows = [(plain(one.id), plain(one.name, most=60), _size(one), plain(one.type), plain(one.date)) for one in files]
    return table(_COLUMNS, rows, right=("bytes",))


def _size(file: StoredFile) -> str:
    return "" if file.size is None else f"{file.size:,}"


def limits_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The limits as a table."""
    shown = [(plain(row["type"]), plain(row["length"]), _left(Credit(row["left"], row["available"]))) for row in rows]
    return table(("type", "longest", "left"), shown, right=("longest", "left"))


def _left(credit: Credit) -> str:
    if not credit.available:
        return "not available"
    return "no limit" if credit.left is None else f"{credit.left:,}"


def blacklist_table(found: Mapping[str, Any]) -> str:
    """The blacklist as a table."""
    rows = [(one["phone"], one["added"]) for one in found["entries"]]
    more = found["count"] - len(rows)
    rest = f"\nand {more:,} more; --out FILE writes them all, in full" if more > 0 else ""
    return table(("number", "since"), rows) + rest


def probe_table(found: Sequence[Observation]) -> str:
    """What we rely on, where it comes from, and what was seen."""
    rows = [(_WORDS[one.verdict], one.relies, one.source, plain(one.seen, most=_MAX_SEEN)) for one in found]
    headers = ("", "what we rely on", "from", "seen")
    return table(headers, rows, widest=(None, 44, 30, 60))
