"""Shows the news that was kept and not applied: it contradicts a message, or names an id that no message has."""

from __future__ import annotations

from datetime import datetime

import orjson

from posthorn.ledger import parked
from posthorn.ledger.parked import ParkedNews
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import mask_phone
from posthorn.views.tables import table

_SHOWN = 50
_MOST = 10_000
_HEADERS = ("received", "id", "number", "says", "why it is not applied")


def list_parked(*, as_json: bool) -> str:
    """Parked news with masked numbers, as a table or as JSON; what contradicts a message comes first."""
    with open_ledger() as ledger:
        kept = parked.listed(ledger, _MOST if as_json else _SHOWN)
        count, contradictory = parked.count_parked(ledger), parked.count_contradictory(ledger)
    if as_json:
        news = [dict(zip(_KEYS, (*_row(one), one.contradicts, one.campaign), strict=True)) for one in kept]
        told = {"parked": count, "contradictory": contradictory, "news": news}
        return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()
    if not kept:
        return "no news is parked"
    lines = [table(_HEADERS, ((*_row(one), _why(one)) for one in kept))]
    if count > len(kept):
        lines.append(f"and {count - len(kept):,} more")
    lines += ["", f"contradictory news: {contradictory:,} of {count:,} parked"]
    return "\n".join(lines)


_KEYS = ("received_at", "id", "number", "says", "contradicts", "campaign")


def _row(one: ParkedNews) -> tuple[str, str, str, str]:
    """Moment, id, masked number, state."""
    received = f"{datetime.fromtimestamp(one.received_at).astimezone():%Y-%m-%d %H:%M:%S %z}"
    number = mask_phone(one.phone) if one.phone else ""
    return received, one.provider_id, number, one.state.name.lower()


def _why(one: ParkedNews) -> str:
    if one.contradicts is not None:
        return f"contradicts {one.campaign or 'a message that is erased'}: {one.contradicts}"
    return "no message has this id (yet)" if one.campaign is None else f"is about {one.campaign}; applied with the next news"
