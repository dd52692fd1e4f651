"""Warnings about a list: a column that may say who wants no messages, a column of numbers that holds hardly any."""

from __future__ import annotations

from collections.abc import Iterator

from posthorn.content.plain import plain
from posthorn.content.recipients import columns
from posthorn.content.recipients.csvfile import CsvFile
from posthorn.content.recipients.phones import MESSAGING, PhoneReader, Reason
from posthorn.content.warnings import Caution

_SHOWN_VALUES = 4
_MAX_VALUES = 20
_MAX_VALUE_LENGTH = 24


def list_cautions(file: CsvFile, region: str) -> list[Caution]:
    """Warnings about the columns of a list, from their names and the first thousand rows."""
    return [*_consent(file), *_doubtful_column(file, region)]


def _consent(file: CsvFile) -> Iterator[Caution]:
    filtered = {index for index, _ in file.filters}
    for index, title in enumerate(file.titles):
        if index in filtered or index == file.phone_column or not columns.is_consent_name(title):
            continue
        values = {value: count for value, count in file.sample(index).items() if value}
        if not values or len(values) > _MAX_VALUES:
            continue
        most = sorted(values.items(), key=lambda item: -item[1])[:_SHOWN_VALUES]
        shown = ", ".join(f"{plain(value, most=_MAX_VALUE_LENGTH)} ({count:,})" for value, count in most)
        name = plain(title, most=40)
        key = name if name.isascii() and name.replace("_", "").isalnum() else f'"{name}"'
        yield Caution(
            "consent_column",
            f'column "{name}" may say who wants no messages: {shown};'
            f' only_where = {{ {key} = "…" }} takes only the rows with the value you name',
        )


def _doubtful_column(file: CsvFile, region: str) -> Iterator[Caution]:
    """A warning if most values of the column are not numbers and those of another column are."""
    if _share(file, file.phone_column, region) >= 0.5:
        return
    others = [index for index in range(len(file.titles)) if index != file.phone_column]
    better = next((index for index in others if _share(file, index, region) > 0.5), None)
    if better is not None:
        name = plain(file.titles[better], most=40)
        yield Caution(
            "column_doubtful",
            f'most values of column "{file.phone_title}" are not numbers that an MMS reaches, and those of "{name}" are;'
            f' should it be column = "{name}"?',
        )


def _share(file: CsvFile, index: int, region: str) -> float:
    reader = PhoneReader(region, kinds=MESSAGING)
    values = {value: count for value, count in file.sample(index, 200).items() if value}
    good = sum(count for value, count in values.items() if not isinstance(reader.read(value), Reason))
    return good / sum(values.values()) if values else 0.0
