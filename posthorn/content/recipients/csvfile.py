"""Streams the rows of a CSV file, or of a bare list of numbers, with their physical line numbers.

It holds neither the file nor more than a bounded piece of a line, and never drops a row silently: what cannot be read comes
out as a row with a reason, and what would swallow other rows (a stray quote) refuses the file.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from posthorn.content.recipients.phones import Reason
from posthorn.content.regularfile import opened
from posthorn.errors import InputError

PHONE_COLUMNS = ("phone", "number", "msisdn", "telefon", "numer")
"""What the column of numbers may be called, in any case."""

LINE_TOO_LONG = Reason("the line is longer than 65,536 characters")
QUOTES_BROKEN = Reason("its quotes do not match")
TOO_MANY_CELLS = Reason("has more cells than the header has columns")

_LINE_LIMIT = 65_536
_ROW_LINES = 100
_BLOCK = 65_536
_ONE_COLUMN = "\x1f"
_DELIMITERS = ",;\t"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OFFICE_FILES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_NUMBER_LIKE = re.compile(r"(?:\d\D{0,2}){7}")

Row = tuple[int, list[str], Reason | None]
"""The line a row begins on, its cells, and why it cannot be taken (then the cells may be incomplete)."""


class _Lines(Protocol):
    """Lines with their endings; ``overlong`` is the number of the last one that was cut, 0 for none."""

    overlong: int

    def __iter__(self) -> Iterator[str]: ...


@dataclass(frozen=True, slots=True)
class _Survey:
    """What one pass over the bytes found. ``lines`` is never too small; ``long_lines`` may be a false alarm."""

    encoding: str
    sha256: str
    lines: int
    long_lines: bool


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A surveyed file. ``columns`` are its header's names, casefolded; a bare list has the one column ``phone``.

    ``sha256`` is of the file's bytes, ``lines`` an upper bound of its rows, ``phone_column`` an index into ``columns``.
    """

    path: Path
    field: str
    sha256: str
    encoding: str
    lines: int
    delimiter: str
    columns: tuple[str, ...]
    phone_column: int
    header_lines: int
    long_lines: bool

    def rows(self) -> Iterator[Row]:
        """Every row but the header and blank ones, in the file's order; the same each time.

        Raises:
            InputError: a stray quote swallows other rows, or the file changed since it was surveyed.
        """
        with opened(self.path, self.field, "a CSV file") as file:
            watched = _Watched(file)
            lines = _decoded(watched, self.encoding, bounded=self.long_lines)
            yield from self._parsed(lines)
            watched.drain()
            if watched.sha256.hexdigest() != self.sha256:
                raise InputError(self.field, f"{self.path} was changed while it was read; start again")

    def record(self, cells: list[str]) -> dict[str, str]:
        """A row's cells by column, stripped; missing cells are empty."""
        padded = [*cells, *[""] * (len(self.columns) - len(cells))]
        return {column: cell.strip() for column, cell in zip(self.columns, padded, strict=False) if column}

    def _parsed(self, lines: _Lines) -> Iterator[Row]:
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

    def _records(self, lines: _Lines) -> Iterator[tuple[int, int, list[str], Reason | None]]:
        """What the csv module makes of the lines, each with its first and last line."""
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
        """A row over several lines that ends wrongly, or not for long, would hide the rows inside it."""
        at_the_end = error is not None and "unexpected end" in str(error)
        if ended > begins or at_the_end:
            end = "is never closed" if at_the_end else f"runs on to line {ended}"
            raise InputError(self.field, f"{self.path}: a quote opened in line {begins} {end}; correct the quotes there")


def open_csv(path: Path, field: str) -> CsvFile:
    """Survey ``path`` (its bytes once, its first row once) so that its rows can be streamed.

    ``field`` is what the operator calls the file ("recipients", "attendees"). Encoding: UTF-8, UTF-16 and UTF-32 by their
    byte order mark, else UTF-8 where all bytes are, else cp1250. Delimiter: comma, semicolon or tab.

    Raises:
        InputError: no such file, not readable, not text, empty, or without a column of numbers.
    """
    survey = _survey(path, field)
    with opened(path, field, "a CSV file") as file:
        lines = _decoded(file, survey.encoding, bounded=True)
        head, header_lines = _first_row(lines, path, field)
    delimiter = _delimiter(head)
    cells = [cell.strip().lstrip("\ufeff").casefold() for cell in _cells(head, delimiter)]
    named = [index for index, cell in enumerate(cells) if cell in PHONE_COLUMNS]
    if not named and len(cells) == 1 and re.search(r"\d", cells[0]):
        cells, named, header_lines = ["phone"], [0], 0
    if len(named) != 1:
        raise InputError(field, f"{path} {_header_problem(cells, named)}")
    return CsvFile(
        path=path,
        field=field,
        sha256=survey.sha256,
        encoding=survey.encoding,
        lines=survey.lines,
        delimiter=delimiter,
        columns=tuple(cells),
        phone_column=named[0],
        header_lines=header_lines,
        long_lines=survey.long_lines,
    )


