"""`posthorn demo`: a sample campaign through the real flows and real HTTP, against a sandbox on this machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from posthorn.cli.output import following, say, show_status

_CAMPAIGN = """\
name = "demo-autumn-sale"
title = "Autumn sale"
text = "Everything -30% until Sunday"
media = ["poster.png"]
recipients = "recipients.csv"
chunk_size = 50
"""
_NOT_NUMBERS = ("12", "call me", "+48 22", "500 600", "0048")


def demo(
    recipients: Annotated[int, typer.Option(min=10, max=100_000, help="How many rows the sample file has.")] = 1_000,
    keep: Annotated[Path | None, typer.Option(help="Keep the sample files and the ledger in this folder.")] = None,
) -> None:
    """Show the whole journey without an account: sandbox, campaign, reports, table.

    Nothing leaves this machine.
    """
    with tempfile.TemporaryDirectory(prefix="posthorn-demo-") as temporary:
        folder = (keep or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with _sandbox() as (url, variables):
            os.environ.update(variables, POSTHORN_DATABASE_URL=f"sqlite:///{folder / 'ledger.db'}")
            os.environ["POSTHORN_STATE_DIR"] = str(folder)
            say(f"1. A sandbox stands in for the provider at {url}; no message leaves this machine.")
            code = _campaign(_sample(folder, recipients))
        if keep:
            say(f"The sample files, the ledger and the Prefect history are in {folder}.")
    raise typer.Exit(code)


def _campaign(file: Path) -> int:
    from posthorn.cli import runs  # noqa: PLC0415
    from posthorn.delivery.check import check_campaign  # noqa: PLC0415
    from posthorn.delivery.status import status_now  # noqa: PLC0415
    from posthorn.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    checked = check_campaign(file)
    say(f"2. The plan of {file.name}:\n")
    print(checked.as_text(), flush=True)
    say("\n3. The flow: upload, verify via files/index, send in chunks, report. (A local Prefect server starts first.)\n")
    with runs.prefect_api(settings), following(settings.database_url, checked.name, test=False):
        runs.send_campaign(str(file))
    say("\n4. What became of everyone:\n")
    status = status_now(checked.name)
    show_status(status, as_json=False)
    accounted = status["balanced"] and not status["totals"]["pending"] and not status["totals"]["sending"]
    return 0 if accounted else 1


@contextmanager
def _sandbox() -> Iterator[tuple[str, dict[str, str]]]:
    """A sandbox in a process of its own, until the block ends: its URL and the variables that point to it."""
    from posthorn.cli.sandbox_process import sandbox_process  # noqa: PLC0415

    with sandbox_process("--speed", "100000", "--undelivered", "0.03", "--silent", "0.01") as box:
        yield box.url, box.variables


def _sample(folder: Path, rows: int) -> Path:
    """Write a campaign file with its recipients (a few of them wrong or twice) and a picture; the campaign file's path."""
    from PIL import Image, ImageDraw  # noqa: PLC0415

    picture = Image.new("RGB", (320, 200), "#f4a259")
    ImageDraw.Draw(picture).text((110, 90), "Autumn sale -30%", fill="#222222")
    picture.save(folder / "poster.png")
    numbers = [f"+48 5{index // 1000 % 100:02} {index % 1000:03} {index * 37 % 1000:03}" for index in range(rows)]
    numbers[3 : 3 + len(_NOT_NUMBERS)] = _NOT_NUMBERS
    numbers[-1] = numbers[0]
    (folder / "recipients.csv").write_text("phone\n" + "\n".join(numbers) + "\n", encoding="utf-8")
    file = folder / "campaign.toml"
    file.write_text(_CAMPAIGN, encoding="utf-8")
    return file
