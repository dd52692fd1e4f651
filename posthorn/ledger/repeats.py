"""The same message under another name: which numbers have had it lately, or will, and who has a code already.

What left or may have left counts, and what is pending in a delivery that runs or waits. What is only planned or stopped
does not: the same question is asked again when it starts. What will never leave does not count either.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.content.definition import Content
from posthorn.ledger import approvals, suppression
from posthorn.ledger.deliveries import Delivery, all_records, hold_chunks, is_run
from posthorn.ledger.erasing import code_hash
from posthorn.ledger.paging import PENDING, pages
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MAY_BE_TAKEN_STATES, REPEATED, ChunkState, MessageState, Phone

_LINES_KEPT = 20
_PAGE = 5_000


class Asked(NamedTuple):
    """A row that is asked about; without a code where it has none of its own."""

    line: int
    phone: Phone
    code: str = ""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Another delivery with the same content, how many of the numbers have had it from there, and lines of some."""

    name: str
    created_at: float
    numbers: int
    lines: Sequence[int]


class Repeats:
    """Finds out which of the rows to be sent have had the same since then under another name, or wait for it."""

    def __init__(self, ledger: Ledger, name: str, content: Content, *, since: float) -> None:
        self._ledger, self._since = ledger, since
        others = _same_content(ledger, name, content)
        self._others = {other.id: other for other in others if other.closed_at is None}
        self._erased = [other.id for other in others if other.closed_at is not None]
        self._active = [other.id for other in self._others.values() if _runs_or_waits(ledger, other)]
        self._counts: Counter[int] = Counter()
        self._lines: defaultdict[int, list[int]] = defaultdict(list)
        self.codes: list[tuple[int, str]] = []

    @property
    def may_find(self) -> bool:
        """Whether there is another delivery with the same content at all."""
        return bool(self._others)

    def add(self, rows: Sequence[Asked]) -> set[Phone]:
        """Ask about a batch of rows; returns the numbers that have had it."""
        if not self._others or not rows:
            return set()
        lines: defaultdict[int, list[int]] = defaultdict(list)
        for row in rows:
            lines[row.phone].append(row.line)
        message, chunk = tables.message.c, tables.chunk.c
        may_have_left = sa.or_(
            message.state.in_([int(state) for state in MAY_BE_TAKEN_STATES]),
            sa.and_(message.state == int(MessageState.PENDING), chunk.state == int(ChunkState.SENDING)),
        )
        lately = sa.and_(may_have_left, sa.func.coalesce(chunk.claimed_at, chunk.finished_at, self._since) >= self._since)
        will = sa.and_(message.state == int(MessageState.PENDING), message.campaign_id.in_(self._active))
        query = (
            sa.select(message.campaign_id, message.phone)
            .distinct()
            .join(tables.chunk, chunk.id == message.chunk_id)
            .where(message.phone.in_(list(lines)), message.campaign_id.in_(list(self._others)), sa.or_(lately, will))
        )
        found: set[Phone] = set()
        with self._ledger.read() as connection:
            for other, phone in connection.execute(query):
                found.add(Phone(phone))
                self._counts[other] += len(lines[phone])
                self._lines[other] += lines[phone][: _LINES_KEPT - len(self._lines[other])]
        return found

    def found(self) -> list[Repeat]:
        """The others that have numbers in common, with how many."""
        counted = ((other, self._counts[other.id]) for other in self._others.values())
        return [Repeat(one.name, one.created_at, count, sorted(self._lines[one.id])) for one, count in counted if count]

    def add_codes(self, rows: Sequence[Asked]) -> None:
        """Ask who has the codes of a batch of rows in other events of the same stored MMS, erased ones included."""
        lines = {row.code: row for row in rows if row.code}
        if not lines or not (self._others or self._erased):
            return
        ticket, message, void = tables.ticket.c, tables.message.c, tables.void_code.c
        here = sa.and_(message.chunk_id == ticket.chunk_id, message.position == ticket.position)
        held = sa.select(ticket.barcode, ticket.campaign_id, message.phone).join(tables.message, here)
        held = held.where(ticket.campaign_id.in_(list(self._others)), ticket.barcode.in_(list(lines)))
        spent = sa.select(void.code, void.campaign_id, sa.literal(0)).where(
            void.campaign_id.in_(list(self._others)), void.code.in_(list(lines))
        )
        with self._ledger.read() as connection:
            for code, other, phone in [*connection.execute(held), *connection.execute(spent)]:
                if phone != lines[code].phone:
                    self.codes.append((lines[code].line, self._others[other].name))
            self.codes += self._erased_codes(connection, lines)

    def _erased_codes(self, connection: Connection, lines: Mapping[str, Asked]) -> list[tuple[int, str]]:
        if not self._erased:
            return []
        erased = tables.erased_code.c
        by_hash = {code_hash(self._ledger, code): row for code, row in lines.items()}
        query = sa.select(erased.hash).where(erased.campaign_id.in_(self._erased), erased.hash.in_(list(by_hash)))
        return [(by_hash[one].line, "an event that was erased") for one in connection.execute(query).scalars()]


def _same_content(ledger: Ledger, name: str, content: Content) -> list[Delivery]:
    """Others of that kind with the same content, except tests."""
    others = (other for other in all_records(ledger, content.kind) if other.name != name and not other.test)
    return [other for other in others if other.content.repeats == content.repeats]


def _runs_or_waits(ledger: Ledger, other: Delivery) -> bool:
    """Whether what is pending of it goes out by itself. A run that has only begun has not asked yet, and will see us."""
    if other.cancelled_at is not None:
        return False
    if is_run(ledger, other.lock_key):
        return other.cleared_at is not None and other.cleared_at >= (other.run_started_at or 0.0)
    return other.goes_on_at is not None or isinstance(approvals.newest(ledger, other), float)


def pending_pages(ledger: Ledger, delivery: Delivery) -> Iterator[Sequence[Any]]:
    """What is pending of a delivery, page by page: chunk, position, line and number of each."""
    return pages(ledger, PENDING, {"campaign": delivery.id}, _PAGE)


def leave_out(ledger: Ledger, page: Sequence[Any], phones: set[Phone]) -> None:
    """Suppress those of a page of pending messages whose numbers have had the same."""
    by_chunk: defaultdict[int, list[Any]] = defaultdict(list)
    for row in page:
        if row.phone in phones:
            by_chunk[row.chunk_id].append(row)
    with ledger.write() as connection:
        for chunk in sorted(by_chunk):
            if hold_chunks(connection, f"id = :chunk AND state = {ChunkState.PENDING}", chunk=chunk):
                some = by_chunk[chunk]
                of_chunk = [row.position for row in some], [Phone(row.phone) for row in some]
                suppression.suppress(connection, chunk, *of_chunk, dict.fromkeys(phones, REPEATED))


def note_cleared(ledger: Ledger, delivery: Delivery, at: float) -> None:
    """Note when a run was let go on: from here on its pending messages count for others."""
    with ledger.write() as connection:
        row = tables.campaign
        connection.execute(row.update().where(row.c.id == delivery.id).values(cleared_at=at))
