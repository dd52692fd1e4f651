"""The suppression list, as it is shown: masked on a screen, with who said so, since when and why; in full in a file only."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from posthorn.content.plain import plain, without_numbers
from posthorn.content.recipients.number import read_phone
from posthorn.content.recipients.rejects import spreadsheet_safe
from posthorn.delivery.suppression.suppress import MAX_WORDS, Removed
from posthorn.errors import InputError
from posthorn.ledger import suppression
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.ledger.suppression import Suppression
from posthorn.models import OPT_OUT_SOURCES, Phone, mask_phone
from posthorn.privatefile import written_privately
from posthorn.settings import load_settings
from posthorn.views.tables import table

COLUMNS = ("phone", "scope", "source", "why", "by", "since")


def shown(one: Suppression) -> dict[str, Any]:
    """An entry as it may be shown: numbers masked, even in what people wrote, and moments in UTC."""
    return {
        "phone": mask_phone(one.phone),
        "scope": one.scope.name.lower(),
        "source": one.source,
        "why": without_numbers(one.why),
        "by": one.by,
        "since": moment(one.since),
        "removed_at": moment(one.removed_at),
        "removed_by": one.removed_by,
        "removed_why": one.removed_why and without_numbers(one.removed_why),
    }


def moment(seconds: float | None) -> str | None:
    """A time as it is written: ISO 8601 in UTC; None if there is none."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def removed_shown(done: Removed) -> dict[str, Any]:
    """What was taken off the list, as JSON has it."""
    removed = [shown(one) for one in done.removed]
    return {"phone": mask_phone(done.phone), "removed": removed, "erased": done.erased, "still": done.still}


def check(numbers: Sequence[str]) -> list[dict[str, Any]]:
    """What the list knows of each number, the entries that were removed included.

    Raises:
        InputError: one of them is not a phone number.
    """
    settings = load_settings()
    phones = [read_phone(number, settings) for number in numbers]
    with open_ledger(settings) as ledger:
        return [_story(ledger, phone) for phone in phones]


def _story(ledger: Ledger, phone: Phone) -> dict[str, Any]:
    known = suppression.of(ledger, phone)
    held = [one.scope.name.lower() for one in known if one.removed_at is None]
    return {"phone": mask_phone(phone), "suppressed": held, "entries": [shown(one) for one in known]}


def listing(most: int, source: str | None) -> dict[str, Any]:
    """How many entries are in force, by scope and source, and the newest of them, masked.

    Raises:
        InputError: there is no such source.
    """
    if source is not None and source not in OPT_OUT_SOURCES:
        raise InputError("--source", f"{plain(source, most=40)}: expected one of {', '.join(OPT_OUT_SOURCES)}")
    with open_ledger() as ledger:
        counted = [
            {"scope": scope.name.lower(), "source": name, "numbers": count}
            for (scope, name), count in suppression.counted(ledger).items()
            if source in (None, name)
        ]
        newest = [shown(one) for one in suppression.newest(ledger, most, source=source)]
    return {"count": sum(row["numbers"] for row in counted), "counted": counted, "entries": newest}


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
            plain(_whole_why(one), most=MAX_WORDS),
        )
        for one in entries
    ]
    return table(headers, rows)


def _whole_why(one: Mapping[str, Any]) -> str:
    why = one["why"] or OPT_OUT_SOURCES.get(one["source"], "")
    if one["removed_at"] is None:
        return why
    return f"{why}; removed {_local(one['removed_at'])} by {one['removed_by']}: {one['removed_why']}"


def _local(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M %Z}"


def counts_table(found: Mapping[str, Any]) -> str:
    """How many entries there are of each kind, as a table."""
    rows = [(one["scope"], one["source"], f"{one['numbers']:,}", OPT_OUT_SOURCES[one["source"]]) for one in found["counted"]]
    headers = ("scope", "source", "numbers", "meaning")
    return table(headers, rows, right=("numbers",))


def export_csv(out: Path) -> int:
    """Write every entry in force as CSV, numbers in full, digits without a plus; returns how many.

    Raises:
        InputError: the file cannot be written; an earlier one stays as it is.
    """
    with open_ledger() as ledger, written_privately(out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        return _written(suppression.entries(ledger), lambda one: writer.writerow(map(spreadsheet_safe, _texts(one))))


def export_jsonl(out: Path) -> int:
    """Write every entry in force as JSON lines, numbers as E.164; returns how many.

    Raises:
        InputError: as ``export_csv``.
    """

    def line(one: Suppression) -> str:
        return orjson.dumps(dict(zip(COLUMNS, (f"+{one.phone}", *_texts(one)[1:]), strict=True))).decode() + "\n"

    with open_ledger() as ledger, written_privately(out) as file:
        return _written(suppression.entries(ledger), lambda one: file.write(line(one)))


def _written(entries: Iterator[Suppression], write: Callable[[Suppression], object]) -> int:
    count = 0
    for count, one in enumerate(entries, start=1):  # noqa: B007 - used after the loop
        write(one)
    return count


def _texts(one: Suppression) -> tuple[str, ...]:
    return str(one.phone), one.scope.name.lower(), one.source, one.why, one.by, moment(one.since) or ""
