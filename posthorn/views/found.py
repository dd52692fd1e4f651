"""What was sent to one number, masked, for a person who answers a call about it."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from posthorn.content.recipients.number import read_phone
from posthorn.ledger.history import history
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import mask_phone
from posthorn.settings import load_settings
from posthorn.views.markdown import link, table, written
from posthorn.views.status import artifact_key


def found_page(number: str) -> tuple[int, str]:
    """How many messages went to that number, and a page of them in Markdown; a ticket's code is not on it.

    Raises:
        InputError: it is not a number.
    """
    settings = load_settings()
    phone = read_phone(number, settings)
    with open_ledger(settings) as ledger:
        entries = history(ledger, phone)
    zone = ZoneInfo(settings.timezone)
    rows = [
        (
            link(written(one.name), artifact_key(one.kind, one.name)),
            one.kind,
            f"{one.line}",
            one.state.replace("_", " "),
            written(one.error or ""),
            f"{datetime.fromtimestamp(one.sent_at, zone):%Y-%m-%d %H:%M %Z}" if one.sent_at else "",
        )
        for one in entries
    ]
    parts = [f"# {written(mask_phone(phone))}", f"{len(rows)} messages of this ledger."]
    if rows:
        parts.append(table(("delivery", "kind", "line:", "state", "code", "sent"), rows))
    return len(rows), "\n\n".join(parts) + "\n"
