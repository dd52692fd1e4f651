"""Finding what became of one number, in words."""

from __future__ import annotations

from datetime import datetime

import orjson
from tabulate import tabulate

from posthorn.content.recipients.phones import PhoneReader, Reason
from posthorn.errors import InputError
from posthorn.ledger.history import Entry, history
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import Phone, mask_phone
from posthorn.settings import Settings, load_settings


def find_messages(number: str, *, as_json: bool) -> str:
    """Every message to the number, over all campaigns and events, as a table or as JSON.

    Raises:
        InputError: it is no number.
    """
    settings = load_settings()
    phone = read_phone(number, settings)
    with open_ledger(settings) as ledger:
        entries = history(ledger, phone)
    if as_json:
        return orjson.dumps(entries, option=orjson.OPT_INDENT_2).decode()
    if not entries:
        return f"{mask_phone(phone)}: no campaign or event of this ledger has this number"
    rows = [
        (
            entry.name,
            entry.kind,
            entry.line,
            entry.state,
            entry.error or "",
            entry.code or "",
            _when(entry),
            entry.provider_id,
        )
        for entry in entries
    ]
    headers = ("name", "kind", "line", "state", "code", "ticket", "sent", "provider's id")
    return f"{mask_phone(phone)}\n" + tabulate(rows, headers=headers, tablefmt="simple_outline", disable_numparse=True)


def read_phone(number: str, settings: Settings) -> Phone:
    """The number an operator typed.

    Raises:
        InputError: it is no number.
    """
    phone = PhoneReader(settings.default_region).read(number)
    if isinstance(phone, Reason):
        raise InputError("PHONE", f"{phone}; expected a number such as +48500600700")
    return phone


def _when(entry: Entry) -> str:
    return "" if entry.sent_at is None else f"{datetime.fromtimestamp(entry.sent_at).astimezone():%Y-%m-%d %H:%M %Z}"
