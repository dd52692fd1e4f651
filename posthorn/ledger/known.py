"""Which rows of a list are planned already: the rows that the ledger knows, compared with those of the file.

A campaign's row is identified by its number. An event's row is identified by its code; without one, by its key column, or by
its number and other columns. ``KnownNumbers`` and ``KnownTickets`` differ only in that, and answer alike.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
import sqlalchemy as sa

from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.merging import NewFields, NewNumber, Position
from posthorn.ledger.planning import Row
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, rows, sql
from posthorn.models import ChunkState, MessageState, Phone

_CHUNKS_PER_PAGE = 1_000
_PHONES_PER_QUERY = 500
_NEEDS_NO_WORD = (MessageState.REJECTED, MessageState.SUPPRESSED, MessageState.CANCELLED)
"""States in which a row may leave its list without anybody's word: nothing went to it, and nothing will."""
_MAY_BE_RESENT = (MessageState.REJECTED, MessageState.SUPPRESSED)
"""Those of them from which a person may have it sent again, so it is remembered that it left its list."""
_CORRIGIBLE = (MessageState.PENDING, MessageState.REJECTED, MessageState.SUPPRESSED)
"""States in which a new number simply replaces the old one: nothing has left. What was refused is pending again."""


_RowKey = tuple[int, tuple[str, ...]]
"""A number and the values of a row's other columns."""


@dataclass(frozen=True, slots=True)
class KnownRow:
    """A planned row: its line in the file when it was planned, and what became of it. ``code`` is a ticket's."""

    place: Position
    line: int
    phone: Phone
    state: MessageState
    code: str = ""


@dataclass(slots=True)
class Differences:
    """How a list differs from what is planned, complete once all its batches were given.

    ``known`` rows are planned; ``still_out`` of them were taken out and stay so. ``numbers`` and ``fields`` are changes
    of rows that have not left; ``left`` are changed numbers of rows that have. ``ambiguous`` are pairs of lines that may
    be one row: (line in the file, line it may be, whether that other one is in the file, too). ``absent`` rows left the
    list without anybody's word; ``back`` rows had left and are in it again.
    """

    new: int = 0
    known: int = 0
    still_out: int = 0
    numbers: list[NewNumber] = field(default_factory=list)
    fields: list[NewFields] = field(default_factory=list)
    left: list[tuple[int, KnownRow]] = field(default_factory=list)
    ambiguous: list[tuple[int, int, bool]] = field(default_factory=list)
    missing: list[KnownRow] = field(default_factory=list)
    absent: list[Position] = field(default_factory=list)
    back: list[Position] = field(default_factory=list)


class KnownRows(Protocol):
    """What is planned of a delivery, as its list is read through."""

    differences: Differences

    def new_of(self, batch: Sequence[Any]) -> Sequence[Any]:
        """The rows of a batch that are not planned yet."""

    def code_of(self, row: Row) -> str | None:
        """The code that a row has in the ledger; None if it is not planned."""

    def finish(self) -> None:
        """To be called after the last batch: finds what is missing."""


class KnownNumbers:
    """A campaign's rows. Each of its numbers stands once in the batches."""

    def __init__(self, ledger: Ledger, delivery: Delivery | None) -> None:
        self.differences = Differences()
        self._ledger, self._campaign = ledger, delivery
        self._in_order = array("Q", _numbers(ledger, delivery) if delivery else ())
        self._at = 0
        self._unseen: set[int] | None = None
        self._out = _noted(ledger, delivery, tables.taken_out) if delivery else {}
        self._absent = _noted(ledger, delivery, tables.absent) if delivery else {}

    def new_of(self, batch: Sequence[tuple[int, Phone]]) -> Sequence[tuple[int, Phone]]:
        """The rows of a batch whose numbers are not planned yet."""
        phones = [phone for _, phone in batch]
        here = self._known_of(phones)
        self.differences.known += len(here)
        self.differences.still_out += len(here & self._out.keys())
        self.differences.back += [self._absent[phone] for phone in here & self._absent.keys()]
        new = [row for row in batch if row[1] not in here] if here else batch
        self.differences.new += len(new)
        return new

    def _known_of(self, phones: Sequence[Phone]) -> set[int]:
        """Those of the numbers that are planned; each is asked for once.

        A list that only grew begins as it was planned, so it is compared row by row as long as that holds: a set of all
        numbers would take ten times the memory.
        """
        if self._unseen is None:
            ahead = self._in_order[self._at : self._at + len(phones)]
            if array("Q", phones) == ahead:
                self._at += len(phones)
                return set(phones)
            self._unseen, self._in_order = set(self._in_order[self._at :]), array("Q")
        here = self._unseen.intersection(phones)
        self._unseen -= here
        return here

    def code_of(self, row: Row) -> str | None:  # noqa: ARG002 - as an event's
        """It has none."""
        return None

    def finish(self) -> None:
        """Find the planned numbers that no batch had, and that need a word."""
        if self._campaign is not None:
            unseen = self._in_order[self._at :] if self._unseen is None else self._unseen
            for row in _rows_of(self._ledger, self._campaign, sorted(unseen)):
                if row.state not in _NEEDS_NO_WORD:
                    self.differences.missing.append(row)
                elif row.state in _MAY_BE_RESENT:
                    self.differences.absent.append(row.place)


