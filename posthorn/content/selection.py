"""``only_where``: which rows of a list count, as a campaign or event file says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

Value = str | int | bool


def _checked(rules: dict[str, Value | list[Value]]) -> dict[str, Value | list[Value]]:
    for column, value in rules.items():
        if not column.strip() or value == []:
            raise ValueError('expected a column with the values that count, as in { zgoda = "tak" }')
    return rules


OnlyWhere = Annotated[dict[str, Value | list[Value]], AfterValidator(_checked)]
"""By column: the value or values that a row must have."""


def values_by_column(rules: Mapping[str, Value | list[Value]]) -> dict[str, frozenset[str]]:
    """The rules as casefolded text; true and false become these words."""
    return {
        column: frozenset(_text(one) for one in (values if isinstance(values, list) else [values]))
        for column, values in rules.items()
    }


def _text(value: Value) -> str:
    return str(value).strip().casefold()
