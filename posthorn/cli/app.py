"""The command tree."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from posthorn.cli import (
    account,
    campaign,
    deliveries,
    demo,
    doctor,
    files,
    messages,
    metrics,
    notify,
    sandbox,
    suppress,
    tickets,
    webhooks,
)

app = typer.Typer(
    name="posthorn",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Deliver MMS campaigns and barcode tickets: everyone is accounted for, nobody gets a message twice.\n\n"
    "New here? `posthorn demo` shows the whole journey without an account; `posthorn doctor` says what is missing for a"
    " real one.\n\nExit codes: 0 all accounted for, 1 unexpected error, 2 bad input or settings, 3 finished but something"
    " needs a person, 4 stopped before the end (by the gateway, or by you): the same command goes on.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"posthorn {version('posthorn')}")
        raise typer.Exit


@app.callback()
def posthorn(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """The options of the command itself."""


app.command(short_help="The whole journey on this machine, without an account.")(demo.demo)
app.command(short_help="What works, and what to do about the rest.")(doctor.doctor)
app.command(short_help="A stand-in for the providers, with faults on demand.")(sandbox.sandbox)
app.command("list", short_help="All campaigns and events, and the status of each.")(deliveries.list_deliveries)
app.add_typer(campaign.app, name="campaign", short_help="MMS campaigns: check, send, status, report …")
app.add_typer(tickets.app, name="tickets", short_help="Barcode tickets: check, send, status, resolve …")
app.add_typer(messages.app, name="messages", short_help="One number's history over all campaigns and events.")
app.add_typer(suppress.app, name="suppress", short_help="Who must not be messaged: add, remove, import, export, check …")
app.add_typer(files.app, name="files", short_help="Files stored at the provider: list, add, view, delete.")
app.add_typer(account.app, name="account", short_help="The account at the provider: probe, limits, blacklist, explain.")
app.add_typer(notify.app, name="notify", short_help="Who is notified when a delivery needs a person.")
app.command(short_help="Receive the news that providers push.")(webhooks.webhooks)
app.command(short_help="The ledger as metrics for Prometheus.")(metrics.metrics)
