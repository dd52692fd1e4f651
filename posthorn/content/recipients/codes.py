"""The ticket codes of a list: which column holds them, what a code may be, and which are easily confused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from posthorn.content.plain import plain
from posthorn.content.recipients import columns
from posthorn.content.recipients.csvfile import CsvFile
from posthorn.content.recipients.phones import Reason
from posthorn.content.warnings import Caution
from posthorn.errors import InputError

_EXPONENT = re.compile(r"\d+(?:[.,]\d+)?E\+\d+|\d+[.,]\d+E\d+", re.IGNORECASE)
_DECIMAL = re.compile(r"\d+[.,]0+")
_SHOWN = 5


class WrongCode(Reason):
    """Why a row's code cannot be sent. Such a row is shown by its code, not by its number."""

    __slots__ = ()


MISSING = WrongCode("the barcode id is missing")
SHORTENED = WrongCode("the barcode id was shortened by a spreadsheet, its digits are lost: format the column as text")
DECIMAL = WrongCode("the barcode id is a decimal number: format the column as text")


@dataclass(frozen=True, slots=True)
class CodeRules:
    """What a code may be: letters, digits, dashes and underscores, up to ``most`` of them (a setting)."""

    most: int

    def takes(self, code: str) -> bool:
        """Whether the code can be sent."""
        return 0 < len(code) <= self.most and re.fullmatch(r"[A-Za-z0-9_-]+", code) is not None


def wrong_code(code: str, rules: CodeRules) -> WrongCode | None:
    """Why the code cannot be sent; None if it can."""
    if rules.takes(code):
        return None
    if not code:
        return MISSING
    if _EXPONENT.fullmatch(code):
        return SHORTENED
    if _DECIMAL.fullmatch(code):
        return DECIMAL
    return WrongCode(f"the barcode id is not 1 to {rules.most} letters (a-z), digits, dashes or underscores")


def code_column(file: CsvFile, wanted: str | None, rules: CodeRules, *, generates: bool) -> int | None:
    """The column of codes, or None if every code is to be generated.

    A column whose name may mean codes is used if no code is generated; otherwise the operator is asked.

    Raises:
        InputError: no column is found and no code is generated, two columns could be meant, or one may not be ignored.
    """
    if wanted is not None:
        return _wanted(file, wanted, generates=generates)
    certain = [index for index, title in enumerate(file.titles) if columns.is_code_name(title)]
    likely = certain or [
        index
        for index, title in enumerate(file.titles)
        if index != file.phone_column and columns.may_be_code_name(title) and _look_like_codes(file, index, rules)
    ]
    if len(likely) > 1:
        names = ", ".join(f'"{plain(file.titles[index])}"' for index in likely)
        raise InputError(
            "barcode_column",
            f"{file.path} has more than one column of codes: {names};"
            f" {columns.which_of(file.titles, likely, 'barcode_column')}",
        )
    if likely and generates and not certain:
        name = plain(file.titles[likely[0]])
        raise InputError(
            "barcode_column",
            f'the column "{name}" may hold codes, and barcode = "generate" would ignore them; use them with'
            f' barcode_column = "{name}", or generate all with barcode_column = ""',
        )
    if not likely and not generates:
        raise InputError(
            "attendees",
            f"{file.path} has no column barcode_id (it has {columns.listed(file.titles)}); name it with barcode_column ="
            ' "…", or set barcode = "generate"',
        )
    return likely[0] if likely else None


def _wanted(file: CsvFile, wanted: str, *, generates: bool) -> int | None:
    if wanted:
        return columns.named_column(file.titles, wanted, "barcode_column")
    if not generates:
        raise InputError("barcode_column", 'it is empty, so no column has codes; set barcode = "generate" too')
    return None


def _look_like_codes(file: CsvFile, index: int, rules: CodeRules) -> bool:
    """Whether most values could be codes and hardly any occurs twice, as a kind of ticket would."""
    values = {value: count for value, count in file.sample(index).items() if value}
    total = sum(values.values())
    fit = sum(count for value, count in values.items() if rules.takes(value) or _EXPONENT.fullmatch(value))
    return bool(total) and fit * 2 > total and len(values) * 10 >= total * 9


def alike_caution(alike: Sequence[tuple[int, int, str, str]]) -> list[Caution]:
    """A warning about codes that differ only in case or leading zeros: (line, later line, code, later code) of each pair."""
    if not alike:
        return []
    shown = "; ".join(
        f"{plain(code)} in line {line} and {plain(other)} in line {later}" for line, later, code, other in alike[:_SHOWN]
    )
    more = f"; and {len(alike) - _SHOWN:,} more" if len(alike) > _SHOWN else ""
    return [
        Caution(
            "codes_alike",
            f"codes that differ only in case or leading zeros, which a scanner may take for the same: {shown}{more}",
        )
    ]
