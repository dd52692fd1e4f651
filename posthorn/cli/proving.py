"""A proof to yourself: one place for campaigns and events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import typer

from posthorn.cli.output import confirm, print_json
from posthorn.content.amounts import many, money
from posthorn.models import Kind, ProofOutcome, mask_phone
from posthorn.process.terminal import say

_WORDS = {
    ProofOutcome.TAKEN: "taken",
    ProofOutcome.REFUSED: "refused",
    ProofOutcome.NOT_TAKEN: "not taken",
    ProofOutcome.UNKNOWN: "unknown: it may be on its way. It is never sent again automatically",
}


def prove(kind: Kind, file: Path, numbers: Sequence[str], *, by: str, yes: bool, as_json: bool) -> None:
    """Ask, send the proofs, and report each outcome; ends with 3 if one was refused or is unknown, 4 if one was not sent."""
    from posthorn.delivery.sending.proof import ask_for, send_proofs
    from posthorn.errors import Waits
    from posthorn.settings import load_settings

    wanted = ask_for(file, kind, numbers, load_settings())
    cost = "" if wanted.cost is None else f"; it costs {money(wanted.cost)}"
    named = ", ".join(mask_phone(phone) for phone in wanted.phones)
    say(f"{wanted.wish.name}: {many(len(wanted.phones), 'proof')}, the real MMS, now, to {named}{cost}")
    confirm("Send this?", yes=yes, otherwise="nothing was sent: add --yes to confirm")
    try:
        done = asyncio.run(send_proofs(wanted, by=by))
    except Waits as error:
        say(f"{error}. No proof was sent; run the command again then")
        raise typer.Exit(3) from None
    if as_json:
        sent = [{"to": one.to, "outcome": one.outcome.value, "code": one.code, "problem": one.problem} for one in done.sent]
        cost_of_all = None if wanted.cost is None else str(wanted.cost)
        print_json({"name": wanted.wish.name, "proofs": sent, "because": done.stopped, "cost": cost_of_all, "by": by})
    else:
        for one in done.sent:
            code = f" (code {one.code}, void at the door)" if one.code else ""
            why = f": {one.problem}" if one.problem else ""
            say(f"proof to {one.to}{code}: {_WORDS[one.outcome]}{why}")
        if done.stopped:
            left = len(wanted.phones) - len(done.sent)
            say(f"{many(left, 'proof')} not sent: {done.stopped}")
    outcomes = {one.outcome for one in done.sent}
    if done.stopped or ProofOutcome.NOT_TAKEN in outcomes:
        raise typer.Exit(4)
    if outcomes != {ProofOutcome.TAKEN}:
        raise typer.Exit(3)
