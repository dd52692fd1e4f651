"""How a command ends that was stopped: it says how the campaign stands, and its exit code is never the one of success."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from posthorn.cli.output import ending_early
from posthorn.delivery.planning.plan import plan_file
from posthorn.errors import AlreadyRunning, NotMerged, Stopped
from posthorn.settings import Settings
from tests.delivery.journey import numbers, write_campaign

# What ended it early; the exit code where the campaign is planned and nothing was sent, and where it was never planned.
ENDS = {
    "Ctrl-C": (KeyboardInterrupt(), 4, 130),
    "cancelled in Prefect": (Stopped("the run was cancelled"), 4, 4),
    "another run is at it": (AlreadyRunning("sale is already running"), 0, 0),
    "another run is at it, and the file has news": (NotMerged("sale is already running. It was not merged"), 3, 0),
}


@pytest.mark.parametrize("case", ENDS)
def test_the_exit_code_says_that_it_was_stopped(
    case: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    error, planned, unplanned = ENDS[case]
    assert ended(error) == unplanned
    plan_file(write_campaign(tmp_path, numbers(100)), settings)
    assert ended(error) == planned
    assert '"pending": 100' in capsys.readouterr().out


TWICE = """
import asyncio, os, signal, sys
from posthorn.cli.interrupts import run_interruptibly
from posthorn.cli.output import ending_early
from posthorn.views.status import exit_code  # imported here, so that the end is not late
import typer

async def work():
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
    raise asyncio.CancelledError

try:
    with ending_early("sale", as_json=True):
        run_interruptibly(work)
except typer.Exit as ended:
    sys.exit(ended.exit_code)
"""


def test_a_second_signal_ends_with_130_however_fast_the_end_comes(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    plan_file(write_campaign(tmp_path, numbers(100)), settings)
    process = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, check=False)
    assert (process.returncode, "Traceback" in process.stderr) == (130, False), process.stderr


def ended(error: BaseException) -> int:
    with pytest.raises(typer.Exit) as caught, ending_early("sale", as_json=True):
        raise error
    return caught.value.exit_code


IN_THE_MIDDLE = """
import os, signal, sys, time
from posthorn.cli.interrupts import run_interruptibly

class Busy:
    writes = False
    def isatty(self):
        return False
    def flush(self):
        pass
    def write(self, text):
        if self.writes:
            raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")
        self.writes = True
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)
        self.writes = False

async def work():
    sys.stderr = Busy()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)  # hangs, as in a call to a database that does not answer

run_interruptibly(work)
"""


def test_a_second_signal_that_comes_while_the_first_is_being_said_ends_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", IN_THE_MIDDLE], check=False, timeout=40)
    assert ended.returncode == 130
