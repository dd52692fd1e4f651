"""Finds a file whose name looks like the one that was typed: the same letters in other Unicode forms and spaces."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from posthorn.content.plain import plain
from posthorn.errors import InputError


def existing(path: Path, field: str) -> Path:
    """``path`` where it exists; else the one file of its folder that looks the same; else ``path`` again.

    A screenshot of a Mac has a narrow no-break space in its name, and its disk may hold letters and accents apart.

    Raises:
        InputError: several files look the same, and none has exactly that name.
    """
    try:
        if path.exists() or not path.parent.is_dir():
            return path
        alike = [one for one in path.parent.iterdir() if _looks(one.name) == _looks(path.name)]
    except (OSError, ValueError):  # a loop of links, a name no file can have: whoever opens it says so
        return path
    if len(alike) > 1:
        raise InputError(field, f"{plain(path.name)}: {len(alike)} files in {path.parent} look like it; rename all but one")
    return alike[0] if alike else path


def _looks(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).split())
