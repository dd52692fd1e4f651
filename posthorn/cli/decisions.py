"""A person's decisions about a delivery, and its exports: one place for campaigns and events."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from posthorn.cli.output import confirm, print_json, to_files
from posthorn.content.amounts import many
from posthorn.models import Kind
from posthorn.process.terminal import say

if TYPE_CHECKING:
    from posthorn.delivery.planning.merge import Consent


@contextmanager
def not_beside_a_run(undone: str) -> Iterator[None]:
    """If another process is at work on the delivery, say that nothing was ``undone``, and end with exit code 3."""
    from posthorn.errors import AlreadyRunning

    try:
        yield
    except AlreadyRunning as error:
        say(f"{error}; nothing was {undone}. Wait until that is over, and run the command again")
        raise typer.Exit(3) from None


def resolve(
    kind: Kind, name: str, *, numbers: Sequence[str], codes: Sequence[str], taken: bool, by: str, why: str, as_json: bool
) -> None:
    """Settle unknown messages by a person's word, and say what that did."""
    from posthorn.delivery.deciding.resolve import resolve as settle

    with not_beside_a_run("settled"):
        done = settle(kind, name, numbers=numbers, codes=codes, taken=taken, by=by, why=why)
    word = done.state.name.lower()
    if as_json:
        told = {"name": name, "resolved": done.resolved, "state": word, "unknown": done.unknown, "next": done.next}
        print_json({**told, "by": by, "why": why})
    else:
        say(f"{done.resolved:,} settled as {word} by {by}; {done.unknown:,} still unknown\nnext: {done.next}")


def resend(
    kind: Kind,
    name: str,
    *,
    numbers: Sequence[str],
    codes: Sequence[str],
    failed: bool,
    everything: bool,
    although_taken: bool,
    by: str,
    why: str,
    as_json: bool,
) -> None:
    """Let messages be sent a second time by a person's decision, and say what that did."""
    from posthorn.delivery.deciding.resend import resend_all, resend_failed, resend_named

    with not_beside_a_run("changed"):
        if failed:
            done = resend_failed(kind, name, by=by, why=why)
        elif everything:
            done = resend_all(kind, name, by=by, why=why)
        else:
            done = resend_named(kind, name, numbers=numbers, codes=codes, although_taken=although_taken, by=by, why=why)
    if as_json:
        print_json({"name": name, "resent": done.resent, "next": done.next, "by": by, "why": why})
    else:
        say(f"{done.resent:,} to be sent again, decided by {by}\nnext: {done.next}")


def take_out(kind: Kind, name: str, *, codes: Sequence[str], by: str, why: str) -> None:
    """Take single recipients out for good, and say whether their messages had left."""
    from posthorn.delivery.deciding.amend import take_out as take

    done = take(kind, name, codes=codes, by=by, why=why)
    left = f"; {done.left:,} left before, or may have: they are marked on the door list" if done.left else ""
    say(f"{many(done.never, kind.item)} cancelled by {by} before it was sent{left}")


def readdress(name: str, code: str, number: str, *, by: str, why: str, as_json: bool) -> None:
    """Send a ticket to another number, and say what to do next."""
    from posthorn.delivery.deciding.amend import readdress as change

    with not_beside_a_run("changed"):
        masked = change(name, code, number, by=by, why=why)
    following = f"run `{Kind.EVENT.command} send` with the same file again: it sends it"
    if as_json:
        print_json({"name": name, "resent": 1, "next": following, "by": by, "why": why})
    else:
        say(f"{code} goes to {masked}, decided by {by}\nnext: {following}")


def approve(kind: Kind, name: str, *, by: str, note: str, refuse: bool, yes: bool) -> None:
    """Show what waits for an approval, ask, and record the answer; flow runs that wait for it go on."""
    from posthorn.cli import runs
    from posthorn.content.plain import plain_lines
    from posthorn.delivery.deciding.approval import decide
    from posthorn.settings import load_settings
    from posthorn.views.question import question_now

    question = question_now(kind, name)
    print(plain_lines(question.as_text()), flush=True)
    confirm("Refuse it?" if refuse else "Send this?", yes=yes, otherwise="check the table, and add --yes to confirm")
    waiting = decide(name, approved=not refuse, by=by, note=note, content=question.content)
    woken = runs.resume_paused(load_settings(), waiting, approve=not refuse, by=by, note=note) if waiting else 0
    word = "refused" if refuse else "approved"
    go_on = f"{woken} waiting flow run goes on" if woken else f"`{kind.command} send` sends it"
    say(f"{name}: {word} by {by}" + ("" if refuse and not woken else f"; {go_on}"))


def have_approved(kind: Kind, file: Path, name: str, consent: Consent, *, yes: bool) -> None:
    """Plan the file, and get it approved before anything is sent, if it needs that; ends if nobody can be asked."""
    from posthorn.content.plain import plain_lines
    from posthorn.delivery.deciding.approval import approver, ask, decide
    from posthorn.delivery.planning.plan import plan_file
    from posthorn.settings import load_settings
    from posthorn.views.question import question

    plan_file(file.absolute(), load_settings(), kind=kind, consent=consent)
    asked = ask(name, question)
    if asked is None:
        return
    print(plain_lines(asked.as_text()), file=sys.stderr)
    if yes:
        decide(name, approved=True, by=approver(), note="--yes", content=asked.content)
    elif sys.stdin.isatty() and typer.confirm("Send this?", err=True):
        decide(name, approved=True, by=approver(), content=asked.content)
    else:
        say(f"nothing was sent: {name} waits for approval; `{kind.command} approve {name}`, then send it again (or --yes)")
        raise typer.Exit(3)


def cancel(kind: Kind, name: str) -> None:
    """Stop a delivery for good, withdraw held messages, and say what went out before."""
    import asyncio

    from posthorn.delivery.settling.withdraw import cancel_delivery

    done = asyncio.run(cancel_delivery(kind, name))
    say(
        f"never sent {done.never_sent:,}, withdrawn {done.withdrawn:,}, already went out {done.went_out:,},"
        f" unknown {done.unknown:,}"
    )
    if done.problem is not None:
        say(f"the provider could not be asked for everything: {done.problem}")
    if done.still_scheduled:
        say(
            f"the provider still holds {done.still_scheduled:,}, or does not prove that they are gone: they may be sent."
            f" Run `{kind.command} cancel {name}` again at once, or delete them in the provider's panel"
        )


def export(kind: Kind, name: str, *, csv: Path | None, jsonl: Path | None, plain: bool = False, test: bool = False) -> None:
    """Write a delivery to the named files, and say how many rows each has."""
    from posthorn.views.export import export_csv, export_jsonl

    as_csv = partial(export_csv, kind, name, test=test, plain=plain)
    as_jsonl = partial(export_jsonl, kind, name, test=test)
    to_files({"--csv": (csv, as_csv), "--jsonl": (jsonl, as_jsonl)}, "code" if kind is Kind.EVENT else "message")
