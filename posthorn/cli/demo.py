"""`posthorn demo`: a sample campaign and a sample event through the real flows and real HTTP, against a sandbox here."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from posthorn.cli.output import following, show_status
from posthorn.cli.samples import write_campaign, write_event
from posthorn.models import Kind
from posthorn.process.terminal import say

_INBOX = "inbox.jsonl"


def demo(
    recipients: Annotated[int, typer.Option(min=10, max=100_000, help="How many rows the sample campaign has.")] = 1_000,
    attendees: Annotated[int, typer.Option(min=10, max=1_000, help="How many rows the sample event has.")] = 40,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="Keep the files, the ledger and the inbox in this folder, and keep running so that you can look at them."
        ),
    ] = None,
) -> None:
    """Show the whole journey without an account: a campaign and an event's tickets, from file to report.

    A sandbox on this machine stands in for both providers, over real HTTP. Nothing leaves this machine.

    \b
        posthorn demo
        posthorn demo --recipients 5000 --keep demo   # keeps running, for a look at it
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.cli.sandbox_process import sandbox_process

    with tempfile.TemporaryDirectory(prefix="posthorn-demo-") as temporary:
        folder = (keep or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        kept = ("--store", str(folder / _INBOX)) if keep else ()
        with sandbox_process("--speed", "100000", "--undelivered", "0.03", "--silent", "0.01", *kept) as box:
            os.environ.update(box.variables, POSTHORN_DATABASE_URL=f"sqlite:///{folder / 'ledger.db'}")
            os.environ["POSTHORN_STATE_DIR"] = str(folder)
            os.environ["POSTHORN_GUARD_DIR"] = str(folder / "marks")  # a throwaway ledger: its marks are deleted with it
            say(f"1. A sandbox stands in for the providers at {box.url}; no message leaves this machine.")
            all_accounted = _run(folder, recipients, attendees)
            if keep:
                _stay(box.url)
        if keep:
            say(f"The sample files, the ledger and the Prefect history are in {folder}. To see the messages again:")
            say(f"  posthorn sandbox --store {folder / _INBOX}")
    raise typer.Exit(0 if all_accounted else 1)


def _stay(url: str) -> None:
    """Keep the sandbox running until Ctrl-C. Without a terminal nobody looks at it, so it ends at once."""
    say(f"\n6. See what would have arrived: {url}/")
    if not sys.stdin.isatty():
        return
    say("   It stays until you press Ctrl-C.")
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def _run(folder: Path, recipients: int, attendees: int) -> bool:
    from posthorn.cli import runs
    from posthorn.delivery.planning.check import check_campaign, check_event
    from posthorn.settings import load_settings
    from posthorn.views.checked import check_text

    settings = load_settings()
    campaign = write_campaign(folder, recipients)
    event = write_event(folder, attendees)
    say(f"2. The plan of the campaign in {campaign.name}:\n")
    print(check_text(check_campaign(campaign)), flush=True)
    say("\n3. The flow: upload, verify via files/index, send in chunks, report. (A local Prefect server starts first.)\n")
    with runs.prefect_api(settings) as await_api:
        await_api()
        with following(settings.database_url, "demo-autumn-sale", test=False):
            runs.send(Kind.CAMPAIGN, campaign)
        say("\n4. What became of everyone:\n")
        sent = _shown("demo-autumn-sale")
        say(f"\n5. The event in {event.name}: each attendee gets a barcode of their own.\n")
        print(check_text(check_event(event)) + "\n", flush=True)
        with following(settings.database_url, "demo-jazz-night", test=False):
            runs.send(Kind.EVENT, event)
        return _is_accounted_for(sent) and _is_accounted_for(_shown("demo-jazz-night"))


def _shown(name: str) -> dict[str, Any]:
    from posthorn.views.status import status_now

    status = status_now(name)
    show_status(status, as_json=False)
    return status


def _is_accounted_for(status: dict[str, Any]) -> bool:
    return status["balanced"] and not status["totals"]["pending"] and not status["totals"]["sending"]
