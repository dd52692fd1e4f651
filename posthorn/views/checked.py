"""What a check found, of a campaign or an event, as tables, as JSON, and as what the start of a send says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import orjson

from posthorn.content import moments
from posthorn.content.amounts import cost, money
from posthorn.content.media.looks import Look
from posthorn.content.plain import plain, plain_json, plain_lines
from posthorn.content.recipients.rejects import Reject
from posthorn.delivery.planning.checked import Checked, Merged, Reading
from posthorn.models import Kind, Media
from posthorn.views.tables import facts, table

_NOT_HOME = {"PL": "are not Polish", "DE": "are not German", "GB": "are not British", "US": "are not of the US"}


def check_json(checked: Checked) -> str:
    """The check as JSON."""
    reading = {key: value for key, value in asdict(checked.reading).items() if key not in ("header_line", "rejects", "cost")}
    looks = {one.source: one for one in checked.looks}
    content = {
        "kind": checked.kind.name.lower(),
        "name": checked.name,
        "gateway": checked.gateway,
        "title": checked.title or None,
        "text_length": checked.text_length,
        "mms_id": checked.mms_id or None,
        "test": checked.test,
        **reading,
        "input": checked.reading.rows,
        "chunk_size": checked.chunk_size,
        "requests": checked.requests,
        "send_at": checked.moment.isoformat(sep=" ", timespec="minutes") if checked.moment else None,
        "moment": _moment(checked),
        "waves": asdict(checked.waves) if checked.waves else None,
        "hours": checked.hours._asdict() if checked.hours else None,
        "hold": None if checked.hold is None else {"minutes": checked.hold[0], "proven": checked.hold[1]},
        "media": [_media_json(item, looks.get(item.source)) for item in checked.media],
        "cost": None if checked.cost is None else str(checked.cost),
        "warnings": [one._asdict() for one in checked.warnings],
        "rejects": [asdict(one) for one in checked.reading.rejects],
        "already": checked.already,
        "merged": None if checked.merged is None else asdict(checked.merged),
    }
    return plain_json(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())


def check_text(checked: Checked) -> str:
    """The check as tables."""
    text = facts(_rows(checked))
    if not checked.reading.rejects:
        return plain_lines(text)
    rejects = _rejects_table(checked.reading.rejects)
    more = checked.reading.invalid + checked.reading.duplicate - len(checked.reading.rejects)
    return plain_lines(f"{text}\n\nRejected rows:\n{rejects}" + (f"\nand {more:,} more" if more > 0 else ""))


def announcement(checked: Checked) -> list[str]:
    """What the start of a send says: what was inferred, what is doubtful."""
    if checked.already is not None:
        merged = [] if checked.merged is None else [f"the list: {_merged(checked.merged)}"]
        return [*merged, *(f"warning: {one.message}" for one in checked.warnings)]
    lines = [checked.reading.column_line(), _counts(checked)]
    if checked.kind is Kind.EVENT:
        lines.append(_codes_line(checked.reading))
    if checked.hold is not None:
        lines.append(_hold_line(checked))
    return lines + [f"warning: {one.message}" for one in checked.warnings]


def _rows(checked: Checked) -> list[tuple[str, str]]:
    reading = checked.reading
    rows = _head(checked)
    if reading.column is not None:
        rows.append(("column", reading.column_line()))
    rows.append(("rows", _counts(checked)))
    if reading.left_out:
        rows.append(("left out", f"{reading.left_out:,} rows by only_where"))
    if reading.reasons:
        rows.append(("reasons", reading.reasons_line()))
    if len(reading.by_country) > 1 or checked.region not in reading.by_country:
        rows += _countries(checked)
    rows += _tail(checked)
    if checked.waves:
        rows.append(("waves", str(checked.waves)))
    if checked.hours:
        rows.append(("hours", str(checked.hours)))
    rows += [("warning", one.message) for one in checked.warnings]
    if checked.merged is not None:
        rows.append(("merged", _merged(checked.merged)))
    if checked.already is not None:
        rows.append(("dealt with", f"{checked.already:,} by an earlier run; sending goes on with the rest"))
    return rows


def _cost_line(checked: Checked, price: Decimal) -> str:
    if checked.cost in (None, price * checked.reading.to_send):
        return cost(checked.reading.to_send, price)
    return f"{money(checked.cost or price)} (by country prefix)"


def _head(checked: Checked) -> list[tuple[str, str]]:
    if checked.kind is Kind.EVENT:
        return [("event", checked.name), ("stored MMS", checked.mms_id)]
    rows = [
        ("campaign", checked.name + (" (test: nothing will be sent)" if checked.test else "")),
        ("title", checked.title),
    ]
    return rows + ([("text", f"{checked.text_length:,} characters")] if checked.text_length else [])


def _tail(checked: Checked) -> list[tuple[str, str]]:
    costs = [] if checked.price is None else [("cost", _cost_line(checked, checked.price))]
    if checked.kind is Kind.EVENT:
        codes = [] if checked.reading.column is None else [("codes", _codes_line(checked.reading))]
        likeness = "the provider draws the code from its own template; `tickets preview` is only a likeness"
        return [*codes, *costs, ("pictures", likeness)]
    looks = {one.source: one for one in checked.looks}
    return [
        ("requests", f"{checked.requests:,} of up to {checked.chunk_size:,} numbers"),
        ("dispatched", moments.shown(checked.moment, *checked.zones) if checked.moment else "at once"),
        *([("held", _hold_line(checked))] if checked.hold is not None else []),
        *costs,
        *(("media", _media_line(item, looks.get(item.source))) for item in checked.media),
    ]


def _hold_line(checked: Checked) -> str:
    assert checked.hold is not None
    minutes, _, words = checked.hold
    return f"for {minutes} minutes; that this works is {words}"


def _counts(checked: Checked) -> str:
    reading = checked.reading
    what = "tickets" if checked.kind is Kind.EVENT else "valid"
    out = f" ({reading.suppressed:,} of them suppressed: not to be messaged)" if reading.suppressed else ""
    return f"{reading.rows:,}: {reading.valid:,} {what}{out}, {reading.invalid:,} invalid, {reading.duplicate:,} duplicate"


def _countries(checked: Checked) -> list[tuple[str, str]]:
    if not checked.reading.by_country:
        return []
    abroad = sum(count for region, count in checked.reading.by_country.items() if region != checked.region)
    listed = ", ".join(f"{region} {count:,}" for region, count in checked.reading.by_country.items())
    return [("countries", f"{listed}; of which {abroad:,} {_NOT_HOME.get(checked.region, f'are not of {checked.region}')}")]


def _moment(checked: Checked) -> dict[str, str] | None:
    if checked.moment is None:
        return None
    provider, operator = (moments.shown(checked.moment, zone) for zone in checked.zones)
    return {"provider": provider, "operator": operator}


def _rejects_table(rejects: Sequence[Reject]) -> str:
    """Rejected rows as a table, safe for a terminal."""
    listed = [(one.line, plain(one.value, most=60), plain(one.reason)) for one in rejects]
    return table(("line", "value", "reason"), listed, right=("line",))


def _media_json(item: Media, look: Look | None) -> dict[str, Any]:
    return {**asdict(item), "width": look.width if look else None, "height": look.height if look else None}


def _media_line(item: Media, look: Look | None) -> str:
    return f"{item.source} ({item.content_type}{f', {look.as_text()}' if look else ''})"


def _merged(merged: Merged) -> str:
    """``1,000 new rows, 9,000 known; 3 taken out``."""
    rows = "row" if merged.new == 1 else "rows"
    others = [
        (merged.taken_out, "are missing from the list and are taken out"),
        (merged.still_out, "were taken out before and stay so"),
        (merged.numbers, "have another number now"),
        (merged.columns, "have other columns now"),
        (merged.still_scheduled, "stay scheduled at the old moment"),
    ]
    said = [
        f"{merged.new:,} new {rows}, {merged.known:,} known",
        *(f"{count:,} {words}" for count, words in others if count),
    ]
    return "; ".join([*said, *merged.content])


def _codes_line(reading: Reading) -> str:
    """Where the codes come from."""
    if reading.barcode_column is None:
        return f"{reading.generated:,} generated, kept in the ledger"
    given = reading.valid - reading.generated
    return f'{given:,} codes from column "{reading.barcode_column}", {reading.generated:,} generated'
