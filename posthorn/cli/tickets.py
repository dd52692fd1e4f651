"""`posthorn tickets …`: check, send, proof, deploy, approve, status, preview, export, resend, resolve, cancel, reconcile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from posthorn.cli import decisions
from posthorn.cli.completion import names_of
from posthorn.cli.deploying import deploy as put_on_a_schedule
from posthorn.cli.options import (
    AcceptMissing,
    Approved,
    At,
    By,
    Cron,
    Csv,
    Failed,
    Json,
    Jsonl,
    Note,
    Phones,
    Plain,
    Refuse,
    Taken,
    Timezone,
    To,
    Why,
    Yes,
)
from posthorn.cli.output import end, other_machines_note
from posthorn.cli.proving import prove
from posthorn.cli.sending import send as send_file
from posthorn.models import Kind
from posthorn.process.terminal import say

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The event file (TOML); `posthorn tickets --help` shows one.")]
Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The event's name, as in its file.", autocompletion=names_of(Kind.EVENT)),
]

Codes = Annotated[list[str] | None, typer.Argument(metavar="[CODE]...", help="Codes of tickets.")]


@app.callback()
def tickets() -> None:
    """Send an event's barcode tickets and follow them up.

    An event is a TOML file:

    \b
        name = "jazz-night"              # identity: running it again resumes, never repeats
        mms_id = 35674                   # the stored MMS with a barcode object
        from = 60856                     # shortcode or long number of the account
        campaign_ref = "12333"           # optional; needed if the account enforces it
        attendees = "attendees.csv"      # columns phone, barcode_id and any others
        barcode = "generate"             # optional: rows without a barcode_id get one
        key = "order"                    # optional: the column that identifies rows without codes
        approve = false                  # true: a person must approve it before the first send
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"


@app.command(short_help="Validate everything, send nothing.")
def check(file: File, accept_missing: AcceptMissing = False, as_json: Json = False) -> None:
    """Validate everything and send nothing: rows, codes, and whether the codes survive what carriers do to pictures.

    \b
        posthorn tickets check jazz.toml
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.delivery.planning.check import check_event, refuse_without_credentials
    from posthorn.delivery.planning.merge import Consent
    from posthorn.settings import load_settings
    from posthorn.views.checked import check_json, check_text

    checked = check_event(file, Consent(accept_missing=accept_missing))
    print(check_json(checked) if as_json else check_text(checked))
    refuse_without_credentials(checked, load_settings())


@app.command(short_help="Send them, or go on with an unfinished event.")
def send(
    file: File,
    yes: Approved = False,
    accept_missing: AcceptMissing = False,
    as_json: Json = False,
) -> None:
    """Send the event's tickets, or go on where an earlier run stopped. New rows of its list are sent, too.

    Safe to run again at any time: nobody gets a ticket twice. The provider cannot be asked: a ticket whose answer was lost
    stays unknown until a postback or `tickets resolve` settles it.

    An event with `approve = true`, or with more than POSTHORN_APPROVE_ABOVE tickets, is shown and asked about first; without
    a terminal it ends with exit code 3, until `posthorn tickets approve` or --yes.

    \b
        posthorn tickets send jazz.toml
        posthorn tickets send jazz.toml --yes --json
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    send_file(Kind.EVENT, file, yes=yes, accept_missing=accept_missing, as_json=as_json)


@app.command(short_help="Send a ticket to yourself first.")
def proof(file: File, to: To, by: By, yes: Yes = False, as_json: Json = False) -> None:
    """Send the real ticket to yourself now, with a code of its own. The door list shows that code as void.

    A proof is not an attendee: it is in no total, and a number that had one still gets its ticket. It counts for cost. The
    event need not be planned yet. Its texts have the first attendee's values. Each run of the command is another
    proof. A proof of unknown outcome is never sent again by itself.

    Exit code 0 when it was taken, 3 when it was refused or is unknown, or it is outside the hours, 4 when it was not sent.

    \b
        posthorn tickets proof jazz.toml --to "+1 650 253 0000"
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    prove(Kind.EVENT, file, to, by=by, yes=yes, as_json=as_json)


@app.command(short_help="Let Prefect send them on a schedule.")
def deploy(file: File, cron: Cron = None, at: At = None, timezone: Timezone = None) -> None:
    """Add a deployment for this event to the Prefect server, with a schedule or for starting it by hand.

    The server is the one of `make serve`, or of PREFECT_API_URL; a worker of the pool `posthorn` runs it. Running
    the command again replaces it. Each run sends what is not sent yet: nobody gets a ticket twice, however often it runs.

    \b
        posthorn tickets deploy jazz.toml --at 2026-12-01T09:00:00
        posthorn tickets deploy jazz.toml --cron "0 9 * * *" --timezone Europe/Warsaw
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    put_on_a_schedule(Kind.EVENT, file, cron=cron, at=at, timezone=timezone)


