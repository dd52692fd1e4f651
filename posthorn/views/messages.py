"""What became of one number, over all campaigns and events: for `posthorn messages find`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import orjson

from posthorn.content.recipients.number import read_phone
from posthorn.ledger import proofs, suppression
from posthorn.ledger.history import Entry, history
from posthorn.ledger.proofs import KeptProof
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import OPT_OUT, mask_phone
from posthorn.settings import load_settings
from posthorn.views.suppression import entries_table, shown
from posthorn.views.tables import table


def find_messages(number: str, *, as_json: bool) -> str:
    """Every message to the number, over all campaigns and events, as a table or as JSON.

    Raises:
        InputError: it is not a phone number.
    """
    settings = load_settings()
    phone = read_phone(number, settings)
    with open_ledger(settings) as ledger:
        entries = history(ledger, phone)
        listed = [shown(one) for one in suppression.of(ledger, phone)]
        proven = proofs.to(ledger, phone)
    if as_json:
        # The list says why: what was suppressed by it carries its words.
        told = [{**asdict(entry), "suppression": listed if _is_opt_out(entry) else []} for entry in entries]
        return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()
    story = f"\non the suppression list:\n{entries_table(listed)}" if listed else ""
    if proven:
        story = f"\nproofs, which are not a recipient's message:\n{_proofs_table(proven)}{story}"
    if not entries:
        return f"{mask_phone(phone)}: no campaign or event of this ledger has this number{story}"
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
    return f"{mask_phone(phone)}\n{table(headers, rows, right=('line',))}{story}"


def _proofs_table(proven: Sequence[KeptProof]) -> str:
    rows = [(one.name, one.outcome.value, one.code or "", _moment(one.claimed_at), one.provider_id or "") for one in proven]
    headers = ("name", "outcome", "ticket", "sent", "provider's id")
    return table(headers, rows)


def _is_opt_out(entry: Entry) -> bool:
    return (entry.error or "").startswith(OPT_OUT)


def _when(entry: Entry) -> str:
    return "" if entry.sent_at is None else _moment(entry.sent_at)


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M %Z}"
