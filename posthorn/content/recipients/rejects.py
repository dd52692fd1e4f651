"""The rejects file: each rejected row with its line, its value and the reason, safe to open in a spreadsheet.

It holds phone numbers in full, so only its owner may read it; it never appears half written.
"""

from __future__ import annotations

import csv
import os
import tempfile
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from posthorn.errors import InputError

_MAX_VALUE_LENGTH = 100
_FORMULA_STARTS = frozenset("=+-@\u2212")  # the last is the typographic minus sign
_INVISIBLE = frozenset({"Cf", "Cc", "Mn", "Zs"})


@dataclass(frozen=True, slots=True)
class Reject:
    """One rejected row. Its ``value`` is as written in the file. It is kept out of reprs, and so out of logs."""

    line: int
    value: str = field(repr=False)
    reason: str


def spreadsheet_safe(value: str) -> str:
    """``value`` on one line, with an apostrophe before anything that a spreadsheet could take for a formula.

    Look-alikes count (``＝``, ``﹢``, ``－``, ``＠``): some programs read them as what they look like. So does what comes
    after blanks, invisible characters, or a semicolon, which begins a cell in many countries.
    """
    line = "".join(character if character.isprintable() else " " for character in value)
    begins_blank = value[:1] in ("\t", "\r", "\n")
    safe = ";".join(f"'{cell}" if _is_formula(cell) else cell for cell in line.split(";"))
    return f"'{safe}" if begins_blank and not safe.startswith("'") else safe


def _is_formula(cell: str) -> bool:
    """Whether the first visible character begins a formula."""
    first = next((one for one in cell if not (one.isspace() or unicodedata.category(one) in _INVISIBLE)), "")
    return unicodedata.normalize("NFKC", first)[:1] in _FORMULA_STARTS


class RejectsFile:
    """Writes ``path`` (columns line, value, reason; mode 0600) when it is closed without an error.

    Without rejects there is no file, and one of an earlier run is removed. After an error the earlier file stays.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None
        self._writer: Any = None

    def add(self, reject: Reject) -> None:
        """Write one row."""
        try:
            if self._file is None:
                self._begin()
            value = reject.value[:_MAX_VALUE_LENGTH] + ("…" if len(reject.value) > _MAX_VALUE_LENGTH else "")
            self._writer.writerow((reject.line, spreadsheet_safe(value), spreadsheet_safe(reject.reason)))
        except OSError as error:
            raise self._failure(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._finish(keep=kind is None)
        except OSError as failure:
            if kind is None:
                raise self._failure(failure) from None

    def _begin(self) -> None:
        self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed in _finish, which __exit__ calls
            "w", encoding="utf-8", newline="", dir=self.path.parent, prefix=f".{self.path.name}.", delete=False
        )
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(("line", "value", "reason"))

    def _finish(self, *, keep: bool) -> None:
        if self._file is None:
            if keep:
                self.path.unlink(missing_ok=True)
            return
        written = Path(self._file.name)
        try:
            self._file.close()
            if keep:
                os.replace(written, self.path)  # noqa: PTH105 - the one call known to replace atomically everywhere
        finally:
            written.unlink(missing_ok=True)

    def _failure(self, error: OSError) -> InputError:
        return InputError("rejects file", f"{self.path} cannot be written ({error.strerror or error})")
