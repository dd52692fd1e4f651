"""Processes of a drill, forked from a parent that has everything loaded: real processes, killed by real signals.

The parent must have no threads and no open ledger when it forks. A child never returns into its parent's code.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

CRASHED = 70
_PAUSE_SECONDS = 0.005
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Child:
    """One forked process that runs ``work`` and ends with the exit code that it returns. What it prints goes to ``log``."""

    def __init__(self, work: Callable[[], int], log: Path | None, *, closing: tuple[int, ...] = ()) -> None:
        self.exit_code: int | None = None
        # A signal that comes before the child has settled in would run its parent's handler in it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self.pid = os.fork()
        if self.pid != 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        else:
            code = CRASHED
            try:
                _settle_in(log, closing)
                code = work()
            except BaseException:  # noqa: BLE001 - whatever it is, it must not reach the parent's code
                traceback.print_exc()
            finally:
                os._exit(code)

    def signal(self, number: int) -> None:
        """Send a signal, if it still lives."""
        if self.is_alive():
            os.kill(self.pid, number)

    def is_alive(self) -> bool:
        """Whether it still runs (or is stopped)."""
        if self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
        return self.exit_code is None

    def wait(self, seconds: float) -> int | None:
        """Its exit code (minus the signal that ended it), or None if it has not ended within ``seconds``."""
        deadline = time.monotonic() + seconds
        while self.is_alive() and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
        return self.exit_code

    def end(self) -> None:
        """End it now, stopped or not."""
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.wait(10)


def import_what_it_imports(work: Callable[[], int], folder: Path) -> None:
    """Import in this process what ``work`` imports on its way, so that children forked from here need not.

    Much is imported where it is first needed. On a busy machine that took longer than the requests' short time-out.
    """
    listed = folder / "modules.json"

    def list_modules() -> int:
        code = work()
        listed.write_text(json.dumps(sorted(sys.modules)), encoding="utf-8")
        return code

    code = Child(list_modules, folder / "imports.log").wait(60)
    if code != 0:
        raise RuntimeError(f"what children import is not known (exit code {code}); see {folder / 'imports.log'}")
    for name in json.loads(listed.read_text(encoding="utf-8")):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _settle_in(log: Path | None, closing: tuple[int, ...]) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    for descriptor in closing:
        os.close(descriptor)
    if log is not None:
        out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
    random.seed()  # else every child would draw its parent's numbers
