"""Who is at the terminal, for the record of a decision."""

from __future__ import annotations

import getpass
import os


def operator_name() -> str:
    """The account's name, from LOGNAME or USER or the system; ``user 1000`` if it has none, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"user {os.getuid()}"