@app.command(short_help="Its status, with every unknown ticket.")
def status(name: Name, as_json: Json = False) -> None:
    """An event's status: one line per state, adding up to its input, and every unknown ticket with its evidence.

    \b
        posthorn tickets status jazz-night
        posthorn tickets status jazz-night --json
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    end(Kind.EVENT, name, as_json=as_json)


@app.command(short_help="Draw a preview of one code.")
def preview(
    file: File,
    row: Annotated[int, typer.Option("--row", min=1, help="Line of the attendees file.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where to write the picture.")] = None,
    image_format: Annotated[Literal["png", "svg"], typer.Option("--format", help="png or svg.")] = "png",
) -> None:
    """Draw one attendee's code. It is a preview only: the provider draws the real one, from its own template.

    \b
        posthorn tickets preview jazz.toml --row 2
        posthorn tickets preview jazz.toml --row 2 --format svg --out code.svg
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.delivery.planning.preview import preview as draw

    target = out or Path(f"row-{row}.{image_format}")
    code = draw(file, row, image_format, target)
    say(f"written to {target.absolute()}: {code} (a preview; the provider draws the real one)")


@app.command(short_help="Approve it, or refuse to.")
def approve(
    name: Name,
    by: By,
    note: Note = "",
    refuse: Refuse = False,
    yes: Yes = False,
) -> None:
    """Show what a waiting event will send, and approve it. A flow run that waits for the approval goes on.

    The approval covers exactly what is shown. Whatever changes afterwards has to be approved again.

    \b
        posthorn tickets approve jazz-night
        posthorn tickets approve jazz-night --refuse --note "another hall"
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    decisions.approve(Kind.EVENT, name, by=by, note=note, refuse=refuse, yes=yes)


@app.command(short_help="Stop it for good.")
def cancel(
    name: Name,
    by: By,
    code: Codes = None,
    why: Annotated[str, typer.Option("--why", help="With codes: why; kept in the ledger.")] = "",
    as_json: Json = False,
) -> None:
    """Stop an event for good: what is pending is never sent. Tickets that have left cannot be called back.

    With codes: only these attendees are taken out, for good; the event goes on. The door list says that they are cancelled.

    \b
        posthorn tickets cancel jazz-night
        posthorn tickets cancel jazz-night JAZZ-0001 --why "she gave it back"
    """  # noqa: D301 - see deploy
    if code:
        decisions.take_out(Kind.EVENT, name, codes=code, by=by, why=why)
    else:
        decisions.cancel(Kind.EVENT, name)
    end(Kind.EVENT, name, as_json=as_json)


@app.command(short_help="A new code for a leaked one.")
def replace(
    name: Name, code: Annotated[str, typer.Argument(metavar="CODE", help="The code that leaked.")], why: Why, by: By
) -> None:
    """Give a ticket a new code, which the next `tickets send` sends; the old one is void on the door list.

    The list may keep the old code: running the file again changes nothing.

    \b
        posthorn tickets replace jazz-night JAZZ-0001 --why "she posted it"
    """  # noqa: D301 - see deploy
    from posthorn.delivery.deciding.amend import replace as give_another

    with decisions.not_beside_a_run("changed"):
        done = give_another(name, code, by=by, why=why)
    say(f"{code} is void; its ticket has the code {done.new} now, decided by {by}")
    say("next: run `posthorn tickets send` with the same file: it sends the new one. Write the door list again")


@app.command(short_help="Write the door list.")
def export(name: Name, csv: Csv = None, jsonl: Jsonl = None, plain: Plain = False) -> None:
    """Write the door list: the attendees' columns, number, code, whether it lets them in, and the state of the ticket.

    Void codes and cancelled tickets are in it, too, with `no` under `valid`. The file holds full numbers, so only its owner
    may read it. An older file of that name is replaced at the end.

    \b
        posthorn tickets export jazz-night --csv door.csv
        posthorn tickets export jazz-night --csv door.csv --plain      # for a scanner's program
    """  # noqa: D301 - see deploy
    decisions.export(Kind.EVENT, name, csv=csv, jsonl=jsonl, plain=plain)


@app.command(short_help="Send tickets a second time, with the same codes.")
def resend(
    name: Name,
    why: Why,
    by: By,
    code: Codes = None,
    phone: Phones = None,
    to: Annotated[str | None, typer.Option("--to", help="With one code: another number to send it to.")] = None,
    failed: Failed = False,
    everything: Annotated[bool, typer.Option("--all", help="Every ticket that is not unknown.")] = False,
    as_json: Json = False,
) -> None:
    """Send tickets again with the same codes: they become pending, and the next `tickets send` sends them.

    This can deliver a ticket a second time, on purpose. The ledger keeps who asked and why. Resolve unknown tickets first.

    \b
        posthorn tickets resend jazz-night --failed --why "the template was wrong"
        posthorn tickets resend jazz-night JAZZ-0001 JAZZ-0002 --why "they deleted it"
        posthorn tickets resend jazz-night --phone "+1 650 253 0000" --why "a new handset"
        posthorn tickets resend jazz-night JAZZ-0001 --to "+1 650 253 0009" --why "a new number"
    """  # noqa: D301 - see deploy
    from posthorn.errors import InputError

    if [bool(code), bool(phone), failed, everything].count(True) != 1:
        raise InputError("resend", "say which tickets: codes, --phone NUMBER, --failed or --all")
    if to is not None:
        if len(code or ()) != 1:
            raise InputError("--to", "--to needs one code: the ticket that goes to another number")
        decisions.readdress(name, (code or [""])[0], to, by=by, why=why, as_json=as_json)
        return
    decisions.resend(
        Kind.EVENT,
        name,
        numbers=phone or [],
        codes=code or [],
        failed=failed,
        everything=everything,
        although_taken=True,
        by=by,
        why=why,
        as_json=as_json,
    )


@app.command(short_help="Settle unknown tickets yourself.")
def resolve(
    name: Name,
    taken: Taken,
    why: Why,
    by: By,
    code: Codes = None,
    phone: Phones = None,
    everything: Annotated[bool, typer.Option("--all", help="Every unknown ticket of the event.")] = False,
    as_json: Json = False,
) -> None:
    """Settle tickets of unknown outcome yourself: --sent closes them, --not-sent lets the next run send them.

    Either all tickets that you name are settled, or none. `posthorn tickets status NAME` lists unknown ones and codes.

    \b
        posthorn tickets resolve jazz-night JAZZ-0001 --sent --why "she showed it at the door"
        posthorn tickets resolve jazz-night --all --not-sent --why "the provider's log has none of them"
    """  # noqa: D301 - see deploy
    from posthorn.errors import InputError

    if [bool(code), bool(phone), everything].count(True) != 1:
        raise InputError("resolve", "say which tickets: codes, --phone NUMBER (repeatable), or --all")
    numbers, codes = phone or [], code or []
    decisions.resolve(Kind.EVENT, name, numbers=numbers, codes=codes, taken=taken, by=by, why=why, as_json=as_json)


@app.command(short_help="After a restore: make unknown what was sent since.")
def reconcile(
    name: Name,
    pending: Annotated[bool, typer.Option("--pending", help="This ledger was restored from an older copy.")] = False,
    as_json: Json = False,
) -> None:
    """After a restore: make unknown what this machine has sent of an event and the ledger has forgotten.

    The provider cannot be asked, so settle each with `tickets resolve`; then `tickets send` goes on with the rest.

    \b
        posthorn tickets reconcile jazz-night --pending
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.delivery.settling.catchup import catch_up_event
    from posthorn.errors import InputError
    from posthorn.settings import load_settings

    if not pending:
        raise InputError(
            "reconcile",
            "the provider of tickets cannot be asked; `posthorn tickets resolve` settles unknown ones. After a restore of"
            " the ledger, add --pending",
        )
    done = catch_up_event(name)
    note = other_machines_note(load_settings().database_url)
    say(f"forgotten requests: {done.forgotten:,}; unknown now: {done.unknown:,}; to be sent: {done.pending:,}{note}")
    end(Kind.EVENT, name, as_json=as_json)
