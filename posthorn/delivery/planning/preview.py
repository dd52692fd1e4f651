"""Drawing one attendee's code. Only a likeness: the provider draws the real one from its own template."""

from __future__ import annotations

from pathlib import Path

from posthorn.content.media.barcode import render
from posthorn.delivery.planning.load import load_wish
from posthorn.delivery.planning.wish import ListReading
from posthorn.errors import InputError
from posthorn.ledger import deliveries
from posthorn.ledger.planning import Row
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import Kind
from posthorn.settings import load_settings


def preview(path: Path, row: int, image_format: str, out: Path) -> str:
    """Draw the code of the event's row (line of its file) as PNG or SVG to ``out``; returns the code.

    Raises:
        InputError: there is no such row, it is rejected, its code is not made yet, or ``out`` cannot be written.
    """
    wish = load_wish(path, Kind.EVENT, load_settings())
    reading = wish.read(None)
    attendee = _attendee(reading, row)
    with open_ledger() as ledger:
        planned = deliveries.find(ledger, wish.name)
        code = None if planned is None else wish.known(ledger, planned, reading).code_of(attendee)
    if code is None and attendee.is_generated:
        raise InputError("--row", f"line {row} has no code yet: it gets one when the event is first sent")
    barcode = attendee.barcode if code is None else code
    try:
        out.write_bytes(render(barcode, format="svg" if image_format == "svg" else "png"))
    except OSError as error:
        raise InputError("--out", f"{out} cannot be written ({error.strerror or error})") from None
    return barcode


def _attendee(reading: ListReading, row: int) -> Row:
    for batch in reading:
        for one in batch:
            if isinstance(one, Row) and one.line == row:
                return one
    raise InputError("--row", f"line {row} of {reading.intake.path} is not a ticket")
