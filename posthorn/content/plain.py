"""Makes text from a file safe to show: no terminal takes any of it for a command."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029"  # control characters, marks of direction
    "\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff]"
)
"""Control characters, line separators, and marks that change the direction of text."""
_LIKE_A_NUMBER = re.compile(r"\+?\d[\d .()/-]{5,}\d")


def plain(text: str, *, most: int | None = None) -> str:
    r"""``text`` on one line, each unsafe character as an escape (``\x1b``); cut to ``most`` characters with an ellipsis."""
    if most is not None and len(text) > most:
        text = text[:most] + "…"
    return _UNSAFE.sub(lambda found: _escaped(found[0]), text)


def without_numbers(text: str) -> str:
    """``text`` with each run of digits that may be a phone number masked: for titles and for what people wrote."""
    return _LIKE_A_NUMBER.sub("***", text)


def plain_lines(text: str) -> str:
    """``text`` with its line breaks and tabs kept, and every other unsafe character as an escape."""
    return "\n".join("\t".join(map(plain, line.split("\t"))) for line in text.split("\n"))


def plain_json(document: str) -> str:
    """A JSON document with unsafe characters as JSON's own escapes; its indentation stays."""
    return "\n".join(_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", line) for line in document.split("\n"))


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