def _numbers(ledger: Ledger, delivery: Delivery) -> Iterator[int]:
    """Every planned number; in JSON if the driver is slow with each row."""
    of_chunks = (
        "FROM message WHERE chunk_id IN (SELECT id FROM chunk WHERE campaign_id = :campaign AND id > :after AND id <= :last)"
    )
    last = (
        "SELECT max(id) FROM (SELECT id FROM chunk WHERE campaign_id = :campaign AND id > :after ORDER BY id LIMIT :size) k"
    )
    gather = "json_group_array(phone)" if ledger.is_sqlite else "array_agg(phone)"
    values: dict[str, object] = {"campaign": delivery.id, "after": 0, "size": _CHUNKS_PER_PAGE}
    while True:
        with ledger.read() as connection:
            ((newest,),) = rows(connection, last, values)
            if newest is None:
                return
            ((found,),) = rows(connection, f"SELECT {gather} {of_chunks}", {**values, "last": newest})
        yield from orjson.loads(found) if ledger.is_sqlite else found or ()
        values["after"] = newest


def _noted(ledger: Ledger, delivery: Delivery, noted: sa.Table) -> dict[int, Position]:
    """The numbers of a campaign's rows that are in that table of places."""
    message = tables.message.c
    here = sa.and_(noted.c.chunk_id == message.chunk_id, noted.c.position == message.position)
    query = sa.select(message.phone, message.chunk_id, message.position).join(noted, here)
    with ledger.read() as connection:
        found = connection.execute(query.where(noted.c.campaign_id == delivery.id))
        return {row.phone: Position(row.chunk_id, row.position) for row in found}


_OF_PHONES = sql(
    "SELECT m.chunk_id, m.position, m.line, m.phone, m.state FROM message m JOIN chunk k ON k.id = m.chunk_id"
    " WHERE m.phone IN :phones AND m.campaign_id = :campaign AND NOT EXISTS"
    " (SELECT 1 FROM taken_out t WHERE t.chunk_id = m.chunk_id AND t.position = m.position)"
).bindparams(sa.bindparam("phones", expanding=True))


def _rows_of(ledger: Ledger, delivery: Delivery, phones: Sequence[int]) -> list[KnownRow]:
    """The planned rows of these numbers without those that were taken out, in the order of their lines."""
    found = []
    with ledger.read() as connection:
        for at in range(0, len(phones), _PHONES_PER_QUERY):
            values = {"phones": phones[at : at + _PHONES_PER_QUERY], "campaign": delivery.id}
            found += [
                KnownRow(Position(row.chunk_id, row.position), row.line, Phone(row.phone), MessageState(row.state))
                for row in connection.execute(_OF_PHONES, values)
            ]
    return sorted(found, key=lambda row: row.line)


@dataclass(slots=True)
class _Ticket:
    """A planned ticket, and what the file said of its row."""

    row: KnownRow
    listed_phone: Phone
    listed_code: str
    fields: Mapping[str, str]
    is_sending: bool
    is_out: bool
    is_absent: bool
    is_seen: bool = False


