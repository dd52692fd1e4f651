"""Shell completion: the names of this folder's deliveries. It never creates a ledger."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from posthorn.models import Kind


def names_of(kind: Kind) -> Callable[[str], list[str]]:
    """The names of campaigns, or of events, that complete what was typed. None if the ledger is on a server, or unreadable.

    Tab must be quick and silent: a server may take its time, and no error can be shown in the middle of a line.
    """

    def names(incomplete: str) -> list[str]:
        with suppress(Exception):
            return [name for name in _names(kind) if name.startswith(incomplete)]
        return []

    return names


def _names(kind: Kind) -> list[str]:
    from posthorn.ledger.deliveries import all_records
    from posthorn.ledger.store.engine import ledger_place, open_ledger
    from posthorn.settings import load_settings

    settings = load_settings()
    if not settings.database_url.startswith("sqlite") or not Path(ledger_place(settings.database_url)).is_file():
        return []
    with open_ledger(settings) as ledger:
        return sorted({one.name for one in all_records(ledger, kind)})
