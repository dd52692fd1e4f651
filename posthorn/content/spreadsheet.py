"""Cells of files that people open in a spreadsheet: none is taken for a formula, and none is read as another value.

A spreadsheet that opens CSV guesses: ``00123`` becomes 123, ``48500600700`` becomes 4.85E+10, ``MAR1`` a day in March. So
a value that identifies somebody or something is written as ``="00123"``, which Excel, LibreOffice and Google Sheets show as
that text.
"""

from __future__ import annotations

import re

from posthorn.content.recipients.rejects import spreadsheet_safe

MARK = "\ufeff"
"""The first character of a UTF-8 file, by which Excel recognises it as UTF-8."""

_IS_GUESSED = re.compile(r"\s*(?:0\d[\d .()/-]*|\+\d[\d .()/-]*|\d[\d .()/-]{10,}|\d+[.,]?\d*[eE][+-]?\d+)\s*")
"""A phone number, a number with zeros before it or of too many digits, ``12E5``: what a spreadsheet would change."""


def as_text(value: str) -> str:
    """``value``, a code or a number that identifies something, as a cell that stays as it is; an empty one stays empty."""
    if not value:
        return ""
    line = "".join(character if character.isprintable() else " " for character in value)
    return '="' + line.replace('"', '""') + '"'


def as_cell(value: str) -> str:
    """``value``, somebody's own words, as a cell that is not a formula; a number that would be changed is kept as text."""
    return as_text(value.strip()) if _IS_GUESSED.fullmatch(value) else spreadsheet_safe(value)


def own_columns(columns: list[str], taken: tuple[str, ...]) -> dict[str, str]:
    """Names for a list's own columns beside ours, which are ``taken``: ``state (list)``, and no name twice."""
    names: dict[str, str] = {}
    used = {name.casefold() for name in taken}
    for column in columns:
        name = column
        number = 1
        while name.casefold() in used:
            name = f"{column} (list)" if number == 1 else f"{column} (list {number})"
            number += 1
        names[column] = name
        used.add(name.casefold())
    return names
