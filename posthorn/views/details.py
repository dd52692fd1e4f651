"""What is behind two counts of a card: the messages of unknown outcome, and the rejected rows. Numbers are masked."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from posthorn.ledger import deliveries, reconciling
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import Kind, mask_phone
from posthorn.views.markdown import table, written

MAX_ROWS = 200
_FIRST_REJECTS = 20
_READABLE = 4


def unknown_page(name: str) -> str:
    """The messages of unknown outcome, one line each, with what is known of each and what to do.

    Raises:
        DeliveryNotFound: there is none of that name.
    """
    with open_ledger() as ledger:
        delivery = deliveries.get(ledger, name)
        evidence = reconciling.evidence_of(ledger, delivery)
    parts = [f"# {written(name)}: {len(evidence):,} unknown"]
    if not evidence:
        return f"{parts[0]}\n\nNothing is unknown any more.\n"
    rows = [
        (f"{row.line}", mask_phone(row.phone), written(row.problem or ""), written(row.evidence or "not looked up yet"))
        for row in evidence[:MAX_ROWS]
    ]
    parts += [_CAMPAIGN if delivery.kind is Kind.CAMPAIGN else _EVENT]
    parts.append(table(("line:", "number", "what happened to its request", "what the last look showed"), rows))
    if len(evidence) > MAX_ROWS:
        parts.append(f"and {len(evidence) - MAX_ROWS:,} more")
    return "\n\n".join(parts).replace("NAME", name) + "\n"


_CAMPAIGN = """These requests left, and no clear answer came: each may have been taken, so none is sent again by itself.

- The schedule `reconcile` asks the provider every 15 minutes and settles what its answer proves. Nothing has to be done.
- Or look a number up in the provider's panel and say what is there. In the form `settle` (Deployments → settle → Run), give
  the name `NAME` and the lines below. At a terminal, run `posthorn campaign resolve NAME --phone NUMBER --sent --why "…"`,
  or with `--not-sent`: then the next run sends it.
- Or leave it: an unknown message is accounted for, and nobody gets it twice."""

_EVENT = """These tickets left, and no clear answer came: each may have been taken, so none is sent again by itself.

- A postback of the provider settles a ticket by itself.
- Else ask the attendee and say what they have. In the form `settle` (Deployments → settle → Run), give the name `NAME` and
  the lines below. At a terminal, run `posthorn tickets resolve NAME CODE --sent --why "…"`, or with `--not-sent`: then the
  next run sends it. `posthorn tickets status NAME` lists the codes."""

_REJECTED = """Nothing was sent for these rows. All of them, in full, are in `FILE` on the machine that planned it, readable
by its owner."""


def rejects_page(name: str, file: Path) -> str | None:
    """The rejected rows of a delivery: how many for which reason, and the first ones, masked; None if no file is left."""
    counted: Counter[str] = Counter()
    first: list[tuple[str, str, str]] = []
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            for row in csv.DictReader(opened):
                counted[row["reason"]] += 1
                if len(first) < _FIRST_REJECTS:
                    first.append((row["line"], written(_masked(row["value"])), written(row["reason"])))
    except (OSError, UnicodeDecodeError, KeyError):
        return None
    parts = [
        f"# {written(name)}: {counted.total():,} rows were rejected",
        _REJECTED.replace("FILE", str(file)),
        table(("reason", "rows:"), [(written(reason), f"{count:,}") for reason, count in counted.most_common()]),
        f"### The first {len(first)}",
        table(("line:", "value, masked", "reason"), first),
    ]
    return "\n\n".join(parts) + "\n"


def _masked(value: str) -> str:
    """As much of a value as finds it in the list, and too little to call it."""
    return value if len(value) <= _READABLE else f"*** {value[-3:]}"
