"""From a file of recipients to unique numbers in the file's order. Every other row is counted and given a reason.

It keeps only a compact table of the numbers seen, does not know the ledger, and never logs a number.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from posthorn.content.recipients.columns import folded
from posthorn.content.recipients.csvfile import CsvFile, Row, Wanted, open_csv
from posthorn.content.recipients.phones import MESSAGING, WITH_LANDLINES, PhoneReader, Reason
from posthorn.content.recipients.rejects import Reject, RejectsFile
from posthorn.models import Phone

BATCH = 5_000
"""Recipients per batch of an intake."""

_FIRST_REJECTS = 100

Batch = list[tuple[int, Phone]]
"""Accepted recipients: the physical line a row begins on, and its number."""


class Intake:
    """A file of recipients. Iterating yields batches and updates the counters, which start again with each iteration.

    ``sha256`` is of the file's bytes. ``input`` is always ``accepted + invalid + duplicate``; blank lines are not input.
    ``first_rejects`` holds the first ``keep_rejects`` rejects; the rejects file, if one is asked for, holds all of them.
    ``reasons`` counts invalid rows by reason. Rows that ``only_where`` leaves out are not input: ``left_out`` counts them.
    """

    def __init__(self, file: CsvFile, reader: PhoneReader, rejects: Path | None) -> None:
        self._file = file
        self._reader = reader
        self.rejects = rejects
        self.path = file.path
        self.sha256 = file.sha256
        self.file = file
        self.accepted = self.invalid = self.duplicate = self.left_out = 0
        self.reasons: Counter[str] = Counter()
        self.keep_rejects = _FIRST_REJECTS
        self.first_rejects: list[Reject] = []
        self._rejects_file: RejectsFile | None = None

    @property
    def input(self) -> int:
        """Rows of the file, so far."""
        return self.accepted + self.invalid + self.duplicate

    def __iter__(self) -> Iterator[Batch]:
        self.accepted = self.invalid = self.duplicate = self.left_out = 0
        self.reasons = Counter()
        self.first_rejects = []
        with RejectsFile(self.rejects) if self.rejects else nullcontext() as rejects_file:
            self._rejects_file = rejects_file
            yield from self._batches()

    def _batches(self) -> Iterator[Batch]:
        seen, batch = SeenPhones(self._file.lines), Batch()
        for row in self._rows():
            phone = self._phone(row, seen)
            if phone is not None:
                batch.append((row[0], phone))
                if len(batch) == BATCH:
                    self.accepted += BATCH
                    yield batch
                    batch = Batch()
        self.accepted += len(batch)
        if batch:
            yield batch

    def _rows(self) -> Iterator[Row]:
        return self._file.rows() if not self._file.filters else self._filtered()

    def _filtered(self) -> Iterator[Row]:
        for row in self._file.rows():
            if row[2] is None and not self._file.counts(row[1]):
                self.left_out += 1
            else:
                yield row

    def _phone(self, row: Row, seen: SeenPhones) -> Phone | None:
        """The row's number if it is valid and new; otherwise the row is counted and reported."""
        line, cells, problem = row
        column = self._file.phone_column
        text = cells[column] if column < len(cells) else ""
        phone = problem or self._reader.read(text)
        if isinstance(phone, Reason):
            self.invalid += 1
            self.reasons[phone] += 1
            self._reject(Reject(line, text, phone))
            return None
        first_line = seen.add(phone, line)
        if first_line:
            self.duplicate += 1
            self._reject(Reject(line, text, f"duplicate of line {first_line}"))
            return None
        return phone

    def _reject(self, reject: Reject) -> None:
        if len(self.first_rejects) < self.keep_rejects:
            self.first_rejects.append(reject)
        if self._rejects_file:
            self._rejects_file.add(reject)


def read_recipients(
    path: Path, *, region: str, rejects: Path | None = None, wanted: Wanted | None = None, landlines: bool = False
) -> Intake:
    """Open a campaign's recipients: a CSV with a column of numbers (``columns.py`` has the names), or one number per line.

    ``region`` is that of numbers without a country prefix. Mobiles are accepted; landlines only if ``landlines``.

    Raises:
        InputError: the file cannot be used. It may also be raised while iterating, if only reading on shows it.
    """
    file = open_csv(path, "recipients", wanted or Wanted(region))
    return Intake(file, phone_reader(file, region, landlines=landlines), rejects)


def phone_reader(file: CsvFile, region: str, *, landlines: bool) -> PhoneReader:
    """The reader of a list's numbers. Numbers in a column ``msisdn`` are international, as that name says."""
    international = folded(file.titles[file.phone_column]) == "msisdn"
    return PhoneReader(region, kinds=WITH_LANDLINES if landlines else MESSAGING, international=international)


class SeenPhones:
    """The numbers seen and the line of each: an open-addressed table in two flat arrays, 12 bytes a slot.

    For a million numbers that is 25 MB and 0.75 s. A dict takes 105 MB and 0.4 s. A bitmap (pyroaring) takes 4 MB and 0.4 s,
    but does not know the lines, and a rejected row has to say on which line its number came first.
    """

    def __init__(self, most: int) -> None:
        """Make room for up to ``most`` numbers, so that it never has to grow."""
        slots = 1 << max(8, (most * 3 // 2).bit_length())
        self._mask = slots - 1
        self._phones = array("Q", bytes(8 * slots))
        self._lines = array("L" if array("I").itemsize < 4 else "I", bytes(4 * slots))

    def add(self, phone: Phone, line: int) -> int:
        """Remember ``phone``; returns the line where it was seen before, or 0 if it is new."""
        phones, mask = self._phones, self._mask
        slot = (phone * 0x9E3779B1 >> 16) & mask
        while phones[slot]:
            if phones[slot] == phone:
                return self._lines[slot]
            slot = (slot + 1) & mask
        phones[slot] = phone
        self._lines[slot] = line
        return 0
