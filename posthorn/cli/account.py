"""`posthorn account …`: what the provider says about the account."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from posthorn.cli.options import Json
from posthorn.cli.output import confirm, print_json
from posthorn.process.terminal import say

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The account at the provider.")

Gateway = Annotated[str | None, typer.Option("--gateway", help="Which gateway; without this, the first that can.")]


@app.callback()
def account() -> None:
    """What the provider says about the account. Sends no message."""


@app.command()
def probe(
    gateway: Annotated[
        str | None, typer.Option("--gateway", help="Only this gateway; without this, all that have credentials.")
    ] = None,
    test_number: Annotated[
        str | None,
        typer.Option(
            "--test-number",
            help="Your own number: also a send with test=true to it, which some accounts really send.",
        ),
    ] = None,
    send_to: Annotated[
        str | None,
        typer.Option("--send-to", help="Your own number: one real message to it, and one that is held and withdrawn."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the exchange to this file, without secrets and numbers.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --send-to.")] = False,
    as_json: Json = False,
) -> None:
    """Turn what is inferred about the account into what is known. Sends nothing by default.

    Makes every call that costs nothing; a tiny picture is uploaded in each encoding and deleted again. Lists what Posthorn
    relies on, where each item comes from, and whether it holds. The results are kept in the ledger; uploads,
    `hold_minutes`, reconciliation and `posthorn doctor` use them. Exit code 0, or 3 if something does not hold.

    \b
        posthorn account probe
        posthorn account probe --save probe.txt --send-to "+48 500 600 700"
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.content.recipients.number import read_phone
    from posthorn.delivery.provider import probe as probes
    from posthorn.models import Verdict, mask_phone
    from posthorn.settings import load_settings
    from posthorn.views.provider import probe_table

    settings = load_settings()
    chosen = probes.probed(gateway, settings)
    checked = None if test_number is None else read_phone(test_number, settings)
    real = None if send_to is None else read_phone(send_to, settings)
    if real is not None:
        question = f"Send one or two real messages, at their price, to {mask_phone(real)}?"
        confirm(question, yes=yes, otherwise="--send-to sends real messages: add --yes to confirm")
    found = []
    with probes.recording(chosen, settings, save) as tap:
        for one in chosen:
            order = {"test_number": checked, "send_to": real, "tap": tap, "say": say}
            told = asyncio.run(probes.probe(one, settings, **order))
            found += probes.as_json(one, told)
            if not as_json:
                print(f"{one.title}\n{probe_table(told)}", flush=True)
    if as_json:
        print_json(found)
    if save is not None:
        say(f"the exchange, without secrets and numbers: {save}")
    raise typer.Exit(3 if any(one["verdict"] == Verdict.OTHER for one in found) else 0)


@app.command()
def limits(gateway: Gateway = None, as_json: Json = False) -> None:
    """How many messages may still be sent, by kind. The provider asks not to call this every few seconds.

    \b
        posthorn account limits
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.delivery.provider import account
    from posthorn.views.provider import limits_table

    found = asyncio.run(account.limits(account.teller(gateway)))
    if as_json:
        print_json(found)
    else:
        print(limits_table(found))


@app.command()
def blacklist(
    phone: Annotated[str | None, typer.Argument(metavar="[PHONE]", help="Look for this number only.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write all of them, in full, to this CSV (mode 0600).")] = None,
    gateway: Gateway = None,
    as_json: Json = False,
) -> None:
    """The numbers that the provider never sends to for this account, masked; or whether one number is among them.

    \b
        posthorn account blacklist
        posthorn account blacklist "+48 500 600 700"
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.delivery.provider import account
    from posthorn.views.provider import blacklist_table

    teller = account.teller(gateway)
    if phone is not None:
        shown, is_on_it = asyncio.run(account.is_blacklisted(teller, phone))
        if as_json:
            print_json({"phone": shown, "blacklisted": is_on_it})
        else:
            print(f"{shown}: {'on the blacklist' if is_on_it else 'not on the blacklist'}")
        return
    found = asyncio.run(account.blacklisted(teller, out))
    if as_json:
        print_json(found)
    else:
        print(blacklist_table(found) if found["count"] else "nobody is on the blacklist")
    if out is not None:
        say(f"{found['count']:,} numbers in full: {out}")


@app.command()
def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="A code such as 3103 or E713, or a report's reason.")],
    gateway: Gateway = None,
    as_json: Json = False,
) -> None:
    """What a provider's code means: in our words, and in the provider's own if it can be asked.

    \b
        posthorn account explain 3103
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.content.plain import plain
    from posthorn.delivery.provider import account

    told = asyncio.run(account.explained(code.strip(), gateway))
    if as_json:
        print_json(told)
        return
    for one in told:
        theirs = f" (the provider: {plain(one['provider'], most=300)})" if one["provider"] else ""
        print(f"{one['gateway']} {one['code']}: {one['meaning'] or 'not in our tables'}{theirs}")
