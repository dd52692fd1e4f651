"""`posthorn list`: every campaign and event of the ledger, and the status of each."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from posthorn.cli.options import Json
from posthorn.cli.output import print_json


def list_deliveries(
    kind: Annotated[Literal["campaign", "event"] | None, typer.Option("--kind", help="Only these.")] = None,
    state: Annotated[
        Literal["running", "waiting", "finished", "needs_attention", "stopped", "cancelled"] | None,
        typer.Option("--state", help="Only those in this state."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Every campaign and event of the ledger, the newest first: state, last run, counts, delivered share, cost.

    The delivered share is of the messages that the provider took. So is the cost, at the price in the settings
    (POSTHORN_…__PRICE_PER_MESSAGE of its gateway). Exit code 0, whatever their states.

    \b
        posthorn list
        posthorn list --state needs_attention
        posthorn list --kind event --json
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.cli.colours import paint
    from posthorn.views.deliveries import as_table, listed

    entries = listed(kind, state)
    if as_json:
        print_json(entries)
    elif entries:
        print(as_table(entries, paint))
    else:
        print(
            "no campaign or event yet" if kind is None and state is None else "no delivery is in that state, or of that kind"
        )
