"""Words for the person who watches a command, on standard error: standard output stays a report."""

from __future__ import annotations

import sys

from posthorn.content.plain import plain_lines


def say(line: str) -> None:
    """One line for the person who watches, on standard error, so that standard output stays a report."""
    print(plain_lines(line), file=sys.stderr, flush=True)


def fail(error: Exception, code: int) -> int:
    """Say what is wrong, on standard error; returns the exit code."""
    for line in plain_lines(str(error)).split("\n") if str(error).strip() else [type(error).__name__]:
        print(f"posthorn: {line}", file=sys.stderr)
    return code
