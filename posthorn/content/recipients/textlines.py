"""The lines of a text file of unknown encoding, hashed as they are read. Long lines are cut, to bound memory."""

from __future__ import annotations

import codecs
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from posthorn.content.filekind import HEAD_BYTES, file_kind
from posthorn.content.regularfile import opened
from posthorn.errors import InputError

_LINE_LIMIT = 65_536
_BLOCK = 65_536
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Lines(Protocol):
    """Lines with their endings; ``overlong`` is the number of the last line that was cut, 0 if none was."""

    overlong: int

    def __iter__(self) -> Iterator[str]: ...


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over the bytes found. ``lines`` is never too small; ``long_lines`` may be a false alarm."""

    encoding: str
    sha256: str
    lines: int
    long_lines: bool


def survey(path: Path, field: str) -> Survey:
    """Read the bytes once, for their hash, their encoding and the number of lines.

    Raises:
        InputError: it is empty, not text, or not a CSV file.
    """
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
    return Survey(encoding, digest.hexdigest(), lines, long_lines or wide)


def _decodes(decoder: codecs.IncrementalDecoder, block: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError:
        return False
    return True


def _encoding(head: bytes, path: Path, field: str) -> str | None:
    """The encoding that the first bytes show, or None if they leave it open."""
    if not head:
        raise InputError(field, f"{path} is empty")
    kind = file_kind(head[:HEAD_BYTES])
    if kind is not None:
        raise InputError(field, f"{path} is {kind.name}, not CSV; {kind.instead}")
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return encoding
    if head.count(0) > len(head) // 4:
        raise InputError(field, f"{path} is not text, or UTF-16 without its mark; save it as CSV in UTF-8")
    return None


class Watched(io.RawIOBase):
    """A raw file whose bytes are hashed as they are read."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into ``buffer``, and hash what was read."""
        count = self._file.readinto(buffer) or 0
        self.sha256.update(memoryview(buffer)[:count])
        return count

    def drain(self) -> None:
        """Read what the decoder left."""
        while self.read(_BLOCK):
            pass


def decoded(file: io.RawIOBase, encoding: str, *, bounded: bool) -> Lines:
    """The file's lines. Bytes that are not text become U+FFFD, which no number contains."""
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
    """Lines of a file with long ones. A long line is read piece by piece and cut to its first characters, without quotes."""

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
        """The next line, or its first characters. The second half of a CR LF that was split is not a line."""
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