_TICKETS = sql(
    "SELECT m.chunk_id, m.position, m.line, m.phone, m.copy, m.state, t.barcode, t.fields, t.listed_code, t.listed_phone,"
    " k.state AS chunk_state, o.chunk_id IS NOT NULL AS is_out, a.chunk_id IS NOT NULL AS is_absent"
    " FROM chunk k JOIN message m ON m.chunk_id = k.id"
    " JOIN ticket t ON t.chunk_id = m.chunk_id AND t.position = m.position"
    " LEFT JOIN taken_out o ON o.chunk_id = m.chunk_id AND o.position = m.position"
    " LEFT JOIN absent a ON a.chunk_id = m.chunk_id AND a.position = m.position"
    " WHERE k.campaign_id = :event ORDER BY m.chunk_id, m.position"
).columns(fields=sa.JSON())


class KnownTickets:
    """An event's rows. ``key`` names the column that identifies rows without codes, ``own`` those of number and code."""

    def __init__(self, ledger: Ledger, event: Delivery | None, *, key: str | None, own: Sequence[str]) -> None:
        self.differences = Differences()
        self._key, self._own = key, frozenset(own)
        self._by_code: dict[str, _Ticket] = {}
        self._by_key: dict[str, _Ticket] = {}
        self._by_row: dict[tuple[str, ...], dict[_RowKey, list[_Ticket]]] = {}
        self._projected: list[tuple[tuple[str, ...], Mapping[_RowKey, list[_Ticket]]]] | None = None
        self._all: list[_Ticket] = []
        self._copies: dict[int, int] = {}
        self._lines_by_key: dict[str, int] = {}
        self._new_without_code: defaultdict[int, list[int]] = defaultdict(list)
        if event is not None:
            self._load(ledger, event)

    def _load(self, ledger: Ledger, event: Delivery) -> None:
        void = tables.void_code.c
        with ledger.read() as connection:
            by_place = {}
            for row in connection.execute(_TICKETS, {"event": event.id}):
                ticket = _ticket(row)
                by_place[ticket.row.place] = ticket
                self._all.append(ticket)
                self._copies[row.phone] = max(self._copies.get(row.phone, 0), row.copy + 1)
                self._by_code[row.barcode] = ticket
                if ticket.listed_code:
                    self._by_code.setdefault(ticket.listed_code, ticket)
                else:
                    self._index(ticket)
            old = sa.select(void.code, void.chunk_id, void.position).where(void.campaign_id == event.id)
            for row in connection.execute(old.where(void.chunk_id.is_not(None))):
                if (its := by_place.get(Position(row.chunk_id, row.position))) is not None:
                    self._by_code.setdefault(row.code, its)

    def _index(self, ticket: _Ticket) -> None:
        """Index a ticket whose row has no code by its key, or by its number and other columns."""
        if self._key is not None and (value := ticket.fields.get(self._key, "").strip()):
            self._by_key[value] = ticket
        columns = tuple(sorted(set(ticket.fields) - self._own))
        rows_of = self._by_row.setdefault(columns, {})
        rows_of.setdefault((ticket.listed_phone, _values(ticket.fields, columns)), []).append(ticket)

    def new_of(self, batch: Sequence[Row]) -> Sequence[Row]:
        """The rows of a batch that are not planned yet, each with the next free copy of its number."""
        new = []
        for row in batch:
            ticket = self._find(row)
            if ticket is None:
                new.append(self._as_new(row))
            else:
                self._compare(row, ticket)
        return new

    def code_of(self, row: Row) -> str | None:
        """The code that a row has in the ledger; None if it is not planned."""
        ticket = self._find(row)
        return None if ticket is None else ticket.row.code

    def _find(self, row: Row) -> _Ticket | None:
        fields = row.fields or {}
        if not row.is_generated:
            return self._by_code.get(row.barcode)
        if self._key is not None and (value := fields.get(self._key, "").strip()):
            first = self._lines_by_key.setdefault(value, row.line)
            if first != row.line:
                self.differences.ambiguous.append((row.line, first, True))
                return None
            if value in self._by_key:
                return self._by_key[value]
        for columns, tickets in self._rows_by(fields):
            for ticket in tickets.get((row.phone, _values(fields, columns)), ()):
                if not ticket.is_seen and not self._has_other_key(ticket, fields):
                    return ticket
        return None

    def _rows_by(self, fields: Mapping[str, str]) -> list[tuple[tuple[str, ...], Mapping[_RowKey, list[_Ticket]]]]:
        """The tickets without codes by those of their columns that the file still has; all of its rows have the same."""
        if self._projected is None:
            kept = [(columns, tuple(one for one in columns if one in fields)) for columns in self._by_row]
            self._projected = [(here, _projected(self._by_row[columns], columns, here)) for columns, here in kept]
        return self._projected

    def _has_other_key(self, ticket: _Ticket, fields: Mapping[str, str]) -> bool:
        own = ticket.fields.get(self._key, "").strip() if self._key else ""
        return bool(own) and own != fields.get(self._key or "", "").strip()

    def _as_new(self, row: Row) -> Row:
        copy = self._copies.get(row.phone, 0)
        self._copies[row.phone] = copy + 1
        self.differences.new += 1
        if row.is_generated and not (self._key and (row.fields or {}).get(self._key, "").strip()):
            self._new_without_code[row.phone].append(row.line)
        return Row(row.line, row.phone, copy, row.barcode, row.fields, row.is_generated)

    def _compare(self, row: Row, ticket: _Ticket) -> None:
        known = ticket.row
        if ticket.is_seen:
            self.differences.ambiguous.append((row.line, known.line, False))
            return
        ticket.is_seen = True
        self.differences.known += 1
        self.differences.still_out += ticket.is_out
        self.differences.back += [known.place] if ticket.is_absent else []
        if row.phone not in (known.phone, ticket.listed_phone):
            self._renumber(row, ticket)
        if dict(row.fields or {}) != ticket.fields:
            self.differences.fields.append(NewFields(known.place, row.fields or {}))

    def _renumber(self, row: Row, ticket: _Ticket) -> None:
        known = ticket.row
        has_left = known.state not in (*_CORRIGIBLE, MessageState.CANCELLED)
        if ticket.is_out and has_left:
            return  # it stays with the number that it went to
        if ticket.is_sending or has_left:
            self.differences.left.append((row.line, known))
            return
        copy = self._copies.get(row.phone, 0)
        self._copies[row.phone] = copy + 1
        self.differences.numbers.append(NewNumber(known.place, row.phone, copy, known.state))

    def finish(self) -> None:
        """Find the tickets that no row had and that need a word, and new rows without a code that may be theirs."""
        for ticket in self._all:
            known = ticket.row
            if ticket.is_seen or ticket.is_out:
                continue
            if known.state in _NEEDS_NO_WORD and not ticket.is_sending:
                self.differences.absent += [known.place] if known.state in _MAY_BE_RESENT else []
                continue
            self.differences.missing.append(known)
            if not ticket.listed_code:
                lines = self._new_without_code.get(ticket.listed_phone, ())
                self.differences.ambiguous += [(line, known.line, False) for line in lines]


def _ticket(row: Any) -> _Ticket:
    place, state = Position(row.chunk_id, row.position), MessageState(row.state)
    listed = row.barcode if row.listed_code is None else row.listed_code
    is_sending = row.chunk_state == ChunkState.SENDING
    known = KnownRow(place, row.line, Phone(row.phone), state, row.barcode)
    return _Ticket(
        known, Phone(row.listed_phone or row.phone), listed, row.fields, is_sending, bool(row.is_out), bool(row.is_absent)
    )


def _values(fields: Mapping[str, str], columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(fields.get(column, "").strip() for column in columns)


def _projected(
    tickets: Mapping[_RowKey, list[_Ticket]], columns: tuple[str, ...], here: tuple[str, ...]
) -> Mapping[_RowKey, list[_Ticket]]:
    """The tickets by number and those of their columns that the file still has."""
    if here == columns:
        return tickets
    found: dict[_RowKey, list[_Ticket]] = {}
    kept = [at for at, column in enumerate(columns) if column in here]
    for (phone, values), some in tickets.items():
        found.setdefault((phone, tuple(values[at] for at in kept)), []).extend(some)
    return found
