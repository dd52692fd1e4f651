"""The unknown messages of a delivery, each with the evidence for a person's decision. Numbers are masked."""

from __future__ import annotations

from posthorn.content.plain import plain
from posthorn.ledger import deliveries, reconciling
from posthorn.ledger.reconciling import UnknownMessage
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import Kind, mask_phone
from posthorn.views.tables import table

_SHOWN = 50


def unknown_table(name: str) -> str:
    """Every message of unknown outcome, on a line with its evidence; a ticket also with the code that settles it."""
    with open_ledger() as ledger:
        delivery = deliveries.get(ledger, name)
        evidence = reconciling.evidence_of(ledger, delivery)
    is_event = delivery.kind is Kind.EVENT
    headers: tuple[str, ...] = ("line", "code", "number", "what happened")
    if not is_event:
        headers = ("line", "number", "what happened", "what the provider lists")
    rows = [_ticket(one) if is_event else _message(one) for one in evidence[:_SHOWN]]
    more = len(evidence) - len(rows)
    return table(headers, rows, right=("line",)) + (f"\nand {more:,} more" if more else "")


def _message(one: UnknownMessage) -> tuple[str, ...]:
    listed = plain(one.evidence or "not looked up yet")
    return str(one.line), mask_phone(one.phone), plain(one.problem or ""), listed


def _ticket(one: UnknownMessage) -> tuple[str, ...]:
    return str(one.line), one.code or "", mask_phone(one.phone), plain(one.problem or "")
