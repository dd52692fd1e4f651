"""Finds a file whose name looks like the one that was typed: the same letters in other Unicode forms and spaces."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from posthorn.content.plain import plain
from posthorn.errors import InputError


def existing(path: Path, field: str) -> Path:
    """``path`` if it exists; else the one file in its folder that looks the same; else ``path``.

    A Mac puts a narrow no-break space into a screenshot's name, and may store letters and accents separately.

    Raises:
        InputError: several files look the same, and none has exactly that name.
    """
    try:
        if path.exists() or not path.parent.is_dir():
            return path
        alike = [one for one in path.parent.iterdir() if _looks(one.name) == _looks(path.name)]
    except (OSError, ValueError):  # a loop of links, or an impossible name: opening it reports that
        return path
    if len(alike) > 1:
        raise InputError(field, f"{plain(path.name)}: {len(alike)} files in {path.parent} look like it; rename all but one")
    return alike[0] if alike else path


def _looks(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).split())
