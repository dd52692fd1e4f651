"""`posthorn campaign …`: check, send, proof, deploy, approve, status, report, reconcile, resolve, resend, cancel, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

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
    Late,
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
from posthorn.cli.output import end, other_machines_note, show_status
from posthorn.cli.proving import prove
from posthorn.cli.sending import send as send_file
from posthorn.models import Kind
from posthorn.process.terminal import say

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="The campaign file (TOML); `posthorn campaign --help` shows one.")
]
Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The campaign's name, as in its file.", autocompletion=names_of(Kind.CAMPAIGN)),
]
Test = Annotated[bool, typer.Option("--test", help="The test of that name (test = true in its file).")]


@app.callback()
def campaign() -> None:
    """Send an MMS campaign and see what became of it.

    A campaign is a TOML file:

    \b
        name = "autumn-sale"                 # identity: running it again resumes, never repeats
        title = "Autumn sale"                # at most 40 characters
        text = "Everything -30%"             # optional if there is media
        media = ["poster.jpg"]               # up to 10 files or URLs
        recipients = "recipients.csv"        # a column of numbers, or one number per line
        column = "Tel. kom."                 # optional: the column of numbers, if its name does not say so
        only_where = { zgoda = "tak" }       # optional: which rows count
        landlines = false                    # true: landline numbers too
        literal = false                      # true: {placeholders} in title or text are meant literally
        strict = false                       # true: warnings block
        on_repeat = "refuse"                 # or "skip", "send": if some got the same message lately
        send_at = 2026-11-30T09:00:00+01:00  # optional: the provider dispatches then
        test = false                         # true: the provider checks the request and sends nothing
        canary = 200                         # optional: this many people first; with canary_wait, ramp, halt_at
        max_cost = 500.00                    # optional: it stops before it costs more
        send_hours = "Mon-Fri 10:00-18:00"   # optional: narrower than POSTHORN_SEND_HOURS; wider needs an approval
        verify = "listed"                    # "trust": send although no list of the provider shows the files
        approve = false                      # true: a person must approve it before the first send
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"


@app.command(short_help="Validate everything, send nothing.")
def check(file: File, accept_missing: AcceptMissing = False, late: Late = False, as_json: Json = False) -> None:
    """Validate everything and send nothing: print the plan, what was inferred, what is doubtful, and every rejected row.

    Exit code 0 when `send` would start (warnings included), 2 when it would refuse. With `strict = true` warnings block.

    \b
        posthorn campaign check sale.toml
        posthorn campaign check sale.toml --json
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.delivery.planning.check import check_campaign, refuse_without_credentials
    from posthorn.delivery.planning.merge import Consent
    from posthorn.settings import load_settings
    from posthorn.views.checked import check_json, check_text

    checked = check_campaign(file, Consent(accept_missing=accept_missing, late=late))
    print(check_json(checked) if as_json else check_text(checked))
    refuse_without_credentials(checked, load_settings())


@app.command(short_help="Send it, or go on with an unfinished one.")
def send(
    file: File,
    yes: Approved = False,
    accept_missing: AcceptMissing = False,
    late: Late = False,
    as_json: Json = False,
) -> None:
    """Send the campaign, or go on with one that was not finished. New rows of its list are sent, too.

    Safe to run again at any time: nobody gets the message a second time. If no Prefect server is configured
    (PREFECT_API_URL), one is started for the run. Ctrl-C finishes the requests that are under way and stops.

    A campaign with `approve = true`, or to more than POSTHORN_APPROVE_ABOVE numbers, is shown and asked about first;
    without a terminal it ends with exit code 3, until `posthorn campaign approve` or --yes.

    Exit code 0 when everybody is accounted for, 2 when it cannot be sent as it is, 3 when something needs a person, 4 when
    it stopped before the end: once the cause is gone, the same command goes on.

    \b
        posthorn campaign send sale.toml
        posthorn campaign send sale.toml --yes --json
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    send_file(Kind.CAMPAIGN, file, yes=yes, accept_missing=accept_missing, late=late, as_json=as_json)


