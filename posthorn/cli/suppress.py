"""`posthorn suppress …`: who must not be messaged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from posthorn.cli.operator import operator_name
from posthorn.cli.options import Json
from posthorn.cli.output import print_json, to_files
from posthorn.process.terminal import say

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Who must not be messaged.")

ATTENTION = 3

Numbers = Annotated[list[str], typer.Argument(metavar="PHONE…", help="The numbers, written any way.")]
ScopeOf = Annotated[str, typer.Option("--scope", help="marketing: campaigns; all: tickets, too.")]
Why = Annotated[str, typer.Option("--why", help="Why; it is kept with the entry.")]
By = Annotated[str | None, typer.Option("--by", help="Who says so; without this, you.")]


@app.callback()
def suppress() -> None:
    """Who must not be messaged, whatever file names them: opt-outs, blacklists, and numbers that you add.

    Campaigns respect every entry; tickets only those of the scope `all`, unless the event's file says
    `opt_outs = "marketing"`. The list is checked when a delivery is planned, and again in the transaction that claims a
    message. Numbers are shown masked; `export` writes them in full to a file of your own.
    """


@app.command()
def add(numbers: Numbers, scope: ScopeOf = "marketing", why: Why = "", by: By = None, as_json: Json = False) -> None:
    """Put numbers on the list. Entries that exist already stay as they are.

    \b
        posthorn suppress add "+48 500 600 700" --why "she wrote to us"
        posthorn suppress add "+48 500 600 700" --scope all --why "no tickets either"
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.delivery.suppression import suppress as steps

    done = steps.add(numbers, scope, why=why, by=by or operator_name())
    if as_json:
        print_json(done)
        return
    known = done["given"] - done["new"]
    print(f"{done['new']:,} numbers added for {done['scope']}" + (f"; {known:,} were listed already" if known else ""))


@app.command()
def remove(
    phone: Annotated[str, typer.Argument(metavar="PHONE", help="The number, written any way.")],
    why: Annotated[str, typer.Option("--why", help="Why it may be messaged again; it is kept with the entry.")],
    scope: Annotated[str | None, typer.Option("--scope", help="Only this scope; without this, both.")] = None,
    erase: Annotated[
        bool, typer.Option("--erase", help="Delete all that the list knows of the number, because the person asks for it.")
    ] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Let a number be messaged again. Messages that were suppressed stay so. Its earlier opt-outs no longer count.

    \b
        posthorn suppress remove "+48 500 600 700" --why "she subscribed again"
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.delivery.suppression import suppress as steps
    from posthorn.views.suppression import removed_shown

    done = removed_shown(steps.remove(phone, scope, by=by or operator_name(), why=why, erase=erase))
    if as_json:
        print_json(done)
        return
    _show_removed(done)


def _show_removed(done: dict[str, Any]) -> None:
    scopes = " and ".join(one["scope"] for one in done["removed"])
    said = f"{done['phone']}: " + (f"erased, {done['erased']} entries" if done["erased"] else f"removed from {scopes}")
    print(f"{said}; messages that were suppressed stay so")
    if done["still"]:
        say("if the provider's own blacklist still has it, the next pull lists it again: take it off there first")


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV with a column of numbers, or one number per line.")],
    scope: ScopeOf = "marketing",
    column: Annotated[
        str | None, typer.Option("--column", help="The column of numbers, if its name does not say so.")
    ] = None,
    why: Why = "",
    by: By = None,
    as_json: Json = False,
) -> None:
    """Put every number of a file on the list, landlines too. This never takes anybody off the list.

    Rows without a number are written to a file of the same name that ends in .rejects.csv; exit code 3 if there are any.

    \b
        posthorn suppress import opt-outs.csv --why "the list of the shop"
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.delivery.suppression import suppress as steps

    done = steps.import_file(file, scope, column=column, why=why, by=by or operator_name())
    if as_json:
        print_json(done)
    else:
        known = done["numbers"] - done["new"]
        also = f", {known:,} were listed already" if known else ""
        said = f"{done['new']:,} numbers added for {done['scope']}{also}, {done['duplicate']:,} duplicate"
        print(f"{done['rows']:,} rows: {said}")
    if done["invalid"]:
        say(f"{done['invalid']:,} rows hold no number and add nobody: correct them in {done['rejects']} and import that")
        raise typer.Exit(ATTENTION)


@app.command()
def export(
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write CSV, safe for spreadsheets.")] = None,
    jsonl: Annotated[Path | None, typer.Option("--jsonl", metavar="FILE", help="Write JSON lines.")] = None,
) -> None:
    """Write every entry in force, with full numbers, to a file that only its owner may read.

    \b
        posthorn suppress export --csv opt-outs.csv
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.views import suppression

    to_files(
        {"--csv": (csv, suppression.export_csv), "--jsonl": (jsonl, suppression.export_jsonl)}, "entry", several="entries"
    )


@app.command()
def check(numbers: Numbers, as_json: Json = False) -> None:
    """Whether numbers are on the list: for what, since when, who said so and why; also what was removed.

    \b
        posthorn suppress check "+48 500 600 700"
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.views import suppression

    told = suppression.check(numbers)
    if as_json:
        print_json(told)
        return
    for one in told:
        print(f"{one['phone']}: {_standing(one['suppressed'])}")
        if one["entries"]:
            print(suppression.entries_table(one["entries"]))


def _standing(scopes: list[str]) -> str:
    if not scopes:
        return "not suppressed"
    return "suppressed for " + ("everything" if "all" in scopes else "marketing: tickets still go")


@app.command("list")
def listing(
    most: Annotated[int, typer.Option("--most", min=0, max=10_000, help="How many of the newest entries to show.")] = 20,
    source: Annotated[str | None, typer.Option("--source", help="Only those of this source, such as reply.")] = None,
    as_json: Json = False,
) -> None:
    """How many numbers are on the list, by scope and source, and the newest entries, masked.

    \b
        posthorn suppress list
        posthorn suppress list --source reply --most 100
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.views import suppression

    found = suppression.listing(most, source)
    if as_json:
        print_json(found)
    elif not found["count"]:
        print("nobody is on the suppression list")
    else:
        print(suppression.counts_table(found))
        print(suppression.entries_table(found["entries"]))
        if found["count"] > len(found["entries"]):
            print(f"the newest {len(found['entries']):,} of {found['count']:,}; `posthorn suppress export` writes them all")


@app.command()
def pull(as_json: Json = False) -> None:
    """Ask the providers now: their whole blacklist, and whoever has answered with a stop word (POSTHORN_STOP_WORDS).

    `make serve` does so every 15 minutes. Exit code 3 if a provider could not be asked.

    \b
        posthorn suppress pull
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    import asyncio
    from dataclasses import asdict

    from posthorn.delivery.suppression.optouts import pull_opt_outs
    from posthorn.settings import SettingsError

    pulled = asyncio.run(pull_opt_outs())
    if not pulled.asked:
        raise SettingsError(
            "no provider that reports opt-outs has its credentials set; `posthorn doctor` names the variables"
        )
    if as_json:
        print_json(asdict(pulled))
    else:
        also = f", {pulled.refused:,} more by what was refused earlier" if pulled.refused else ""
        print(f"asked {', '.join(pulled.asked)}: {pulled.told:,} opt-outs reported, {pulled.new:,} of them new{also}")
    for problem in pulled.problems:
        say(f"could not be asked: {problem}")
    if pulled.problems:
        raise typer.Exit(ATTENTION)