def _header_problem(cells: list[str], named: list[int]) -> str:
    accepted = ", ".join(PHONE_COLUMNS)
    if named:
        return f"has more than one column of numbers ({', '.join(cells[index] for index in named)}); keep one"
    if any(_NUMBER_LIKE.search(cell) for cell in cells):
        return f"has no header: its first line must name the columns, one of them one of {accepted}"
    found = ", ".join(cell[:40] or "(unnamed)" for cell in cells[:20])
    return f"has no column of numbers; columns found: {found}; expected one of {accepted}"


def _first_row(lines: _Lines, path: Path, field: str) -> tuple[str, int]:
    """The first line that is not blank, and its number. A header keeps to one line."""
    for number, line in enumerate(lines, start=1):
        if line.strip().strip("\ufeff"):
            if lines.overlong:
                raise InputError(field, f"{path}: {LINE_TOO_LONG} where the header should be (line {number})")
            return line.rstrip("\r\n"), number
    raise InputError(field, f"{path} has no rows")


def _delimiter(head: str) -> str:
    """The delimiter by which the header names a column of numbers, else the one that makes most cells of it."""

    def merit(delimiter: str) -> tuple[bool, int]:
        cells = _cells(head, delimiter)
        return any(cell.strip().casefold() in PHONE_COLUMNS for cell in cells) and len(cells) > 1, len(cells)

    best = max(_DELIMITERS, key=merit)
    return best if merit(best)[1] > 1 else _ONE_COLUMN


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _survey(path: Path, field: str) -> _Survey:
    digest, lines, long_lines, utf8 = hashlib.sha256(), 1, False, True
    decoder = codecs.getincrementaldecoder("utf-8")()
    with opened(path, field, "a CSV file") as file:
        head = file.read(_BLOCK)
        block = head
        while block:
            digest.update(block)
            ends = block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")
            lines += ends
            long_lines = long_lines or (not ends and len(block) == _BLOCK)
            utf8 = utf8 and _decodes(decoder, block)
            block = file.read(_BLOCK)
    utf8 = utf8 and _decodes(decoder, b"", final=True)
    encoding = _encoding(head, path, field) or ("utf-8" if utf8 else "cp1250")
    wide = encoding.startswith(("utf-16", "utf-32"))
    return _Survey(encoding, digest.hexdigest(), lines, long_lines or wide)


def _decodes(decoder: codecs.IncrementalDecoder, block: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError:
        return False
    return True


def _encoding(head: bytes, path: Path, field: str) -> str | None:
    """What the first bytes say, or None where they leave it open."""
    if not head:
        raise InputError(field, f"{path} is empty")
    if head.startswith(_OFFICE_FILES):
        raise InputError(field, f"{path} is a spreadsheet or an archive, not CSV; export it as CSV")
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return encoding
    if head.count(0) > len(head) // 4:
        raise InputError(field, f"{path} is not text, or UTF-16 without its mark; save it as CSV in UTF-8")
    return None


class _Watched(io.RawIOBase):
    """A raw file whose bytes are hashed as they pass."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = self._file.readinto(buffer) or 0
        self.sha256.update(memoryview(buffer)[:count])
        return count

    def drain(self) -> None:
        """Read what the decoder left."""
        while self.read(_BLOCK):
            pass


def _decoded(file: io.RawIOBase, encoding: str, *, bounded: bool) -> _Lines:
    """The file's lines. Bytes that are no text become U+FFFD, which no number contains."""
    text = io.TextIOWrapper(io.BufferedReader(file, _BLOCK), encoding=encoding, errors="replace", newline="")
    return _BoundedLines(text) if bounded else _PlainLines(text)


class _PlainLines:
    """Lines of a file known to have no long ones."""

    overlong = 0

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text

    def __iter__(self) -> Iterator[str]:
        return iter(self._text)


class _BoundedLines:
    """Lines of which a long one is read piece by piece and cut to its first characters, without quotes."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._ending_was_cut = False
        self.overlong = 0

    def __iter__(self) -> Iterator[str]:
        number, line = 0, self._next()
        while line:
            number += 1
            if _is_cut(line):
                self.overlong = number
                self._skip_line()
                line = line[:40].replace('"', "") + "\n"
            yield line
            line = self._next()

    def _next(self) -> str:
        """The next line, or its first characters. The second half of a CR LF that was cut in two is no line."""
        line = self._text.readline(_LINE_LIMIT)
        if self._ending_was_cut and line == "\n":
            line = self._text.readline(_LINE_LIMIT)
        self._ending_was_cut = len(line) == _LINE_LIMIT and line[-1] == "\r"
        return line

    def _skip_line(self) -> None:
        while _is_cut(self._next()):
            pass


def _is_cut(line: str) -> bool:
    return len(line) == _LINE_LIMIT and line[-1] not in "\r\n"
