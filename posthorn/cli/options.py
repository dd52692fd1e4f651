"""Arguments and options that both groups share, so that names and help texts are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from posthorn.cli.operator import operator_name

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a table.")]
By = Annotated[
    str,
    typer.Option(
        "--by", help="Who decides it; kept in the ledger.", default_factory=operator_name, show_default="your account's name"
    ),
]
Why = Annotated[str, typer.Option("--why", help="Why, or how you know; kept in the ledger.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask again.")]
Approved = Annotated[bool, typer.Option("--yes", help="Approve it, if an approval is needed.")]
Note = Annotated[str, typer.Option("--note", help="A note to keep with the decision.")]
Refuse = Annotated[bool, typer.Option("--refuse", help="Do not send it; a run that is under way stops.")]
Taken = Annotated[bool, typer.Option("--sent/--not-sent", help="Whether it went out.")]
Phones = Annotated[list[str] | None, typer.Option("--phone", help="Messages to this number; repeatable.")]
Failed = Annotated[bool, typer.Option("--failed", help="Everything that was rejected, or reported as not delivered.")]
To = Annotated[list[str], typer.Option("--to", metavar="NUMBER", help="Your own number; repeatable, up to 10.")]
AcceptMissing = Annotated[
    bool, typer.Option("--accept-missing", help="Rows that left the list are taken out for good: nothing more goes to them.")
]
Late = Annotated[
    bool, typer.Option("--late", help="Its moment has passed: send the rest now. This asks for an approval again.")
]
Cron = Annotated[str | None, typer.Option("--cron", help="When, as in '0 9 1 12 *'.")]
At = Annotated[str | None, typer.Option("--at", help="When, once, as in 2026-12-01T09:00:00.")]
Timezone = Annotated[str | None, typer.Option("--timezone", help="Time zone of --cron and --at (POSTHORN_TIMEZONE).")]
Csv = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write CSV for spreadsheets: codes and numbers as text.")
]
Jsonl = Annotated[Path | None, typer.Option("--jsonl", metavar="FILE", help="Write JSON lines.")]
Plain = Annotated[
    bool, typer.Option("--plain", help="With --csv, for programs: each value as it is, without a byte-order mark.")
]
