"""`posthorn messages …`: what was sent to one number."""

from __future__ import annotations

from typing import Annotated

import typer

from posthorn.cli.options import Json

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look up single messages.")


@app.callback()
def messages() -> None:
    """Look up single messages."""


@app.command()
def find(
    phone: Annotated[str, typer.Argument(metavar="PHONE", help="The number, written any way.")],
    as_json: Json = False,
) -> None:
    """One number's history over all campaigns and events of the ledger.

    \b
        posthorn messages find "+48 500 600 700"
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.views.messages import find_messages

    print(find_messages(phone, as_json=as_json))
