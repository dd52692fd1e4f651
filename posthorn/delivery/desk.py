"""The ticket desk: checking an event, the door list, and what a person decides about single tickets."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tabulate import tabulate

from posthorn.content.event import Attendee, AttendeeIntake, differences, load_event
from posthorn.content.media.barcode import render
from posthorn.content.recipients.rejects import spreadsheet_safe
from posthorn.delivery.find import read_phone
from posthorn.delivery.plan import refuse_changes
from posthorn.delivery.private_file import written_privately
from posthorn.delivery.run import lock_for_lookup
from posthorn.delivery.tickets import read_attendees
from posthorn.errors import InputError
from posthorn.gateways import registry
from posthorn.ledger import deliveries, reconciling, tickets
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Kind, MessageState, mask_phone
from posthorn.settings import load_settings


def preview(path: Path, row: int, image_format: str, out: Path) -> str:
    """Draw the code of the event's row (line of its file) as PNG or SVG to ``out``; returns the code.

    Raises:
        InputError: there is no such row, it is rejected, its code is not made yet, or ``out`` cannot be written.
        DeliveryChanged: the event was planned with other content.
    """
    event = load_event(path, registry.bounds_of(Kind.EVENT))
    with _ledger() as ledger:
        planned = deliveries.find(ledger, event.name)
        barcode = None
        if planned is not None:
            refuse_changes(planned, Kind.EVENT, event.definition(), differences)
            barcode = tickets.barcodes_by_line(ledger, planned).get(row)
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


def export_door_list(name: str, out: Path) -> int:
    """Write the door list of an event as CSV (mode 0600): its columns, the code, the state; returns the rows.

    Cells that a spreadsheet could take for a formula are defused; numbers are digits without a plus for the same reason.

    Raises:
        InputError: it cannot be written; an earlier list stays as it is.
    """
    with _ledger() as ledger:
        event = deliveries.get(ledger, name, kind=Kind.EVENT)
        with written_privately(out) as file:
            writer = csv.writer(file)
            columns: list[str] | None = None
            rows = 0
            for ticket in tickets.all_tickets(ledger, event):
                if columns is None:
                    columns = [column for column in ticket.fields if column not in ("phone", "barcode_id", "barcode")]
                    writer.writerow(["line", *map(spreadsheet_safe, columns), "phone", "code", "state"])
                known = [spreadsheet_safe(ticket.fields.get(column, "")) for column in columns]
                code = spreadsheet_safe(ticket.barcode)
                writer.writerow([ticket.line, *known, ticket.phone, code, ticket.state.name.lower()])
                rows += 1
    return rows


def resolve(name: str, codes: Sequence[str], *, taken: bool, by: str, why: str) -> int:
    """A person settles unknown tickets by their codes; returns how many. The decision is kept with who and why.

    Raises:
        AlreadyRunning: the event is being sent.
        InputError: a code is no unknown ticket of the event; nothing was settled.
    """
    with _exclusive(name) as (ledger, event):
        unknown = {row.line for row in reconciling.evidence_of(ledger, event)}
        by_code = {one.barcode: one for one in tickets.all_tickets(ledger, event) if one.line in unknown}
        strange = [code for code in codes if code not in by_code]
        if strange:
            raise InputError("code", f"{', '.join(strange[:5])}: no unknown ticket of {name}; see `posthorn tickets status`")
        return sum(tickets.resolve(ledger, event, code, taken=taken, by=by, why=why) for code in codes)


def resend(name: str, states: Sequence[MessageState], phone: str | None, *, by: str, why: str) -> int:
    """A person has tickets sent again with the same codes; returns how many are pending again.

    Raises:
        AlreadyRunning: the event is being sent.
        InputError: the number cannot be read.
    """
    number = None if phone is None else read_phone(phone, load_settings())
    with _exclusive(name) as (ledger, event):
        return tickets.resend(ledger, event, states, phone=number, by=by, why=why)


def unknown_tickets(name: str) -> str:
    """Every unknown ticket with its code and evidence, masked, as text."""
    with _ledger() as ledger:
        event = deliveries.get(ledger, name, kind=Kind.EVENT)
        evidence = {row.line: row for row in reconciling.evidence_of(ledger, event)}
        codes = {one.line: one.barcode for one in tickets.all_tickets(ledger, event) if one.line in evidence}
    rows = [(line, codes[line], mask_phone(row.phone), row.problem) for line, row in sorted(evidence.items())]
    return tabulate(rows, headers=("line", "code", "number", "what happened"), maxcolwidths=60, disable_numparse=True)


def _attendee(intake: AttendeeIntake, row: int) -> Attendee:
    for batch in intake:
        for attendee in batch:
            if attendee.line == row:
                return attendee
    raise InputError("--row", f"line {row} of {intake.path} is no ticket")


@contextmanager
def _ledger() -> Iterator[Ledger]:
    with open_ledger() as ledger:
        yield ledger


@contextmanager
def _exclusive(name: str) -> Iterator[tuple[Ledger, Delivery]]:
    with _ledger() as ledger:
        event = deliveries.get(ledger, name, kind=Kind.EVENT)
        lock_for_lookup(ledger, event)
        yield ledger, event