@app.command(short_help="Send it to yourself first.")
def proof(file: File, to: To, by: By, yes: Yes = False, as_json: Json = False) -> None:
    """Send the real MMS to yourself now. Its files are uploaded and verified; `send_at` and `hold_minutes` are ignored.

    A proof is not a recipient: it is in no total, and a number that had one still gets the campaign. It counts for cost. The
    campaign need not be planned yet. Each run of the command is another proof. A proof of unknown outcome is never sent
    again by itself.

    Exit code 0 when all were taken, 3 when one was refused or is unknown, or outside the hours, 4 when one was not sent.

    \b
        posthorn campaign proof sale.toml --to "+48 500 600 700"
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    prove(Kind.CAMPAIGN, file, to, by=by, yes=yes, as_json=as_json)


@app.command(short_help="Let Prefect send it on a schedule.")
def deploy(file: File, cron: Cron = None, at: At = None, timezone: Timezone = None) -> None:
    """Add a deployment for this campaign to the Prefect server, with a schedule or for starting it by hand.

    The server is the one of `make serve`, or of PREFECT_API_URL; a worker of the pool `posthorn` runs it. Running
    the command again replaces it. Each run sends what is not sent yet: nobody gets the message twice, however often it runs.
    A campaign that needs an approval waits for it when it starts. `posthorn campaign approve NAME` can also be run before.

    \b
        posthorn campaign deploy sale.toml --at 2026-12-01T09:00:00
        posthorn campaign deploy sale.toml --cron "0 9 * * Mon" --timezone Europe/Warsaw
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    put_on_a_schedule(Kind.CAMPAIGN, file, cron=cron, at=at, timezone=timezone)


@app.command(short_help="Approve it, or refuse to.")
def approve(
    name: Name,
    by: By,
    note: Note = "",
    refuse: Refuse = False,
    yes: Yes = False,
) -> None:
    """Show what a waiting campaign will send, and approve it. A flow run that waits for the approval goes on.

    The approval covers exactly what is shown. Whatever changes afterwards has to be approved again.

    \b
        posthorn campaign approve sale
        posthorn campaign approve sale --refuse --note "the price is wrong"
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    decisions.approve(Kind.CAMPAIGN, name, by=by, note=note, refuse=refuse, yes=yes)


@app.command(short_help="Its status: one line per state.")
def status(name: Name, test: Test = False, as_json: Json = False) -> None:
    """A campaign's status: one line per state, adding up to its input.

    Exit code as after sending: 0, 3 when something needs a person, 4 when it stopped before the end.

    \b
        posthorn campaign status sale
        posthorn campaign status sale --json
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    end(Kind.CAMPAIGN, name, test=test, as_json=as_json)


@app.command(short_help="Pull the delivery reports.")
def report(name: Name, as_json: Json = False) -> None:
    """Pull the delivery reports of every open message, then show the campaign's status.

    \b
        posthorn campaign report sale
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    import asyncio

    from posthorn.delivery.settling.reconcile import findings
    from posthorn.delivery.settling.report import pull_reports_of

    pulled = asyncio.run(pull_reports_of(name))
    say(
        f"{pulled.requests} requests, {pulled.moved:,} messages moved on, {pulled.expired:,} without a report for 72 hours,"
        f" {pulled.second_copies:,} second copies"
    )
    for finding in findings(name):
        say(finding)
    end(Kind.CAMPAIGN, name, as_json=as_json)


@app.command(short_help="Look up what is unknown.")
def reconcile(
    name: Name,
    pending: Annotated[
        bool, typer.Option("--pending", help="Look up pending messages, too: this ledger was restored from an older copy.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask the provider about every message of unknown outcome, settle what it proves, and look for second copies.

    What the provider lists was taken. What it did not list at two looks, its gateway's SETTLE_SECONDS apart, is shown as
    absent but stays unknown. It is never sent again unless the campaign's file says so; then the next run sends it. This
    command sends nothing.

    With --pending every pending number is looked up as well. What the provider has is recorded as taken, and then the
    campaign can be sent again.

    \b
        posthorn campaign reconcile sale
        posthorn campaign reconcile sale --pending   # after a restore
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    if pending:
        _catch_up(name, as_json=as_json)
    import asyncio

    from posthorn.delivery.settling.reconcile import findings
    from posthorn.delivery.settling.withdraw import reconcile_named
    from posthorn.views.status import exit_code, status_now
    from posthorn.views.unknowns import unknown_table

    done = asyncio.run(reconcile_named(name))
    counted = f"{done.found:,} were taken, {done.resend:,} are to be sent again, {done.unknown:,} stay unknown"
    say(f"looked up {done.looked_up:,}: {counted}" if done.looked_up or done.unknown else "nothing to look up")
    for finding in findings(name):
        say(finding)
    now = status_now(name)
    show_status(now, as_json=as_json)
    if done.unknown and not as_json:
        print("\n" + unknown_table(name))
        say(f"`posthorn campaign resolve {name} --phone NUMBER --sent|--not-sent --why TEXT` settles what you know")
    if done.resend:
        say(f"run `posthorn campaign send` again to send those {done.resend:,}")
    raise typer.Exit(exit_code(now))


@app.command(short_help="Settle unknown messages yourself.")
def resolve(
    name: Name,
    taken: Taken,
    why: Why,
    by: By,
    phone: Phones = None,
    everything: Annotated[bool, typer.Option("--all", help="Every unknown message of the campaign.")] = False,
    as_json: Json = False,
) -> None:
    """Settle messages of unknown outcome yourself, when the provider's listing cannot.

    Either all messages that you name are settled, or none. --sent: they were taken. --not-sent: they were not, and the next
    `campaign send` sends them (never, if the campaign was cancelled). Look for the number in the provider's panel first:
    people who are sent to again may get the message twice.

    \b
        posthorn campaign resolve sale --phone "+48 500 600 700" --sent --why "it is in the panel"
        posthorn campaign resolve sale --all --not-sent --why "the panel has none of them"
    """  # noqa: D301 - see deploy
    from posthorn.errors import InputError

    if bool(phone) == everything:
        raise InputError("--phone", "say which messages: --phone NUMBER (repeatable), or --all")
    numbers = phone or []
    decisions.resolve(Kind.CAMPAIGN, name, numbers=numbers, codes=[], taken=taken, by=by, why=why, as_json=as_json)


@app.command(short_help="Send failed messages a second time.")
def resend(
    name: Name,
    why: Why,
    by: By,
    phone: Phones = None,
    failed: Failed = False,
    although_taken: Annotated[
        bool, typer.Option("--although-taken", help="With --phone: also messages that were taken or delivered already.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Have messages sent again on purpose: they become pending, and the next `campaign send` sends them.

    This is for messages that were rejected, reported as not delivered, or never reported on. With --although-taken it
    is also for messages that the provider took: those people get it twice. The ledger keeps who asked and why. Resolve
    unknown messages first.

    \b
        posthorn campaign resend sale --failed --why "the picture was refused; it is another one now"
        posthorn campaign resend sale --phone "+48 500 600 700" --why "her phone was off all weekend"
    """  # noqa: D301 - see deploy
    from posthorn.errors import InputError

    if bool(phone) == failed:
        raise InputError("resend", "say which messages: --phone NUMBER (repeatable), or --failed")
    decisions.resend(
        Kind.CAMPAIGN,
        name,
        numbers=phone or [],
        codes=[],
        failed=failed,
        everything=False,
        although_taken=although_taken,
        by=by,
        why=why,
        as_json=as_json,
    )


