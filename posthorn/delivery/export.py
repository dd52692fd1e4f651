"""Exporting a campaign: every message with its number and where it stands, as CSV for spreadsheets or as JSON lines.

The file holds numbers in full, so only its owner may read it; it never appears half written, and replaces an earlier one.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import orjson

from posthorn.content.recipients.rejects import spreadsheet_safe
from posthorn.delivery.private_file import written_privately
from posthorn.errors import InputError
from posthorn.gateways.registry import code_words
from posthorn.ledger import deliveries, listing, tickets
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.listing import Listed
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import Kind

COLUMNS = ("line", "phone", "state", "code", "meaning", "provider_id", "barcode", "sent_at", "delivered_at")

_Words = Callable[[str], str]


def export_csv(name: str, out: Path, *, test: bool = False) -> int:
    """Write every message of a campaign or event as CSV; returns how many.

    Cells that a spreadsheet could take for a formula are defused; numbers are digits without a plus for the same reason.

    Raises:
        DeliveryNotFound: there is none of that name.
        InputError: the file cannot be written, or the numbers were erased; an earlier file stays as it is.
    """
    safe = functools.lru_cache(maxsize=1_000)(spreadsheet_safe)
    with _opened(name, test=test) as (messages, words), written_privately(out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        rows = 0
        for one in messages:
            code, provider_id = safe(one.error or ""), spreadsheet_safe(one.provider_id or "")
            barcode = spreadsheet_safe(one.barcode or "")
            meaning, sent, delivered = safe(words(one.error or "")), _moment(one.sent_at), _moment(one.delivered_at)
            writer.writerow((one.line, one.phone, one.state, code, meaning, provider_id, barcode, sent, delivered))
            rows += 1
    return rows


def export_jsonl(name: str, out: Path, *, test: bool = False) -> int:
    """Write every message of a campaign or event as JSON lines, numbers as E.164; returns how many.

    Raises:
        DeliveryNotFound, InputError: as ``export_csv``.
    """
    with _opened(name, test=test) as (messages, words), written_privately(out) as file:
        rows = 0
        for one in messages:
            meaning = words(one.error) or None if one.error else None
            sent, delivered = _moment(one.sent_at) or None, _moment(one.delivered_at) or None
            values = (
                one.line,
                f"+{one.phone}",
                one.state,
                one.error,
                meaning,
                one.provider_id,
                one.barcode,
                sent,
                delivered,
            )
            file.write(orjson.dumps(dict(zip(COLUMNS, values, strict=True))).decode() + "\n")
            rows += 1
    return rows


def export_door_list(name: str, out: Path) -> int:
    """Write the door list of an event as CSV (mode 0600): its columns, the code, the state; returns the rows.

    Cells that a spreadsheet could take for a formula are defused; numbers are digits without a plus for the same reason.

    Raises:
        InputError: it cannot be written; an earlier list stays as it is.
    """
    with open_ledger() as ledger:
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


@contextmanager
def _opened(name: str, *, test: bool) -> Iterator[tuple[Iterator[Listed], _Words]]:
    with open_ledger() as ledger:
        campaign = deliveries.get(ledger, name, test=test)
        words = functools.partial(code_words, campaign.gateway)
        yield _not_erased(campaign, listing.messages(ledger, campaign)), functools.lru_cache(maxsize=1_000)(words)


def _not_erased(campaign: Delivery, messages: Iterator[Listed]) -> Iterator[Listed]:
    """The messages; there is one for every row that was not rejected, unless the numbers were erased, or are being."""
    count = 0
    for count, one in enumerate(messages, start=1):  # noqa: B007 - used after the loop
        yield one
    if count != campaign.input - campaign.invalid - campaign.duplicate:
        raise InputError("export", f"the numbers of {campaign.name} were erased; its status still has the counts")


@functools.lru_cache(maxsize=1_000)
def _moment(seconds: float | None) -> str:
    """``2026-11-30T08:00:00Z``; empty for None."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
