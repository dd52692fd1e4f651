"""The path of a file as a person pastes it into a form: in quotes, with a newline, or wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from posthorn.content.plain import plain
from posthorn.errors import InputError

_QUOTES = "\"'`“”„‘’ \t\r\n"
_MAX_LISTED = 12


def pasted(said: str) -> Path:
    """The path in the pasted text, without surrounding quotes and blanks, and without ``file://``."""
    bare = said.strip(_QUOTES)
    return Path(unquote(bare.removeprefix("file://")) if bare.startswith("file://") else bare).expanduser()


def given_file(said: str, field: str) -> Path:
    """The file that was pasted into the field of a form.

    Raises:
        InputError: there is no such file; the message says where it was looked for and which files are there.
    """
    path = pasted(said)
    if path.exists():
        return path
    looked = path if path.is_absolute() else Path.cwd() / path
    folder = looked.parent if looked.parent.is_dir() else Path.cwd()
    found = [plain(str(one)) for one in _files(folder)]
    more = f" and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
    listed = ", ".join(found[:_MAX_LISTED]) + more
    there = f"in {folder} there are: {listed}" if found else f"in {folder} there is no TOML file"
    raise InputError(field, f"{plain(str(looked))} does not exist on this machine; {there}")


def _files(folder: Path) -> Iterator[Path]:
    """The TOML files of a folder, and of those directly in it, as paths within it."""
    for pattern in ("*.toml", "*/*.toml"):
        yield from (one.relative_to(folder) for one in sorted(folder.glob(pattern)) if one.name != "pyproject.toml")
