"""What the commands print: status tables or JSON on standard output, progress and problems on standard error."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import orjson
import typer

from posthorn.content.amounts import many
from posthorn.content.plain import plain
from posthorn.errors import InputError
from posthorn.models import Kind, taken_of
from posthorn.process.terminal import say

if TYPE_CHECKING:
    from posthorn.delivery.running.waiting import Board

POLL_SECONDS = 0.5
PLAIN_EVERY_SECONDS = 5.0


def cannot_listen(host: str, port: int, error: Exception) -> InputError:
    """The error of one of our servers that cannot listen on its address."""
    said = getattr(error, "strerror", None) or error
    return InputError("--port", f"cannot listen on {plain(host, most=80)}:{port} ({said}); name another --host or --port")


def print_json(content: object) -> None:
    """A report for scripts, on standard output."""
    print(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode(), flush=True)


def new_ledger_note(database_url: str) -> str:
    """``; its ledger is new: /srv/posthorn/.posthorn/ledger.db``, or nothing if there is one already.

    A new ledger knows nothing of what was sent before. A person in the wrong folder has to see that.
    """
    from posthorn.ledger.store.engine import ledger_place  # SQLAlchemy takes a moment to import

    place = Path(ledger_place(database_url))
    is_new = database_url.startswith("sqlite") and not os.path.exists(place)  # noqa: PTH110 - false, too, where nobody may look
    return f"; its ledger is new: {place}" if is_new else ""


def other_machines_note(database_url: str) -> str:
    """A note for after a restore, if several machines may use the ledger; empty if only this one can."""
    if database_url.startswith("sqlite"):
        return ""
    return "; if other machines have sent for it, run the same there before anything is sent: each knows its own requests"


def confirm(question: str, *, yes: bool, otherwise: str) -> None:
    """Ask a person at the terminal, unless ``yes``; a no ends the command.

    Raises:
        InputError: there is no terminal to ask at; ``otherwise`` says what to do then.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError("--yes", f"there is no terminal to ask at; {otherwise}")
    typer.confirm(question, abort=True, err=True)


def to_files(files: Mapping[str, tuple[Path | None, Callable[[Path], int]]], one: str, several: str = "") -> None:
    """Write what is exported to the file that each option names, and say how many rows (``one`` of them) each has.

    Raises:
        InputError: no option names a file, or one names ``-``.
    """
    if all(path is None for path, _ in files.values()):
        raise InputError("--csv", "name a file to write: --csv FILE, --jsonl FILE, or both")
    for option, (path, _) in files.items():
        if path == Path("-"):
            raise InputError(option, "expected the name of a file, not -; /dev/stdout writes to the terminal or a pipe")
    for path, write in files.values():
        if path is not None:
            say(f"{path}: {many(write(path), one, several)}")


