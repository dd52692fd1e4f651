"""Exports: every message of a campaign with where it stands; an event's door list, with every code that may be shown there.

As CSV for spreadsheets, plain CSV or JSON lines for programs. The file holds numbers in full, so only its owner may read it;
it never appears half written, and replaces an earlier one. No cell is cut.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import orjson

from posthorn.content.spreadsheet import MARK, as_cell, as_text
from posthorn.gateways.registry import code_words
from posthorn.ledger import deliveries, listing
from posthorn.ledger.deliveries import Delivery, PlannedEvent
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Kind
from posthorn.privatefile import written_privately
from posthorn.views.doorlist import door_list
from posthorn.views.erased import refuse_incomplete

Value: TypeAlias = str | int | None
COLUMNS = ("line", "phone", "state", "code", "meaning", "provider_id", "sent_at", "delivered_at")
_IDENTIFIERS = frozenset({"phone", "code", "provider_id"})
"""Columns whose cells identify something: a spreadsheet must not read them as numbers."""


@dataclass(frozen=True, slots=True)
class Table:
    """What is exported: the names of its columns, which of them are ``identifiers``, and its rows."""

    columns: tuple[str, ...]
    identifiers: frozenset[str]
    rows: Iterable[tuple[Value, ...]]


def export_csv(kind: Kind, name: str, out: Path, *, test: bool = False, plain: bool = False) -> int:
    """Write every message, or the door list, as CSV; returns the rows.

    For spreadsheets: a byte-order mark, formulas defused, codes and numbers as text. ``plain``: each value as it is.

    Raises:
        DeliveryNotFound: there is none of that name and kind.
        InputError: the file cannot be written, or the numbers were erased; an earlier file stays as it is.
    """
    with _table(kind, name, test=test) as table, written_privately(out) as file:
        if not plain:
            file.write(MARK)
        writer = csv.writer(file, lineterminator="\n")
        cells = [_plain if plain else _cell(column in table.identifiers) for column in table.columns]
        writer.writerow(table.columns if plain else map(as_cell, table.columns))
        rows = 0
        for rows, row in enumerate(table.rows, start=1):  # noqa: B007 - used after the loop
            writer.writerow([cell(value) for cell, value in zip(cells, row, strict=True)])
    return rows


def export_jsonl(kind: Kind, name: str, out: Path, *, test: bool = False) -> int:
    """Write every message, or the door list, as JSON lines; returns the rows.

    Raises:
        DeliveryNotFound, InputError: as ``export_csv``.
    """
    with _table(kind, name, test=test) as table, written_privately(out) as file:
        rows = 0
        for rows, row in enumerate(table.rows, start=1):  # noqa: B007 - used after the loop
            file.write(orjson.dumps(dict(zip(table.columns, row, strict=True))).decode() + "\n")
    return rows


def _plain(value: Value) -> str:
    return "" if value is None else str(value)


def _cell(is_identifier: bool) -> Callable[[Value], str]:
    """How a cell of such a column is written for a spreadsheet."""
    written = as_text if is_identifier else functools.lru_cache(maxsize=1_000)(as_cell)
    return lambda value: "" if value is None else str(value) if isinstance(value, int) else written(value)


@contextmanager
def _table(kind: Kind, name: str, *, test: bool) -> Iterator[Table]:
    with open_ledger() as ledger:
        delivery = deliveries.get(ledger, name, test=test, kind=kind)
        if isinstance(delivery, PlannedEvent):
            columns, rows = door_list(ledger, delivery)
            yield Table(columns, frozenset({"phone", "code"}), rows)
        else:
            yield Table(COLUMNS, _IDENTIFIERS, _messages(ledger, delivery))


def _messages(ledger: Ledger, delivery: Delivery) -> Iterator[tuple[Value, ...]]:
    words = functools.lru_cache(maxsize=1_000)(functools.partial(code_words, delivery.gateway))
    count = 0
    for count, one in enumerate(listing.messages(ledger, delivery), start=1):  # noqa: B007 - used after the loop
        meaning = words(one.error) or None if one.error else None
        sent, delivered = _moment(one.sent_at), _moment(one.delivered_at)
        yield one.line, f"+{one.phone}", one.state, one.error, meaning, one.provider_id, sent, delivered
    refuse_incomplete(delivery, count)


@functools.lru_cache(maxsize=1_000)
def _moment(seconds: float | None) -> str | None:
    """``2026-11-30T08:00:00Z``."""
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
