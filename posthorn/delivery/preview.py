"""Drawing one attendee's code: a likeness, for the provider draws the real one from its own template."""

from __future__ import annotations

from pathlib import Path

from posthorn.content.event import Attendee, AttendeeIntake, TicketEvent, differences, load_event
from posthorn.content.media.barcode import render
from posthorn.delivery.plan import refuse_changes
from posthorn.delivery.tickets import read_attendees
from posthorn.errors import InputError
from posthorn.gateways import registry
from posthorn.ledger import deliveries, tickets
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import Kind
from posthorn.settings import load_settings


def preview(path: Path, row: int, image_format: str, out: Path) -> str:
    """Draw the code of the event's row (line of its file) as PNG or SVG to ``out``; returns the code.

    Raises:
        InputError: there is no such row, it is rejected, its code is not made yet, or ``out`` cannot be written.
        DeliveryChanged: the event was planned with other content.
    """
    event = load_event(path, registry.bounds_of(Kind.EVENT))
    barcode = _planned_code(event, row)
    if barcode is None:
        intake = read_attendees(event, load_settings(), None)
        attendee = _attendee(intake, row)
        barcode = attendee.barcode
        if intake.makes_code_of(attendee):
            raise InputError("--row", f"line {row} has no code yet: it gets one when the event is first sent")
    try:
        out.write_bytes(render(barcode, format="svg" if image_format == "svg" else "png"))
    except OSError as error:
        raise InputError("--out", f"{out} cannot be written ({error.strerror or error})") from None
    return barcode


def _planned_code(event: TicketEvent, row: int) -> str | None:
    """The code that the row was planned with, or None."""
    with open_ledger() as ledger:
        planned = deliveries.find(ledger, event.name)
        if planned is None:
            return None
        refuse_changes(planned, Kind.EVENT, event.definition(), differences)
        return tickets.barcodes_by_line(ledger, planned).get(row)


def _attendee(intake: AttendeeIntake, row: int) -> Attendee:
    for batch in intake:
        for attendee in batch:
            if attendee.line == row:
                return attendee
    raise InputError("--row", f"line {row} of {intake.path} is no ticket")
