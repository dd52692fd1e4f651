"""`posthorn` at a terminal: a command that is given one to write to, and whose questions are answered."""

from __future__ import annotations

import os
import pty
import select
import subprocess

from tests.commands import COMMAND, Desk

PATIENCE_SECONDS = 60.0


class Terminal:
    """A command at a terminal: what it writes is waited for, what a person types is typed."""

    def __init__(self, desk: Desk, *words: str, **more: str) -> None:
        self._own, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [str(COMMAND), *words],
            cwd=desk.folder,
            env=desk.environment({"TERM": "xterm", **more}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.shown = ""

    def read_until(self, words: str) -> None:
        while words not in self.shown:
            ready, _, _ = select.select([self._own], [], [], PATIENCE_SECONDS)
            assert ready, f"{words!r} did not come:\n{self.shown}"
            self.shown += os.read(self._own, 65_536).decode()

    def type(self, line: str) -> None:
        os.write(self._own, f"{line}\n".encode())

    def end(self) -> int:
        """Read on to its end; the exit code."""
        try:
            while data := os.read(self._own, 65_536):
                self.shown += data.decode()
        except OSError:  # Linux: the other side is closed
            pass
        finally:
            os.close(self._own)
        return self.process.wait(PATIENCE_SECONDS)
