"""Recognises a file by its first bytes, in words that tell its owner what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file is: ``name`` for a sentence (``a PDF``), ``instead`` what to do if a list was expected."""

    name: str
    instead: str


_EXPORT = "export or save it as CSV"
_STARTS: tuple[tuple[bytes, FileKind], ...] = (
    (b"\x1f\x8b", FileKind("a gzip archive", "unpack it first (gunzip)")),
    (b"BZh", FileKind("a bzip2 archive", "unpack it first (bunzip2)")),
    (b"\xfd7zXZ\x00", FileKind("an xz archive", "unpack it first (unxz)")),
    (b"\x28\xb5\x2f\xfd", FileKind("a Zstandard archive", "unpack it first (unzstd)")),
    (b"7z\xbc\xaf\x27\x1c", FileKind("a 7-Zip archive", "unpack it first")),
    (b"Rar!\x1a\x07", FileKind("a RAR archive", "unpack it first")),
    (b"\xd0\xcf\x11\xe0", FileKind("an old Office document (xls or doc)", "open it there and save it as CSV")),
    (b"%PDF-", FileKind("a PDF", "ask for the list as CSV: a PDF has no rows")),
    (b"{\\rtf", FileKind("an RTF document", "save it as CSV or plain text")),
    (b"SQLite format 3\x00", FileKind("an SQLite database", _EXPORT)),
    (b"PAR1", FileKind("a Parquet file", _EXPORT)),
    (b"version https://git-lfs.github.com/spec/", FileKind("a Git LFS pointer, not the file itself", "run `git lfs pull`")),
    (b"\x89PNG\r\n\x1a\n", FileKind("a PNG picture", "name the list instead")),
    (b"\xff\xd8\xff", FileKind("a JPEG picture", "name the list instead")),
    (b"GIF87a", FileKind("a GIF picture", "name the list instead")),
    (b"GIF89a", FileKind("a GIF picture", "name the list instead")),
    (b"BM", FileKind("a BMP picture", "name the list instead")),
    (b"II*\x00", FileKind("a TIFF picture", "name the list instead")),
    (b"MM\x00*", FileKind("a TIFF picture", "name the list instead")),
    (b"bplist00", FileKind("an Apple property list", _EXPORT)),
)
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"})
_HTML = re.compile(
    rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|table|title|script|meta)\b",
    re.IGNORECASE | re.DOTALL,
)
_SPREADSHEET_XML = re.compile(rb"\s*<\?xml[^>]*>.*urn:schemas-microsoft-com:office:spreadsheet", re.DOTALL)


def file_kind(head: bytes) -> FileKind | None:
    """What the first bytes (a few thousand are enough) say the file is; None for plain text, and for the unknown."""
    found = next((kind for start, kind in _STARTS if head.startswith(start) and _is_meant(head, start)), None)
    if found is not None:
        return found
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _archive(head)
    if head[4:8] == b"ftyp":
        return _film(head)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return FileKind("a WebP picture", "name the list instead")
    return _text_kind(_without_mark(head))


def _is_meant(head: bytes, start: bytes) -> bool:
    """Two letters are a weak sign: a BMP has zeros where its reserved bytes are."""
    return start != b"BM" or head[6:10] == bytes(4)


def _archive(head: bytes) -> FileKind:
    if b"mimetypeapplication/vnd.oasis.opendocument" in head:
        return FileKind("a spreadsheet or document of LibreOffice", "open it there and save it as CSV")
    if b"[Content_Types].xml" in head or b"xl/" in head or b"_rels/" in head:
        return FileKind("an Excel workbook (xlsx), a spreadsheet", "open it there and save it as CSV UTF-8")
    return FileKind("a zip archive", "unpack it first, or, if it is a spreadsheet, save it as CSV")


def _film(head: bytes) -> FileKind:
    brand = head[8:12]
    if brand in _HEIC_BRANDS:
        return FileKind("a HEIC picture of a phone", "save it as JPEG")
    return FileKind("an AVIF picture" if brand.startswith(b"avi") else "a film (MP4)", "name the list instead")


def _without_mark(head: bytes) -> bytes:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[2:].replace(b"\x00", b"")
    return head.removeprefix(b"\xef\xbb\xbf")


def _text_kind(head: bytes) -> FileKind | None:
    text = head.lstrip()
    if text[:12].upper().startswith(b"BEGIN:VCARD"):
        return FileKind("a vCard (contacts of a phone)", "export the contacts as CSV")
    if _HTML.match(head):
        return FileKind("an HTML page", "save the list itself as CSV: this may be a login page or an error page")
    if _SPREADSHEET_XML.match(head):
        return FileKind("a spreadsheet in XML", "open it there and save it as CSV")
    if text.startswith((b"[{", b'{"')):
        return FileKind("JSON", "convert it to CSV with a column of numbers")
    return FileKind("XML", "convert it to CSV with a column of numbers") if text.startswith(b"<?xml") else None
