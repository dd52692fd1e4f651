"""What is unknown of a delivery: each message with its evidence, which a person decides by. Numbers are masked."""

from __future__ import annotations

from tabulate import tabulate

from posthorn.ledger import deliveries, reconciling
from posthorn.ledger.reconciling import Evidence
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import Kind, mask_phone

_SHOWN = 50


def unknown_table(name: str) -> str:
    """Every message of unknown outcome with its evidence, as text; of an event with the code that it is settled by."""
    with open_ledger() as ledger:
        delivery = deliveries.get(ledger, name)
        evidence = reconciling.evidence_of(ledger, delivery)
    is_event = delivery.kind is Kind.EVENT
    headers: tuple[str, ...] = ("line", "code", "number", "what happened")
    if not is_event:
        headers = ("chunk", "line", "number", "what happened", "what the provider lists")
    rows = [_ticket(one) if is_event else _message(one) for one in evidence[:_SHOWN]]
    table = tabulate(rows, headers=headers, maxcolwidths=50, disable_numparse=True)
    return table + (f"\nand {len(evidence) - _SHOWN:,} more" if len(evidence) > _SHOWN else "")


def _message(one: Evidence) -> tuple[str, ...]:
    listed = one.evidence or "not looked up yet"
    return str(one.chunk_id), str(one.line), mask_phone(one.phone), one.problem or "", listed


def _ticket(one: Evidence) -> tuple[str, ...]:
    return str(one.line), one.code or "", mask_phone(one.phone), one.problem or ""
