"""The surroundings of a process of ours, made safe before anything else runs: streams, umask, warnings, home, folder.

The output may be closed, the home missing, the folder deleted. None of that may stop a send half-way or end in a traceback.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, cast

from typing_extensions import override

_READER_GONE = (errno.EPIPE, errno.EIO, errno.ECONNRESET)
_PRIVATE_UMASK = 0o077


def settle() -> None:
    """Make the surroundings safe; the first thing that `posthorn` and `make serve` do."""
    _open_standard_streams()
    _speak_utf8()
    os.umask(_PRIVATE_UMASK)  # ledger, answers and Prefect's own files hold numbers; ours and our children's are 0600
    if os.environ.pop("PYTHONWARNINGS", None) or sys.warnoptions:
        warnings.simplefilter("ignore")  # PYTHONWARNINGS=error would make libraries fail over their own warnings
    sys.stdout, sys.stderr = _lasting(sys.stdout), _lasting(sys.stderr)
    _have_home()


def refusal(arguments: Sequence[str]) -> str | None:
    """Why nothing can be done from here, as a sentence, or None."""
    try:
        folder = str(Path.cwd())
    except OSError as error:
        return f"the current folder cannot be used ({error.strerror}); change to one that is there: cd"
    if not _is_text(folder):
        return f"the name of the current folder is not text in UTF-8: {_escaped(folder)}; work in another, or rename it"
    for argument in arguments:
        if not _is_text(argument):
            return (
                f"an argument is not text in UTF-8: {_escaped(argument)}; rename the file, or mend your terminal's encoding"
            )
        if "\0" in argument:
            return "an argument holds a NUL character"
    return None


def lost_output() -> str | None:
    """Why the output did not arrive, or None. A reader that has left, as `head` does, is not a reason."""
    for stream in (sys.stdout, sys.stderr):
        raw = getattr(getattr(stream, "buffer", None), "raw", None)
        if isinstance(raw, _LastingOutput):
            stream.flush()
            if raw.problem is not None:
                return raw.problem
    return None


class _LastingOutput(io.RawIOBase):
    """A stream that never fails: after the first error nothing more is written, and the program goes on."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_lost = False
        self.problem: str | None = None

    @override
    def writable(self) -> bool:
        return True

    @override
    def fileno(self) -> int:
        return self._descriptor

    @override
    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    @override
    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        if not self._is_lost:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                return self._when_ready(data)
            except OSError as error:
                self._is_lost = True
                self.problem = None if error.errno in _READER_GONE else error.strerror
        return len(data)

    def _when_ready(self, data: bytes | bytearray | memoryview) -> int:
        """Another program left the terminal in non-blocking mode: wait until it takes more."""
        import select  # hardly ever needed

        select.select([], [self._descriptor], [])
        return self.write(data)


def _lasting(stream: TextIO) -> TextIO:
    """The stream, made so that neither an odd character nor a reader that has left can stop the program."""
    stream.flush()
    raw = cast("io.RawIOBase", _LastingOutput(stream.fileno()))
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer, encoding=stream.encoding, errors="backslashreplace", line_buffering=bool(stream.line_buffering)
    )


def _open_standard_streams() -> None:
    """Open /dev/null for each closed standard stream. Otherwise the next file would get its number and be written to."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open to the end
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _speak_utf8() -> None:
    """Start again if this locale cannot spell folders and arguments: Python settles its encoding when it starts."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"  # for children, too
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very command


def _have_home() -> None:
    """Name some folder if the account has no home at all: libraries ask for one when they are imported."""
    try:
        Path.home()
    except RuntimeError:  # no HOME, and no entry for this account
        os.environ["HOME"] = os.sep


def _is_text(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _escaped(value: str) -> str:
    return value.encode("ascii", "backslashreplace").decode()
