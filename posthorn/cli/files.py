"""`posthorn files …`: files stored at the provider."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from posthorn.cli.options import Json
from posthorn.cli.output import confirm, print_json
from posthorn.process.terminal import say

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The account's files at the provider.")

FileId = Annotated[str, typer.Argument(metavar="ID", help="The file's id there, as `posthorn files list` shows it.")]
Type = Annotated[str | None, typer.Option("--type", help="Which files: mms (the default) or voice.")]
Gateway = Annotated[str | None, typer.Option("--gateway", help="Which gateway, if several keep files.")]


@app.callback()
def files() -> None:
    """The account's files at the provider. Campaigns upload theirs by themselves."""


@app.command("list")
def list_files(kind: Type = None, gateway: Gateway = None, as_json: Json = False) -> None:
    """Every file of the account: id, name, size, and when it was stored (in the provider's time). A test account lists none.

    \b
        posthorn files list
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.delivery.provider import files as providerfiles
    from posthorn.views.provider import files_table

    found = asyncio.run(providerfiles.listed(*providerfiles.keeper(gateway, kind)))
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        print(files_table(found) if found else "no files; a test account lists none, whatever it holds")


@app.command()
def add(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A path, or a URL that the provider fetches.")],
    name: Annotated[str | None, typer.Option("--name", help="How it is shown in the account.")] = None,
    kind: Type = None,
    gateway: Gateway = None,
    as_json: Json = False,
) -> None:
    """Store a file and print its id. Voice files are taken by URL only.

    A file from disk is uploaded in the encoding that the account understands, as campaigns do.

    \b
        posthorn files add poster.jpg --name "autumn poster"
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.content.plain import plain
    from posthorn.delivery.provider import files as providerfiles

    file_id, how = asyncio.run(providerfiles.added(*providerfiles.keeper(gateway, kind), source, name))
    if as_json:
        print_json({"id": file_id, "seen": how})
    else:
        print(file_id)
        say(f"{plain(source, most=200)}: {how}")


@app.command()
def view(file_id: FileId, kind: Type = None, gateway: Gateway = None, as_json: Json = False) -> None:
    """Show one file, even one that the list does not show. Exit code 2 if there is no file with that id.

    \b
        posthorn files view 4711
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.delivery.provider import files as providerfiles
    from posthorn.views.provider import files_table

    found = asyncio.run(providerfiles.viewed(*providerfiles.keeper(gateway, kind), file_id))
    if as_json:
        print_json(asdict(found))
    else:
        print(files_table([found]))


@app.command()
def delete(
    file_ids: Annotated[list[str], typer.Argument(metavar="ID…", help="The files' ids there.")],
    kind: Type = None,
    gateway: Gateway = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete files at the provider. It does not document what happens to a scheduled MMS that uses one.

    Campaigns that still need one are named first; they upload it again when they go on. Exit code 2 if one was not there.

    \b
        posthorn files delete 4711 4712
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.content.plain import plain
    from posthorn.delivery.provider import files as providerfiles
    from posthorn.errors import InputError

    keeper = providerfiles.keeper(gateway, kind)
    for name in providerfiles.used_by(keeper[0], file_ids):
        say(f"{name} still needs one of them: messages scheduled at the provider may go out without the picture")
    question = f"Delete {len(file_ids):,} at the provider?"
    confirm(question, yes=yes, otherwise="check the ids, and add --yes to confirm")
    left = asyncio.run(providerfiles.deleted(*keeper, file_ids))
    say(f"deleted {len(file_ids) - len(left):,} of {len(file_ids):,}")
    if left:
        raise InputError("ID", f"not there, or not deleted: {', '.join(plain(one, most=64) for one in left)}")
