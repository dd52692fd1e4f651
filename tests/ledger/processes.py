"""Child processes of the ledger's tests, started, waited for and always ended."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).parents[2]


@contextmanager
def owner(url: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running ``tests.ledger.owner``, and the first line it said."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.owner", url, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )
    try:
        assert child.stdout is not None
        yield child, child.stdout.readline().strip()
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def until(happened: Callable[[], bool], most: float = 30.0) -> None:
    """Wait until ``happened`` is true; an AssertionError if it is not after ``most`` seconds."""
    deadline = time.monotonic() + most
    while not happened():
        assert time.monotonic() < deadline, f"it has not happened after {most} s"
        time.sleep(0.01)
