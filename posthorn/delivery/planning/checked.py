"""What a check finds of a campaign or an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from posthorn.content.media.looks import Look
from posthorn.content.plain import plain
from posthorn.content.recipients.rejects import Reject
from posthorn.content.warnings import Caution
from posthorn.content.waves import Waves
from posthorn.delivery.limits.hours import ShownHours
from posthorn.models import Kind, Media

_SHOWN_REASONS = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read in a list: which column, how many rows of which kind, and what is odd.

    ``rows`` is ``valid + invalid + duplicate``. Not in it are the ``left_out`` rows that ``only_where`` leaves out.
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

    def reasons_line(self) -> str:
        """``3 too short, 2 a landline``: the most frequent reasons first."""
        ordered = sorted(self.reasons.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{count:,} {plain(reason)}" for reason, count in ordered[:_SHOWN_REASONS])
        more = sum(count for _, count in ordered[_SHOWN_REASONS:])
        return shown + (f", {more:,} others" if more else "")


@dataclass(frozen=True, slots=True)
class Merged:
    """What a list does to what is planned: rows that are new, known (``still_out`` of them were taken out, and stay so).

    ``taken_out`` rows are missing from it, and a person has accepted that. ``numbers`` and ``columns`` count known rows
    whose number or columns have changed. ``content`` says what else changes. ``still_scheduled`` messages keep the old
    moment of dispatch.
    """

    new: int = 0
    known: int = 0
    taken_out: int = 0
    still_out: int = 0
    numbers: int = 0
    columns: int = 0
    content: Sequence[str] = ()
    still_scheduled: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    """A campaign or event that can be sent, and how. ``already`` is how many messages an earlier run has dealt with.

    ``merged`` is what the list does to what is planned; None if nothing is planned, or if the list is as it was.
    ``hold`` is for how many minutes the provider keeps the messages, whether that is proven for this account, and in words.
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

    @property
    def cost(self) -> Decimal | None:
        """What all of it costs; None if there is no price. At the usual price if it is planned already."""
        if self.price is None or self.reading.cost is not None:
            return self.reading.cost
        return self.price * self.reading.to_send
