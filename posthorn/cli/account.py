"""`posthorn account …`: what the provider says of the account."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from posthorn.cli.output import print_json
from posthorn.process.terminal import say

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The account at the provider.")

Gateway = Annotated[str | None, typer.Option("--gateway", help="Which gateway; the first that can, without it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a table.")]


@app.callback()
def account() -> None:
    """What the provider says of the account. Sends no message."""


@app.command()
def limits(gateway: Gateway = None, as_json: Json = False) -> None:
    """What may still be sent, by kind of message. The provider asks not to be asked every few seconds."""
    from posthorn.delivery import accountdesk  # noqa: PLC0415

    found = asyncio.run(accountdesk.limits(accountdesk.desk_of(gateway)))
    if as_json:
        print_json(found)
    else:
        print(accountdesk.limits_table(found))


@app.command()
def blacklist(
    phone: Annotated[str | None, typer.Argument(metavar="[PHONE]", help="Look for this number only.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write all of them, in full, to this CSV (mode 0600).")] = None,
    gateway: Gateway = None,
    as_json: Json = False,
) -> None:
    """The numbers that the provider never sends to for this account, masked; or whether one number is among them."""
    from posthorn.delivery import accountdesk  # noqa: PLC0415

    desk = accountdesk.desk_of(gateway)
    if phone is not None:
        shown, is_on_it = asyncio.run(accountdesk.is_blacklisted(desk, phone))
        if as_json:
            print_json({"phone": shown, "blacklisted": is_on_it})
        else:
            print(f"{shown}: {'on the blacklist' if is_on_it else 'not on the blacklist'}")
        return
    found = asyncio.run(accountdesk.blacklisted(desk, out))
    if as_json:
        print_json(found)
    else:
        print(accountdesk.blacklist_table(found) if found["count"] else "nobody is on the blacklist")
    if out is not None:
        say(f"{found['count']:,} numbers in full: {out}")


@app.command()
def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="A code such as 3103 or E713, or a report's reason.")],
    gateway: Gateway = None,
    as_json: Json = False,
) -> None:
    """What a code of a provider means: in our words, and in the provider's own where it can be asked."""
    from posthorn.content.plain import plain  # noqa: PLC0415
    from posthorn.delivery import accountdesk  # noqa: PLC0415

    told = asyncio.run(accountdesk.explained(code.strip(), gateway))
    if as_json:
        print_json(told)
        return
    for one in told:
        theirs = f" (the provider: {plain(one['provider'], most=300)})" if one["provider"] else ""
        print(f"{one['gateway']} {one['code']}: {one['meaning'] or 'not in our tables'}{theirs}")
