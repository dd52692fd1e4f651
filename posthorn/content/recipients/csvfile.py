"""Streams the rows of a CSV file, or of a bare list of numbers, with their physical line numbers.

It holds neither the file nor more than a bounded piece of a line, and never drops a row silently: a row that cannot be read
comes with a reason, and a file in which a stray quote would swallow other rows is refused.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from posthorn.content.filenames import existing
from posthorn.content.plain import plain
from posthorn.content.recipients import columns
from posthorn.content.recipients.phones import MESSAGING, PhoneReader, Reason
from posthorn.content.recipients.textlines import Lines, Watched, decoded, survey
from posthorn.content.regularfile import opened
from posthorn.errors import FileChanged, InputError

LINE_TOO_LONG = Reason("the line is longer than 65,536 characters")
QUOTES_BROKEN = Reason("its quotes do not match")
TOO_MANY_CELLS = Reason("has more cells than the header has columns")

_ROW_LINES = 100
_ONE_COLUMN = "\x1f"
_DELIMITERS = ",;\t|"
_HEADER_LINES = 20
"""The most lines of a header: its quoted cells may hold line breaks."""
_SAMPLE_ROWS = 1_000
_SEP = re.compile(r'\ufeff?"?sep=([^\w"\r\n])"?[\r\n]*', re.IGNORECASE)
"""The first line that tells Excel the delimiter."""
_NUMBER_LIKE = re.compile(r"(?:\d\D{0,2}){7}")

Row = tuple[int, list[str], Reason | None]
"""The line a row begins on, its cells, and why it is rejected, if it is (then the cells may be incomplete)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator says about a list: its column of numbers, the rows that count, the region of its numbers.

    ``only_where`` holds, by column, the values (casefolded) that a row must have.
    """

    region: str = "PL"
    column: str | None = None
    only_where: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Header:
    """The names of the columns as written, the delimiter, the header's first and last line (0 if there is none)."""

    titles: tuple[str, ...]
    delimiter: str
    begins: int
    ends: int


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A surveyed file. ``columns`` are its header's names, casefolded; ``titles`` are the same as written. A bare list has
    only the column ``phone``, and ``header_line`` is 0.

    ``sha256`` is the hash of the file's bytes, ``lines`` an upper bound of its rows, ``phone_column`` an index into
    ``columns``. ``filters`` are indices of columns with the values that a row must have.
    """

    path: Path
    field: str
    sha256: str
    encoding: str
    lines: int
    delimiter: str
    titles: tuple[str, ...]
    columns: tuple[str, ...]
    phone_column: int
    header_line: int
    header_lines: int
    long_lines: bool
    filters: tuple[tuple[int, frozenset[str]], ...] = ()

    @property
    def phone_title(self) -> str:
        """The column of numbers as its header names it, safe to show."""
        return plain(self.titles[self.phone_column], most=60)

    def counts(self, cells: list[str]) -> bool:
        """Whether ``only_where`` lets the row count."""
        return all(
            (cells[index].strip().casefold() if index < len(cells) else "") in values for index, values in self.filters
        )

    def sample(self, index: int, most: int = _SAMPLE_ROWS) -> Counter[str]:
        """The values of a column in the first rows, stripped, with how often each occurs."""
        with contextlib.closing(self.rows()) as rows:
            read = [cells for _, cells, problem in islice(rows, most) if problem is None]
        return Counter(cells[index].strip() if index < len(cells) else "" for cells in read)

    def rows(self) -> Generator[Row, None, None]:
        """Every row except the header and blank ones, in the file's order; the same each time.

        Raises:
            InputError: a stray quote swallows other rows.
            FileChanged: it is no longer the file that was surveyed.
        """
        with opened(self.path, self.field, "a CSV file") as file:
            watched = Watched(file)
            lines = decoded(watched, self.encoding, bounded=self.long_lines)
            yield from self._parsed(lines)
            watched.drain()
            if watched.sha256.hexdigest() != self.sha256:
                raise FileChanged(self.field, f"{self.path} was changed while it was read; start again")

    def record(self, cells: list[str]) -> dict[str, str]:
        """A row's cells by column, stripped; missing cells are empty."""
        padded = [*cells, *[""] * (len(self.columns) - len(cells))]
        return {column: cell.strip() for column, cell in zip(self.columns, padded, strict=False) if column}

    def _parsed(self, lines: Lines) -> Iterator[Row]:
        width, column = len(self.columns), self.phone_column
        for begins, ended, cells, problem in self._records(lines):
            if begins <= self.header_lines:
                continue
            if ended - begins >= _ROW_LINES:
                self._refuse_swallowed(begins, ended)
            if begins <= lines.overlong <= ended:
                yield begins, cells, LINE_TOO_LONG
            elif problem or len(cells) > width:
                crowded = any(cell.strip() for cell in cells[width:])
                yield begins, cells, problem or (TOO_MANY_CELLS if crowded else None)
            elif (len(cells) > column and cells[column].strip()) or any(cell.strip() for cell in cells):
                yield begins, cells, None

    def _records(self, lines: Lines) -> Iterator[tuple[int, int, list[str], Reason | None]]:
        """The rows that the csv module reads, each with its first and last line."""
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
        begins = 1
        while True:
            try:
                for cells in reader:
                    ended = reader.line_num
                    yield begins, ended, cells, None
                    begins = ended + 1
            except csv.Error as error:
                ended = reader.line_num
                self._refuse_swallowed(begins, ended, error)
                yield begins, ended, [], QUOTES_BROKEN
                begins = ended + 1
            else:
                return

    def _refuse_swallowed(self, begins: int, ended: int, error: csv.Error | None = None) -> None:
        """Refuse a row over several lines that ends wrongly or too late: it would hide the rows inside it."""
        at_the_end = error is not None and "unexpected end" in str(error)
        if ended > begins or at_the_end:
            end = "is never closed" if at_the_end else f"runs on to line {ended}"
            raise InputError(self.field, f"{self.path}: a quote opened in line {begins} {end}; correct the quotes there")


