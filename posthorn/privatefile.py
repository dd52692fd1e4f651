"""Files that hold people's numbers: only for their owner, never half written, never replacing anything but a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from posthorn.errors import InputError


@contextmanager
def written_privately(out: Path) -> Iterator[IO[str]]:
    """A file (UTF-8, mode 0600) that replaces ``out`` when the block ends well, and is deleted when it does not.

    A link stays a link: what it points to is replaced.

    Raises:
        InputError: it cannot be written there, or ``out`` is a folder, a device or a pipe.
    """
    try:
        target = out.resolve()
        if target.exists() and not target.is_file():
            raise InputError("export", f"{out} is not a file; name one that may be written or replaced")
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # its mode is 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                yield file
            os.replace(name, target)  # noqa: PTH105 - the one call known to replace atomically everywhere
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError("export", f"{out} cannot be written ({error.strerror or error})") from None