def show_status(status: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a status as a table, or as JSON."""
    from posthorn.cli.colours import paint
    from posthorn.views.status import status_table

    if as_json:
        print_json(status)
    else:
        # Flushed, so that it keeps its place among the lines of standard error if both go to one file.
        print(status_table(status, paint), flush=True)


def end(kind: Kind, name: str, *, test: bool = False, as_json: bool) -> NoReturn:
    """Show the delivery's status, an event's with its unknown tickets, and end with the exit code for it."""
    from posthorn.views.status import exit_code, status_now
    from posthorn.views.unknowns import unknown_table

    now = status_now(name, test=test)
    show_status(now, as_json=as_json)
    if kind is Kind.EVENT and now["totals"]["unknown"] and not as_json:
        print("\n" + unknown_table(name))
    raise typer.Exit(exit_code(now))


@contextmanager
def ending_early(name: str, *, test: bool = False, as_json: bool) -> Iterator[None]:
    """If another process runs the campaign, or somebody stops the block, say so, and end with the campaign's status.

    Exit code 0 beside another run, or 3 if the file has news for it. After a signal, or a cancellation in Prefect, it is
    what the status says; after a second signal 130; if nothing was planned yet, 130 or 4.
    """
    from posthorn.cli.interrupts import INTERRUPTED, signals
    from posthorn.errors import AlreadyRunning, DeliveryNotFound, NotMerged, Stopped
    from posthorn.views.status import EXIT_NEEDS_ATTENTION, EXIT_STOPPED, exit_code, status_now

    try:
        yield
    except (AlreadyRunning, Stopped, KeyboardInterrupt) as error:
        is_interrupted = not isinstance(error, AlreadyRunning)
        goes_on = "what was under way is recorded; the same command goes on"
        said = str(error) or "interrupted"
        say(f"{said.rstrip('.')}: {goes_on}" if is_interrupted else said)
        try:
            now = status_now(name, test=test)
        except DeliveryNotFound:
            code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else EXIT_STOPPED
            raise typer.Exit(code if is_interrupted else 0) from None
        show_status(now, as_json=as_json)
        ended = INTERRUPTED if signals.came_twice else exit_code(now)
        beside = EXIT_NEEDS_ATTENTION if isinstance(error, NotMerged) else 0
        raise typer.Exit(ended if is_interrupted else beside) from None


class _Teller(logging.Handler):
    """Messages of a run while it goes on: what it waits for, and until when; why a lookup settles nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        say(record.getMessage())


@contextmanager
def following(database_url: str, name: str, *, test: bool) -> Iterator[None]:
    """Show a campaign's progress while the block runs: a bar at a terminal, otherwise a line now and then.

    It only reads the ledger, so it shows what is recorded. It also says what the run waits for.
    """
    from posthorn.delivery.running.waiting import watched

    ended = threading.Event()
    show = _bar if sys.stderr.isatty() else _lines
    teller = _Teller(logging.WARNING)
    logging.getLogger("posthorn").addHandler(teller)
    with watched() as board:
        follower = threading.Thread(target=show, args=(database_url, name, test, ended, board), daemon=True)
        follower.start()
        try:
            yield
        finally:
            logging.getLogger("posthorn").removeHandler(teller)
            ended.set()
            follower.join()


def _counts(database_url: str, name: str, *, test: bool, ended: threading.Event, every: float) -> Iterator[dict[str, int]]:
    """The campaign's totals, repeatedly, once it is planned; the last ones after the block has ended.

    Empty while there are none: it is not planned yet, or the ledger cannot be read, which the run itself reports.
    """
    from posthorn.errors import LedgerError
    from posthorn.ledger import deliveries, totals
    from posthorn.ledger.store.engine import Ledger

    ledger: Ledger | None = None
    try:
        is_last = False
        while not is_last:
            is_last = ended.wait(every)
            try:
                ledger = ledger or Ledger(database_url)
                record = deliveries.find(ledger, name, test=test)
                counted = {} if record is None else totals.totals(ledger, record)
            except LedgerError:
                counted = {}
            yield counted
    finally:
        if ledger is not None:
            ledger.close()


def _bar(database_url: str, name: str, test: bool, ended: threading.Event, board: Board) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    said = ""
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("planning", total=None)
        for counted in _counts(database_url, name, test=test, ended=ended, every=POLL_SECONDS):
            waits = str(board.now or "")
            if waits and waits != said:
                progress.console.print(waits, highlight=False)
                said = waits
            if counted:
                done, total = _done(counted)
                progress.update(bar, description="waiting" if waits else "sending", completed=done, total=total)


def _lines(database_url: str, name: str, test: bool, ended: threading.Event, board: Board) -> None:
    shown, said = -1, ""
    for counted in _counts(database_url, name, test=test, ended=ended, every=PLAIN_EVERY_SECONDS):
        if counted and (done := _done(counted)[0]) != shown:
            say(f"sent {_sent(counted):,} of {_done(counted)[1]:,}; {_others(counted)}")
            shown = done
        if (waits := str(board.now or "")) and waits != said:
            say(waits)
            said = waits


def _sent(counted: Mapping[str, int]) -> int:
    return taken_of(counted)


def _others(counted: Mapping[str, int]) -> str:
    """``in flight 800, unknown 0, rejected 3``"""
    others = [f"in flight {counted['sending']:,}", f"unknown {counted['unknown']:,}"]
    others += [f"{state} {counted[state]:,}" for state in ("rejected", "suppressed", "cancelled") if counted[state]]
    return ", ".join(others)


def _done(counted: Mapping[str, int]) -> tuple[int, int]:
    total = counted["input"] - counted["invalid"] - counted["duplicate"]
    return total - counted["pending"] - counted["sending"], total
