"""The command tree."""

from __future__ import annotations

import typer

from posthorn.cli import campaign, demo, doctor, sandbox, tickets

app = typer.Typer(
    name="posthorn",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Deliver MMS campaigns and barcode tickets: everyone is accounted for, nobody gets a message twice.\n\n"
    "New here? `posthorn demo` shows the whole journey without an account; `posthorn doctor` says what is missing for a"
    " real one.\n\nExit codes: 0 all accounted for, 1 unexpected error, 2 bad input or settings, 3 finished but something"
    " needs a person, 4 stopped by the gateway.",
)
app.add_typer(campaign.app, name="campaign")
app.add_typer(tickets.app, name="tickets")
app.command()(demo.demo)
app.command()(sandbox.sandbox)
app.command()(doctor.doctor)
