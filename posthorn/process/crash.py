"""The last line of defence: an error that nobody foresaw becomes one sentence, and a private file with what happened.

It does not replace proper messages: every error that an operator can cause deserves its own.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

_MAX_SENTENCE_LENGTH = 200
_NUMBER = re.compile(r"\d(?:[ \-./()]?\d){6,}")
_LOGIN = re.compile(r"://[^/\s@]+@")


def crashed(error: BaseException) -> str:
    """Write down what happened; returns the sentence for the operator, which names the file."""
    first = _masked(str(error)).partition("\n")[0][:_MAX_SENTENCE_LENGTH]
    said = f"{type(error).__name__}{f': {first}' if first else ''}"
    place = _write(_masked("".join(traceback.format_exception(error))))
    kept = f"the details are in {place}; add that file when you report it" if place else "the details could not be written"
    return f"unexpected error: {said} ({kept})"


def run_to_exit_code(command: Callable[[], int]) -> int:
    """Run the command; returns its exit code. An error that nobody foresaw becomes a sentence and exit code 1."""
    from posthorn.process.terminal import say

    take_thread_errors()
    try:
        return command()
    except Exception as error:  # noqa: BLE001 - see above: it is what this module is for
        say(f"posthorn: {crashed(error)}")
        return 1


def take_thread_errors() -> None:
    """Make errors of threads end the same way: in a file and a sentence."""
    from posthorn.process.terminal import say

    def hook(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            say(f"posthorn: {crashed(args.exc_value)}")

    threading.excepthook = hook


def _masked(text: str) -> str:
    """The text without anything that could be a phone number or a login."""
    return _LOGIN.sub("://***@", _NUMBER.sub("***", text))


def _write(text: str) -> Path | None:
    """Write it into the state folder, or the folder for temporary files; mode 0600. None if neither works."""
    state = Path(os.environ.get("POSTHORN_STATE_DIR") or ".posthorn")
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-"
    for folder in (state / "crashes", Path(tempfile.gettempdir())):
        try:
            if folder.parent == state:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, path = tempfile.mkstemp(".txt", name, folder)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            return Path(path).absolute()
        except OSError:
            continue
    return None
