"""The suppression list, as an operator keeps it: numbers are added, removed, and read from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from posthorn.content.plain import plain
from posthorn.content.recipients.csvfile import Wanted, open_csv
from posthorn.content.recipients.intake import Intake
from posthorn.content.recipients.number import read_phone
from posthorn.content.recipients.phones import PhoneReader
from posthorn.errors import InputError
from posthorn.ledger import suppression
from posthorn.ledger.store.engine import open_ledger
from posthorn.ledger.suppression import Suppression
from posthorn.models import OptOut, Phone, Scope, mask_phone
from posthorn.settings import load_settings

MAX_WORDS = 300
"""How many characters of a reason are kept."""

_STILL_LISTED = ("blacklist", "refusal")


def scopes_of(name: str | None) -> list[Scope]:
    """The scopes that an operator names; both if none is named.

    Raises:
        InputError: there is no such scope.
    """
    if name is None:
        return list(Scope)
    if name.upper() not in Scope.__members__:
        raise InputError("--scope", f"{plain(name, most=40)}: expected marketing (campaigns) or all (tickets, too)")
    return [Scope[name.upper()]]


def add(numbers: Sequence[str], scope: str, *, why: str, by: str) -> dict[str, Any]:
    """Put numbers on the list; nothing is added if one of them cannot be read.

    Raises:
        InputError: a number cannot be read, or there is no such scope.
    """
    settings, (chosen,) = load_settings(), scopes_of(scope)
    phones = [read_phone(number, settings) for number in numbers]
    with open_ledger(settings) as ledger:
        new = suppression.add(ledger, _said(phones, chosen, "person", why), by=by)
    return {"given": len(set(phones)), "new": new, "scope": chosen.name.lower()}


def import_file(path: Path, scope: str, *, column: str | None, why: str, by: str) -> dict[str, Any]:
    """Put every number of a file on the list, of whatever kind. Rows without a number go to ``<name>.rejects.csv``.

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
    words = plain(why.strip(), most=MAX_WORDS)
    return [OptOut(phone, scope, source, words) for phone in phones]


class Removed(NamedTuple):
    """What was taken off the list for a number: entries no longer in force, and how many were deleted.

    ``still`` are the sources that may list it again: the provider's own blacklist, or its refusals.
    """

    phone: Phone
    removed: Sequence[Suppression]
    erased: int
    still: Sequence[str]


def remove(number: str, scope: str | None, *, by: str, why: str, erase: bool) -> Removed:
    """End entries of a number, or delete all that is known of it.

    Raises:
        InputError: no reason is given, the number cannot be read, or it is not on the list.
    """
    if not why.strip():
        raise InputError("--why", "say why it may be messaged again; it is kept with the entry")
    settings = load_settings()
    phone, chosen = read_phone(number, settings), scopes_of(scope)
    with open_ledger(settings) as ledger:
        known = suppression.of(ledger, phone)
        words = plain(why.strip(), most=MAX_WORDS)
        removed = suppression.remove(ledger, phone, chosen, by=by, why=words)
        if not (removed or (erase and known)):
            held = ", ".join(one.scope.name.lower() for one in known if one.removed_at is None) or "no scope"
            raise InputError("PHONE", f"{mask_phone(phone)} is on the list for {held}; there is nothing of that to remove")
        erased = suppression.erase(ledger, phone) if erase else 0
    listed = sorted({one.source for one in removed} & set(_STILL_LISTED))
    return Removed(phone, removed, erased, listed)
