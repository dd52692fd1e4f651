"""The suppression list, for an operator: who must not be messaged, added, removed, read from a file and written to one."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from tabulate import tabulate

from posthorn.content.plain import plain
from posthorn.content.recipients.csvfile import Wanted, open_csv
from posthorn.content.recipients.intake import Intake
from posthorn.content.recipients.phones import PhoneReader
from posthorn.content.recipients.rejects import spreadsheet_safe
from posthorn.delivery.deciding.find import read_phone
from posthorn.delivery.suppression.suppressed import LONGEST_WORDS, moment, shown
from posthorn.errors import InputError
from posthorn.ledger import suppression
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.ledger.suppression import Suppression
from posthorn.models import OPT_OUT_SOURCES, OptOut, Phone, Scope, mask_phone
from posthorn.privatefile import written_privately
from posthorn.settings import load_settings

COLUMNS = ("phone", "scope", "source", "why", "by", "since")
_STILL_LISTED = ("blacklist", "refusal")


def scopes_of(name: str | None) -> list[Scope]:
    """The scopes that an operator names; both where none is named.

    Raises:
        InputError: there is no such scope.
    """
    if name is None:
        return list(Scope)
    if name.upper() not in Scope.__members__:
        raise InputError("--scope", f"{plain(name, most=40)}: expected marketing (campaigns) or all (tickets, too)")
    return [Scope[name.upper()]]


def add(numbers: Sequence[str], scope: str, *, why: str, by: str) -> dict[str, Any]:
    """Put numbers on the list; nothing is added where one of them is none.

    Raises:
        InputError: a number cannot be read, or there is no such scope.
    """
    settings, (chosen,) = load_settings(), scopes_of(scope)
    phones = [read_phone(number, settings) for number in numbers]
    with open_ledger(settings) as ledger:
        new = suppression.add(ledger, _said(phones, chosen, "person", why), by=by)
    return {"given": len(set(phones)), "new": new, "scope": chosen.name.lower()}


def import_file(path: Path, scope: str, *, column: str | None, why: str, by: str) -> dict[str, Any]:
    """Put every number of a file on the list, whatever kind it is of; rows without one go to ``<name>.rejects.csv``.

    Raises:
        InputError: the file cannot be used, or there is no such scope.
    """
    settings, (chosen,) = load_settings(), scopes_of(scope)
    file = open_csv(path, "recipients", Wanted(settings.default_region, column))
    rejects = path.parent / f"{path.stem}.rejects.csv"
    rows = Intake(file, PhoneReader(settings.default_region), rejects)
    new = 0
    with open_ledger(settings) as ledger:
        for batch in rows:
            said = _said([phone for _, phone in batch], chosen, "file", why or f"imported from {path.name}")
            new += suppression.add(ledger, said, by=by)
    counts = {"rows": rows.input, "numbers": rows.accepted, "new": new, "invalid": rows.invalid, "duplicate": rows.duplicate}
    return {**counts, "scope": chosen.name.lower(), "column": rows.file.phone_title, "rejects": str(rejects)}


def _said(phones: Sequence[Phone], scope: Scope, source: str, why: str) -> list[OptOut]:
    words = plain(why.strip(), most=LONGEST_WORDS)
    return [OptOut(phone, scope, source, words) for phone in phones]


def remove(number: str, scope: str | None, *, by: str, why: str, erase: bool) -> dict[str, Any]:
    """Have entries of a number hold no longer, or delete all that is known of it.

    Raises:
        InputError: no reason is given, the number cannot be read, or it is not on the list.
    """
    if not why.strip():
        raise InputError("--why", "say why it may be messaged again; it is kept with the entry")
    settings = load_settings()
    phone, chosen = read_phone(number, settings), scopes_of(scope)
    with open_ledger(settings) as ledger:
        known = suppression.of(ledger, phone)
        words = plain(why.strip(), most=LONGEST_WORDS)
        removed = suppression.remove(ledger, phone, chosen, by=by, why=words)
        if not (removed or (erase and known)):
            held = ", ".join(one.scope.name.lower() for one in known if one.removed_at is None) or "no scope"
            raise InputError("PHONE", f"{mask_phone(phone)} is on the list for {held}; there is nothing of that to remove")
        erased = suppression.erase(ledger, phone) if erase else 0
    listed = sorted({one.source for one in removed} & set(_STILL_LISTED))
    return {"phone": mask_phone(phone), "removed": [shown(one) for one in removed], "erased": erased, "still": listed}


def check(numbers: Sequence[str]) -> list[dict[str, Any]]:
    """What the list knows of each number, the entries that were removed included.

    Raises:
        InputError: one of them is no number.
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
    """How many entries hold, by scope and source, and the newest of them, masked.

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


def export_csv(out: Path) -> int:
    """Write every entry that holds as CSV, numbers in full, digits without a plus; returns how many.

    Raises:
        InputError: the file cannot be written; an earlier one stays as it is.
    """
    with open_ledger() as ledger, written_privately(out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        return _written(suppression.entries(ledger), lambda one: writer.writerow(map(spreadsheet_safe, _texts(one))))


def export_jsonl(out: Path) -> int:
    """Write every entry that holds as JSON lines, numbers as E.164; returns how many.

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


def counts_table(found: Mapping[str, Any]) -> str:
    """How many entries there are of each kind, as a table."""
    rows = [(one["scope"], one["source"], f"{one['numbers']:,}", OPT_OUT_SOURCES[one["source"]]) for one in found["counted"]]
    headers = ("scope", "source", "numbers", "meaning")
    align = ("left", "left", "right", "left")
    return tabulate(rows, headers=headers, tablefmt="simple_outline", disable_numparse=True, colalign=align)
