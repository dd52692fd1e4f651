"""Opens the files that an operator names, and only regular files: a pipe would wait for ever, and a device never ends."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posthorn.errors import InputError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_SYSTEM_FOLDERS = ("/proc/", "/sys/")  # they look like regular files, but some wait and some never end


@contextmanager
def opened(path: Path, field: str, expected: str = "a file", label: str = "") -> Iterator[io.FileIO]:
    """The regular file at ``path``, open for reading bytes.

    ``label`` is put before each problem, ``expected`` says what should be there (``a TOML file``). Errors while reading
    inside the block are explained, too.

    Raises:
        InputError: it does not exist, is not a regular file, or cannot be read.
    """
    shown = f"{label}{path}"
    try:
        descriptor = _descriptor(path)
        if kind := _kind(descriptor, path):
            os.close(descriptor)
            raise InputError(field, f"{shown} is {kind}; expected {expected}")
        with io.FileIO(descriptor, "r") as file:
            yield file
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(field, f"{shown} does not exist") from None
    except OSError as error:
        if error.errno == errno.ENXIO:  # the error of opening a socket
            raise InputError(field, f"{shown} is a socket; expected {expected}") from None
        raise InputError(field, f"{shown} cannot be read ({error.strerror or error})") from None


def _descriptor(path: Path) -> int:
    """Open it without waiting: a named pipe would make us wait for somebody who writes to it."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:  # a NUL, or a lone surrogate
        raise FileNotFoundError(errno.ENOENT, "no file can have that name") from None


def _kind(descriptor: int, path: Path) -> str:
    """What it is instead of a regular file, in words; empty if it is one. The open file is asked: nobody can exchange it."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return "a file of the system" if os.path.realpath(path).startswith(_SYSTEM_FOLDERS) else ""
    return next((words for is_kind, words in _KINDS if is_kind(mode)), "something other than a file")
