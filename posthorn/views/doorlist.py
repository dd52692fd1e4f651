"""The door list of an event: every code that somebody may show there, whose it is, and whether it lets them in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from posthorn.content.spreadsheet import own_columns
from posthorn.ledger import tickets
from posthorn.ledger.deliveries import PlannedEvent
from posthorn.ledger.store.engine import Ledger
from posthorn.ledger.tickets import Ticket, VoidCode
from posthorn.models import MessageState, may_be_same_number
from posthorn.views.erased import refuse_incomplete

COLUMNS = ("line", "phone", "code", "valid", "state", "note")
"""Our columns; the list's own columns stand between the first two."""

_Row: TypeAlias = tuple[str | int | None, ...]


def door_list(ledger: Ledger, event: PlannedEvent) -> tuple[tuple[str, ...], Iterator[_Row]]:
    """The columns of the door list and its rows: the tickets in the order of the list, then the codes that are void.

    ``valid`` is yes or no; no means that whoever shows the code is not to be let in, and ``note`` says why. A column of the
    list that only repeats the number or the code is left out: after a change it would show the old one.
    """
    own = _own_columns(ledger, event)
    names = own_columns(own, COLUMNS)
    return ("line", *names.values(), *COLUMNS[1:]), _rows(ledger, event, own)


def _own_columns(ledger: Ledger, event: PlannedEvent) -> list[str]:
    """The columns that any attendee has, in the list's order, without those that only repeat number or code."""
    repeats: dict[str, bool] = {}
    for ticket in tickets.all_tickets(ledger, event):
        for column, value in ticket.fields.items():
            repeats[column] = repeats.get(column, True) and _repeats(value.strip(), ticket)
    return [column for column, is_repeated in repeats.items() if not is_repeated]


def _repeats(value: str, ticket: Ticket) -> bool:
    if not value or value == ticket.listed_code:
        return True
    digits = "".join(one for one in value if one.isdecimal()).lstrip("0")
    return bool(digits) and len(digits) > 6 and may_be_same_number(int(digits), ticket.listed_phone)


def _rows(ledger: Ledger, event: PlannedEvent, own: list[str]) -> Iterator[_Row]:
    owners: dict[tuple[int, int], Ticket] = {}
    void = tickets.void_codes(ledger, event)
    of_tickets = {one.place for one in void}
    count = 0
    for count, ticket in enumerate(tickets.all_tickets(ledger, event), start=1):  # noqa: B007 - used after the loop
        if ticket.place in of_tickets:
            owners[ticket.place] = ticket
        yield _row(ticket, own)
    refuse_incomplete(event, count)
    for one in void:
        yield _void_row(one, owners.get(one.place) if one.place else None, own)


def _row(ticket: Ticket, own: list[str]) -> _Row:
    is_out = ticket.is_out or ticket.state is MessageState.CANCELLED
    state = ticket.state.name.lower()
    note = "cancelled: do not let in" if is_out else None
    fields = [ticket.fields.get(column, "") for column in own]
    return (ticket.line, *fields, f"+{ticket.phone}", ticket.barcode, "no" if is_out else "yes", state, note)


def _void_row(void: VoidCode, owner: Ticket | None, own: list[str]) -> _Row:
    note = f"void: do not let in ({void.why})"
    if owner is None:  # nobody's: a proof's
        return (None, *("" for _ in own), None, void.code, "no", "void", note)
    fields = [owner.fields.get(column, "") for column in own]
    return (owner.line, *fields, f"+{owner.phone}", void.code, "no", "void", note)