def _catch_up(name: str, *, as_json: bool) -> NoReturn:
    """Let a ledger that was restored from an older copy catch up with the provider, then show the campaign's status."""
    import asyncio

    from posthorn.delivery.settling.catchup import catch_up_campaign
    from posthorn.settings import load_settings
    from posthorn.views.status import exit_code, status_now
    from posthorn.views.unknowns import unknown_table

    def told(seen: int, found: int) -> None:
        say(f"looked up {seen:,} pending, {found:,} of them found")

    done = asyncio.run(catch_up_campaign(name, told))
    say(
        f"looked up {done.looked_up:,}: {done.found:,} were taken, {done.unknown:,} are unknown, {done.pending:,} were never"
        f" sent; forgotten requests: {done.forgotten:,}{other_machines_note(load_settings().database_url)}"
    )
    if not done.is_proven:
        say(
            "this ledger has no message of the last week that the provider surely took, so nothing shows that its list is"
            " complete: look into its panel before you send again"
        )
    now = status_now(name)
    show_status(now, as_json=as_json)
    if done.unknown and not as_json:
        print("\n" + unknown_table(name))
    if done.pending:
        say(f"run `posthorn campaign send` again to send those {done.pending:,}")
    raise typer.Exit(exit_code(now))


@app.command(short_help="Stop it for good, withdraw held messages.")
def cancel(name: Name, as_json: Json = False) -> None:
    """Stop a campaign for good and withdraw everything the provider still holds.

    What is pending is never sent. Messages that have gone to the phones cannot be called back; the command says how many.

    \b
        posthorn campaign cancel sale
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    decisions.cancel(Kind.CAMPAIGN, name)
    end(Kind.CAMPAIGN, name, as_json=as_json)


@app.command(short_help="Write every message to a file.")
def export(name: Name, csv: Csv = None, jsonl: Jsonl = None, plain: Plain = False, test: Test = False) -> None:
    """Write every message: number, state, the provider's code in words, its id, and the times in UTC.

    The file holds full numbers, so only its owner may read it. An older file of that name is replaced at the end.
    Rejected rows are not in it: they are in the rejects file.

    \b
        posthorn campaign export sale --csv sale.csv
        posthorn campaign export sale --jsonl sale.jsonl
    """  # noqa: D301 - see deploy
    decisions.export(Kind.CAMPAIGN, name, csv=csv, jsonl=jsonl, plain=plain, test=test)
