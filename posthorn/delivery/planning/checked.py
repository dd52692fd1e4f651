"""What a check found, of a campaign or an event, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from tabulate import tabulate

from posthorn.content import moments
from posthorn.content.amounts import cost, money
from posthorn.content.media.looks import Look
from posthorn.content.plain import plain, plain_json, plain_lines
from posthorn.content.recipients.rejects import Reject
from posthorn.content.warnings import Caution
from posthorn.content.waves import Waves
from posthorn.delivery.limits.hours import ShownHours
from posthorn.models import Kind, Media

_SHOWN_REASONS = 8
_NOT_HOME = {"PL": "are not Polish", "DE": "are not German", "GB": "are not British", "US": "are not of the US"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read in a list: which column, how many rows of what kind, and what is odd.

    ``rows`` is ``valid + invalid + duplicate``; ``left_out`` are rows that ``only_where`` leaves out, which are not in it.
    ``suppressed`` of the valid ones must not be messaged; ``cost`` is without them.
    """

    column: str | None = None
    header_line: int = 0
    barcode_column: str | None = None
    rows: int = 0
    valid: int = 0
    invalid: int = 0
    duplicate: int = 0
    suppressed: int = 0
    left_out: int = 0
    generated: int = 0
    by_kind: Mapping[str, int] = field(default_factory=dict)
    by_country: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    rejects: Sequence[Reject] = ()
    cost: Decimal | None = None

    @property
    def to_send(self) -> int:
        """How many of the valid rows may be messaged."""
        return self.valid - self.suppressed

    def column_line(self) -> str:
        """Where the numbers were taken from."""
        if self.column is None:
            return "not read again: planned already"
        if not self.header_line:
            return "numbers from a bare list, one a line"
        return f'numbers from column "{self.column}" (line {self.header_line})'

    def codes_line(self) -> str:
        """Where the codes come from."""
        if self.barcode_column is None:
            return f"{self.generated:,} generated, kept in the ledger"
        return f'{self.valid - self.generated:,} codes from column "{self.barcode_column}", {self.generated:,} generated'

    def reasons_line(self) -> str:
        """``3 too short, 2 a landline``: the most frequent reasons first."""
        ordered = sorted(self.reasons.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{count:,} {plain(reason)}" for reason, count in ordered[:_SHOWN_REASONS])
        more = sum(count for _, count in ordered[_SHOWN_REASONS:])
        return shown + (f", {more:,} others" if more else "")


@dataclass(frozen=True, slots=True)
class Merged:
    """What a list does to what is planned: rows that are new, known (``still_out`` of them were taken out, and stay so).

    ``taken_out`` are missing from it, and accepted as that; of ``numbers`` and ``columns`` the known row has others now.
    ``content`` says what else changes; ``still_scheduled`` messages stay at the old moment of dispatch.
    """

    new: int = 0
    known: int = 0
    taken_out: int = 0
    still_out: int = 0
    numbers: int = 0
    columns: int = 0
    content: Sequence[str] = ()
    still_scheduled: int = 0

    def as_text(self) -> str:
        """``1,000 new rows, 9,000 known; 3 taken out``."""
        rows = "row" if self.new == 1 else "rows"
        others = [
            (self.taken_out, "are missing from the list and are taken out"),
            (self.still_out, "were taken out before and stay so"),
            (self.numbers, "have another number now"),
            (self.columns, "have other columns now"),
            (self.still_scheduled, "stay scheduled at the old moment"),
        ]
        said = [
            f"{self.new:,} new {rows}, {self.known:,} known",
            *(f"{count:,} {words}" for count, words in others if count),
        ]
        return "; ".join([*said, *self.content])


@dataclass(frozen=True, slots=True)
class Checked:
    """A campaign or event that can be sent, and how. ``already`` is how many messages an earlier run has dealt with.

    ``merged`` is what the list does to what is planned, None where nothing is, or where the list is as it was.
    ``hold`` is for how many minutes the provider keeps the messages, whether that is proven of this account, and in words.
    """

    kind: Kind
    name: str
    gateway: str
    region: str
    reading: Reading
    warnings: Sequence[Caution]
    test: bool = False
    title: str = ""
    text_length: int = 0
    mms_id: str = ""
    chunk_size: int = 1
    requests: int = 0
    moment: datetime | None = None
    hours: ShownHours | None = None
    waves: Waves | None = None
    zones: tuple[str, str] = ("UTC", "UTC")
    media: Sequence[Media] = ()
    looks: Sequence[Look] = ()
    price: Decimal | None = None
    hold: tuple[int, bool, str] | None = None
    already: int | None = None
    merged: Merged | None = None

    def as_json(self) -> str:
        """The check as JSON."""
        reading = {
            key: value for key, value in asdict(self.reading).items() if key not in ("header_line", "rejects", "cost")
        }
        looks = {one.source: one for one in self.looks}
        content = {
            "kind": self.kind.name.lower(),
            "name": self.name,
            "gateway": self.gateway,
            "title": self.title or None,
            "text_length": self.text_length,
            "mms_id": self.mms_id or None,
            "test": self.test,
            **reading,
            "input": self.reading.rows,
            "chunk_size": self.chunk_size,
            "requests": self.requests,
            "send_at": self.moment.isoformat(sep=" ", timespec="minutes") if self.moment else None,
            "moment": self._moment(),
            "waves": asdict(self.waves) if self.waves else None,
            "hours": self.hours._asdict() if self.hours else None,
            "hold": None if self.hold is None else {"minutes": self.hold[0], "proven": self.hold[1]},
            "media": [_media_json(item, looks.get(item.source)) for item in self.media],
            "cost": None if self.cost is None else str(self.cost),
            "warnings": [one._asdict() for one in self.warnings],
            "rejects": [asdict(one) for one in self.reading.rejects],
            "already": self.already,
            "merged": None if self.merged is None else asdict(self.merged),
        }
        return plain_json(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())

    def as_text(self) -> str:
        """The check as tables."""
        text = tabulate(self._rows(), tablefmt="plain", disable_numparse=True)
        if not self.reading.rejects:
            return plain_lines(text)
        table = rejects_table(self.reading.rejects)
        more = self.reading.invalid + self.reading.duplicate - len(self.reading.rejects)
        return plain_lines(f"{text}\n\nRejected rows:\n{table}" + (f"\nand {more:,} more" if more > 0 else ""))

    def announcement(self) -> list[str]:
        """What the start of a send says: what was inferred, what is doubtful."""
        if self.already is not None:
            merged = [] if self.merged is None else [f"the list: {self.merged.as_text()}"]
            return [*merged, *(f"warning: {one.message}" for one in self.warnings)]
        lines = [self.reading.column_line(), self._counts()]
        if self.kind is Kind.EVENT:
            lines.append(self.reading.codes_line())
        if self.hold is not None:
            lines.append(self._hold_line())
        return lines + [f"warning: {one.message}" for one in self.warnings]

    def _rows(self) -> list[tuple[str, str]]:
        reading = self.reading
        rows = self._head()
        if reading.column is not None:
            rows.append(("column", reading.column_line()))
        rows.append(("rows", self._counts()))
        if reading.left_out:
            rows.append(("left out", f"{reading.left_out:,} rows by only_where"))
        if reading.reasons:
            rows.append(("reasons", reading.reasons_line()))
        if len(reading.by_country) > 1 or self.region not in reading.by_country:
            rows += self._countries()
        rows += self._tail()
        if self.waves:
            rows.append(("waves", str(self.waves)))
        if self.hours:
            rows.append(("hours", str(self.hours)))
        rows += [("warning", one.message) for one in self.warnings]
        if self.merged is not None:
            rows.append(("merged", self.merged.as_text()))
        if self.already is not None:
            rows.append(("dealt with", f"{self.already:,} by an earlier run; sending goes on with the rest"))
        return rows

    @property
    def cost(self) -> Decimal | None:
        """What all of it costs; None where there is no price. Of one that is planned already, at the usual price."""
        if self.price is None or self.reading.cost is not None:
            return self.reading.cost
        return self.price * self.reading.to_send

    def _cost_line(self, price: Decimal) -> str:
        if self.cost in (None, price * self.reading.to_send):
            return cost(self.reading.to_send, price)
        return f"{money(self.cost or price)} (by country prefix)"

    def _head(self) -> list[tuple[str, str]]:
        if self.kind is Kind.EVENT:
            return [("event", self.name), ("stored MMS", self.mms_id)]
        rows = [("campaign", self.name + (" (test: nothing will be sent)" if self.test else "")), ("title", self.title)]
        return rows + ([("text", f"{self.text_length:,} characters")] if self.text_length else [])

    def _tail(self) -> list[tuple[str, str]]:
        costs = [] if self.price is None else [("cost", self._cost_line(self.price))]
        if self.kind is Kind.EVENT:
            codes = [] if self.reading.column is None else [("codes", self.reading.codes_line())]
            likeness = "the provider draws the code from its own template; `tickets preview` is only a likeness"
            return [*codes, *costs, ("pictures", likeness)]
        looks = {one.source: one for one in self.looks}
        return [
            ("requests", f"{self.requests:,} of up to {self.chunk_size:,} numbers"),
            ("dispatched", moments.shown(self.moment, *self.zones) if self.moment else "at once"),
            *([("held", self._hold_line())] if self.hold is not None else []),
            *costs,
            *(("media", _media_line(item, looks.get(item.source))) for item in self.media),
        ]

    def _hold_line(self) -> str:
        assert self.hold is not None
        minutes, _, words = self.hold
        return f"for {minutes} minutes; that this works is {words}"

    def _counts(self) -> str:
        reading = self.reading
        what = "tickets" if self.kind is Kind.EVENT else "valid"
        out = f" ({reading.suppressed:,} of them suppressed: not to be messaged)" if reading.suppressed else ""
        return (
            f"{reading.rows:,}: {reading.valid:,} {what}{out}, {reading.invalid:,} invalid, {reading.duplicate:,} duplicate"
        )

    def _countries(self) -> list[tuple[str, str]]:
        if not self.reading.by_country:
            return []
        abroad = sum(count for region, count in self.reading.by_country.items() if region != self.region)
        listed = ", ".join(f"{region} {count:,}" for region, count in self.reading.by_country.items())
        return [("countries", f"{listed}; of which {abroad:,} {_NOT_HOME.get(self.region, f'are not of {self.region}')}")]

    def _moment(self) -> dict[str, str] | None:
        if self.moment is None:
            return None
        provider, operator = (moments.shown(self.moment, zone) for zone in self.zones)
        return {"provider": provider, "operator": operator}


def rejects_table(rejects: Sequence[Reject]) -> str:
    """Rejected rows as a table, safe for a terminal."""
    listed = [(one.line, plain(one.value, most=60), plain(one.reason)) for one in rejects]
    return tabulate(listed, headers=("line", "value", "reason"), tablefmt="simple_outline", disable_numparse=True)


def _media_json(item: Media, look: Look | None) -> dict[str, Any]:
    return {**asdict(item), "width": look.width if look else None, "height": look.height if look else None}


def _media_line(item: Media, look: Look | None) -> str:
    return f"{item.source} ({item.content_type}{f', {look.as_text()}' if look else ''})"
