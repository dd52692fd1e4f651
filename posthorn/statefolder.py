"""The state folder and its contents: only for its owner, whatever the umask, and proven writable before a send.

It never changes an existing folder: one that is shared on purpose stays shared.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from posthorn.settings import SettingsError

_PROBE = bytes(4096)


def make_private(folder: Path) -> None:
    """Make the folder, and each folder above it that is missing, with mode 0700.

    ``Path.mkdir`` gives the folders above what the umask leaves, which may be everything or nothing.

    Raises:
        OSError: it cannot be made, or something else has its name.
    """
    missing = []
    above = folder
    while not above.exists():
        missing.append(above)
        above = above.parent
    for one in reversed(missing):
        with suppress(FileExistsError):  # another process was quicker
            one.mkdir(mode=0o700)
            one.chmod(0o700)
    if not folder.is_dir():
        raise NotADirectoryError(20, "it is not a folder", str(folder))


def check_writable(folder: Path) -> None:
    """Make sure that a file can be written in the folder, before anything is sent whose answer would go there.

    Raises:
        SettingsError: it is not a folder, or read-only, or another account's, or its disk is full. Names folder and setting.
    """
    try:
        make_private(folder)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".probe-")
        try:
            os.write(descriptor, _PROBE)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            Path(name).unlink()
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"POSTHORN_STATE_DIR: {folder.absolute()} cannot be written ({getattr(error, 'strerror', None) or error});"
            " nothing was sent. Make it writable for this account, or name another folder"
        ) from None
