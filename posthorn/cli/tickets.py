"""`posthorn tickets …`: check, send, deploy, status, preview, export, resend, resolve, reconcile."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from posthorn.cli.operator import operator_name
from posthorn.cli.output import ending_early, following, new_ledger_note, other_machines_note, say, show_status

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The event file (TOML); `posthorn tickets --help` shows one.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The event's name, as in its file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a table.")]
By = Annotated[
    str,
    typer.Option(
        "--by", help="Who decides it; kept in the ledger.", default_factory=operator_name, show_default="your account's name"
    ),
]
Why = Annotated[str, typer.Option("--why", help="Why; kept in the ledger.")]


@app.callback()
def tickets() -> None:
    """Send an event's barcode tickets and look after them.

    An event is a TOML file:

    \b
        name = "jazz-night"              # identity: running it again resumes, never repeats
        mms_id = 35674                   # the stored MMS with a barcode object
        from = 60856                     # shortcode or long number of the account
        campaign_ref = "12333"           # optional; needed where the account enforces it
        attendees = "attendees.csv"      # columns phone, barcode_id and any others
        barcode = "generate"             # optional: rows without a barcode_id get one
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"


@app.command(short_help="Validate everything, send nothing.")
def check(file: File, as_json: Json = False) -> None:
    """Validate everything and send nothing: rows, codes, and whether the codes survive what carriers do to pictures."""
    from posthorn.delivery.check import check_event, refuse_without_credentials  # noqa: PLC0415
    from posthorn.settings import load_settings  # noqa: PLC0415

    checked = check_event(file)
    print(checked.as_json() if as_json else checked.as_text())
    refuse_without_credentials(checked, load_settings())


@app.command(short_help="Send them, or go on with an unfinished event.")
def send(file: File, as_json: Json = False) -> None:
    """Send the event's tickets, or go on where an earlier run stopped.

    Safe to run again at any time: nobody gets a ticket twice. A ticket whose answer was lost stays unknown until a postback
    or `tickets resolve` settles it, for the provider cannot be asked.
    """
    from posthorn.cli import runs  # noqa: PLC0415
    from posthorn.content.event import load_event  # noqa: PLC0415
    from posthorn.delivery.check import examine_event  # noqa: PLC0415
    from posthorn.delivery.plan import refuse_if_running  # noqa: PLC0415
    from posthorn.gateways import registry  # noqa: PLC0415
    from posthorn.models import Kind  # noqa: PLC0415
    from posthorn.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    event = load_event(file, registry.bounds_of(Kind.EVENT))
    registry.chosen(Kind.EVENT, event.gateway).check_credentials(settings)
    note = new_ledger_note(settings.database_url)
    with ending_early(event.name, as_json=as_json):
        refuse_if_running(settings, event.name, test=False)
        for line in examine_event(event, settings).announcement():
            say(line)
        say(f"event {event.name}: starting{note}")
        with runs.prefect_api(settings), following(settings.database_url, event.name, test=False):
            runs.send_tickets(str(file.absolute()))
    _end(event.name, as_json=as_json)


@app.command(short_help="Have Prefect send them on a schedule.")
def deploy(
    file: File,
    cron: Annotated[str | None, typer.Option("--cron", help="When, as in '0 9 1 12 *'.")] = None,
    at: Annotated[str | None, typer.Option("--at", help="When, once, as in 2026-12-01T09:00:00.")] = None,
    timezone: Annotated[
        str | None, typer.Option("--timezone", help="Time zone of --cron and --at (POSTHORN_TIMEZONE).")
    ] = None,
) -> None:
    """Add a deployment for this event to the Prefect server, with a schedule or for starting it by hand.

    The server is the one of `make serve`, or of PREFECT_API_URL; a worker of the pool `posthorn` runs it. The same command
    again replaces it. Each run sends what is not sent yet: nobody gets a ticket twice, however often it runs.
    """
    from posthorn.cli import runs  # noqa: PLC0415
    from posthorn.content import moments  # noqa: PLC0415
    from posthorn.delivery.check import check_event  # noqa: PLC0415
    from posthorn.errors import InputError  # noqa: PLC0415
    from posthorn.settings import load_settings  # noqa: PLC0415

    if cron is not None and at is not None:
        raise InputError("--at", "say either --cron or --at")
    settings = load_settings()
    zone = moments.checked_zone(timezone or settings.timezone)
    now = datetime.now(UTC)
    moment = moments.read_at(at, zone, zone_is_given=timezone is not None, now=now) if at else None
    event = check_event(file)
    deployed = runs.deploy_event(settings, event.name, file.absolute(), cron=cron, at=moment, timezone=zone)
    for oddity in moments.oddities(moment, now, zone, key="--at") if moment else ():
        say(f"warning: {oddity.message}")
    when = f"cron {cron} ({zone})" if cron else "by hand, in the Prefect UI"
    if moment:
        when = f"once, at {moments.shown(moment, zone, settings.timezone)}"
    say(f"{deployed}: {event.reading.valid:,} tickets; starts {when}")