def open_csv(path: Path, field: str, wanted: Wanted | None = None) -> CsvFile:
    """Survey ``path`` so that its rows can be streamed. Its bytes are read once, its first rows once more.

    ``field`` is what the operator calls the file ("recipients", "attendees"). Encoding: UTF-8, UTF-16 or UTF-32 by the
    byte order mark; else UTF-8 if all bytes are valid; else cp1250. Delimiter: the one in a first line ``sep=;``, else
    comma, semicolon, tab or bar.

    Raises:
        InputError: no such file, not readable, not text, empty, or without exactly one clear column of numbers.
    """
    wanted = wanted or Wanted()
    path = existing(path, field)
    found = survey(path, field)
    header = _header(path, field, found.encoding)
    titles, header_lines, header_line = header.titles, header.ends, header.begins
    if wanted.column is None and len(titles) == 1 and _is_bare(titles[0]):
        titles, header_lines, header_line = ("phone",), header.begins - 1, 0
    file = CsvFile(
        path=path,
        field=field,
        sha256=found.sha256,
        encoding=found.encoding,
        lines=found.lines,
        delimiter=header.delimiter,
        titles=titles,
        columns=tuple(title.casefold() for title in titles),
        phone_column=0,
        header_line=header_line,
        header_lines=header_lines,
        long_lines=found.long_lines,
    )
    filters = tuple(columns.wanted_rows(wanted.only_where, titles))
    return replace(file, phone_column=_phone_column(file, wanted), filters=filters)


def _is_bare(cell: str) -> bool:
    """Whether the only cell of the first line is a value and not a name: it has digits, and is not a name for numbers."""
    return bool(re.search(r"\d", cell)) and not columns.is_phone_name(cell)


def _phone_column(file: CsvFile, wanted: Wanted) -> int:
    if wanted.column is not None:
        return columns.named_column(file.titles, wanted.column, "column")

    def share(index: int) -> float | None:
        reader = PhoneReader(wanted.region, kinds=MESSAGING)
        values = {value: count for value, count in file.sample(index).items() if value}
        good = sum(count for value, count in values.items() if not isinstance(reader.read(value), Reason))
        return good / sum(values.values()) if values else None

    if file.header_line and sum(bool(_NUMBER_LIKE.search(title)) for title in file.titles):
        raise InputError(file.field, f"{file.path} has no header: its first line must name the columns, such as phone")
    found = columns.phone_column(file.titles, share)
    if found is None:
        listed = columns.listed(file.titles)
        raise InputError(
            file.field,
            f"{file.path} has no column of numbers; columns found: {listed}; expected one named phone, telefon, mobile or"
            ' the like, or its name in the file: column = "…"',
        )
    return found


def _header(path: Path, field: str, encoding: str) -> _Header:
    """The header: the first row that is not blank. It is read as a row, since a quoted cell may hold line breaks."""
    with opened(path, field, "a CSV file") as file:
        lines = decoded(file, encoding, bounded=True)
        first, head = _first_lines(lines, path, field)
    forced = _SEP.fullmatch(head[0].strip(" \ufeff"))
    if forced:
        blank = next((number for number, line in enumerate(head[1:], start=1) if line.strip()), None)
        if blank is None:
            raise InputError(field, f"{path} has no rows")
        first, head = first + blank, head[blank:]
    head[0] = head[0].lstrip("\ufeff")
    best = max(forced[1] if forced else _DELIMITERS, key=lambda delimiter: _merit(head, delimiter))
    cells, length = _first_record(head, best)
    if len(cells) < 2:
        best = _ONE_COLUMN
        cells, length = _first_record(head, best)
    if length > 1 and any(_NUMBER_LIKE.search(line) for cell in cells for line in cell.splitlines()[1:]):
        ends = first + length - 1
        raise InputError(field, f"{path}: a quote opened in line {first} runs on to line {ends}; correct the quotes there")
    titles = tuple(" ".join(cell.split()) for cell in cells)
    return _Header(titles, best, first, first + length - 1)


def _first_lines(lines: Lines, path: Path, field: str) -> tuple[int, list[str]]:
    """The number of the first line that is not blank, and the lines from there on that a header may use."""
    first, head = 0, list[str]()
    for number, line in enumerate(lines, start=1):
        if lines.overlong:
            if not head:
                raise InputError(field, f"{path}: {LINE_TOO_LONG} where the header should be (line {number})")
            break
        if head or line.strip().strip("\ufeff"):
            first = first or number
            head.append(line)
        if len(head) == _HEADER_LINES:
            break
    if not head:
        raise InputError(field, f"{path} has no rows")
    return first, head


def _merit(head: list[str], delimiter: str) -> tuple[bool, int]:
    """How well a delimiter fits: whether it gives a column with a name for numbers, then how many cells it gives."""
    cells, _ = _first_record(head, delimiter)
    whole = [cell for cell in cells if not any(other in cell for other in _DELIMITERS)]
    named = any(columns.is_phone_name(cell) or columns.is_weak_phone_name(cell) for cell in whole)
    return named and len(cells) > 1, len(cells)


def _first_record(head: list[str], delimiter: str) -> tuple[list[str], int]:
    """The cells of the first row and its number of lines; those of its first line if its quotes do not match."""
    reader = csv.reader(head, delimiter=delimiter, strict=True)
    try:
        return next(reader, []), reader.line_num
    except csv.Error:
        return next(csv.reader([head[0].rstrip("\r\n")], delimiter=delimiter), []), 1