@app.command(short_help="How it stands, with every unknown ticket.")
def status(name: Name, as_json: Json = False) -> None:
    """How an event stands: one line per state, adding up to its input, and every unknown ticket with its evidence."""
    _end(name, as_json=as_json)


@app.command(short_help="Draw a likeness of one code.")
def preview(
    file: File,
    row: Annotated[int, typer.Option("--row", min=1, help="Line of the attendees file.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where to write the picture.")] = None,
    image_format: Annotated[Literal["png", "svg"], typer.Option("--format", help="png or svg.")] = "png",
) -> None:
    """Draw one attendee's code. A likeness only: the provider draws the real one, from its own template."""
    from posthorn.delivery.desk import preview as draw  # noqa: PLC0415

    target = out or Path(f"row-{row}.{image_format}")
    code = draw(file, row, image_format, target)
    say(f"{target}: {code} (a likeness; the provider draws the real one)")


@app.command(short_help="Write the door list.")
def export(
    name: Name,
    csv: Annotated[Path, typer.Option("--csv", help="Where to write the door list (mode 0600: it holds numbers).")],
) -> None:
    """Write the door list: the attendees' columns, number, code and state, safe to open in a spreadsheet."""
    from posthorn.delivery.desk import export_door_list  # noqa: PLC0415

    say(f"{csv}: {export_door_list(name, csv):,} tickets")


@app.command(short_help="Have tickets sent a second time, with the same codes.")
def resend(
    name: Name,
    why: Why,
    by: By,
    phone: Annotated[str | None, typer.Option("--phone", help="The tickets of this number.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Every ticket that was rejected or not delivered.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Every ticket that is not unknown.")] = False,
) -> None:
    """Have tickets sent again with the same codes: they become pending, and the next `tickets send` sends them.

    This can deliver a ticket a second time, on purpose; who asked for it and why is kept. Unknown tickets have to be
    resolved first.
    """
    from posthorn.delivery.desk import resend as send_again  # noqa: PLC0415
    from posthorn.errors import InputError  # noqa: PLC0415
    from posthorn.ledger.tickets import FAILED, RESENDABLE  # noqa: PLC0415

    if [phone is not None, failed, everything].count(True) != 1:
        raise InputError("resend", "say which tickets: --phone NUMBER, --failed or --all")
    count = send_again(name, FAILED if failed else RESENDABLE, phone, by=by, why=why)
    say(f"{count:,} tickets are pending again; `posthorn tickets send` sends them" if count else "no such ticket")


@app.command(short_help="Settle unknown tickets yourself.")
def resolve(
    name: Name,
    code: Annotated[list[str], typer.Argument(metavar="CODE...", help="The codes of unknown tickets.")],
    taken: Annotated[bool, typer.Option("--sent/--not-sent", help="Whether the ticket went out.")],
    why: Why,
    by: By,
) -> None:
    """Settle tickets of unknown outcome yourself: --sent closes them, --not-sent has the next run send them."""
    from posthorn.delivery.desk import resolve as settle  # noqa: PLC0415

    say(f"{settle(name, code, taken=taken, by=by, why=why):,} resolved as {'sent' if taken else 'not sent'} by {by}")


@app.command(short_help="After a restore: what was sent since is unknown.")
def reconcile(
    name: Name,
    pending: Annotated[bool, typer.Option("--pending", help="This ledger was restored from an older copy.")] = False,
    as_json: Json = False,
) -> None:
    """Make unknown what this machine has sent of an event and a ledger that was restored from an older copy has forgotten.

    The provider cannot be asked, so settle each with `tickets resolve`; then `tickets send` goes on with the rest.
    """
    from posthorn.delivery.catchup import catch_up_event  # noqa: PLC0415
    from posthorn.errors import InputError  # noqa: PLC0415
    from posthorn.settings import load_settings  # noqa: PLC0415

    if not pending:
        raise InputError(
            "reconcile",
            "the provider of tickets cannot be asked; `posthorn tickets resolve` settles unknown ones. After a restore of"
            " the ledger, say --pending",
        )
    done = catch_up_event(name)
    note = other_machines_note(load_settings().database_url)
    say(f"forgotten requests: {done.forgotten:,}; unknown now: {done.unknown:,}; to be sent: {done.pending:,}{note}")
    _end(name, as_json=as_json)


def _end(name: str, *, as_json: bool) -> None:
    from posthorn.delivery.desk import unknown_tickets  # noqa: PLC0415
    from posthorn.views.status import exit_code, status_now  # noqa: PLC0415

    now = status_now(name)
    show_status(now, as_json=as_json)
    if now["totals"]["unknown"] and not as_json:
        print("\n" + unknown_tickets(name))
    raise typer.Exit(exit_code(now))
