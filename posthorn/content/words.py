"""Titles and texts as a phone shows them: which characters it cannot, and placeholders that nobody fills."""

from __future__ import annotations

import re
import unicodedata

_NAME = r"[^\W\d_][\w .|-]{0,40}"
_PLACEHOLDER = re.compile(
    r"\$?\{\{?[{%#]?[^{}\n]{0,60}\}?\}"  # {x} {{x}} ${x} {% x %}
    rf"|%\(?{_NAME}\)?%|%\([\w ]+\)s"  # %x% %(x)s
    r"|\*\|[^|\n]{1,60}\|\*"  # *|FNAME|*
    r"|(?<!\w)#[^\W\d_]\w{0,40}#(?!\w)"  # #X#
    rf"|\[\[?{_NAME}\]?\]"  # [x]
    rf"|<<?/?{_NAME}/?>>?"  # <x>
    r"|(?<!\w)__[A-Z][A-Z0-9_]*__(?!\w)"  # __X__
    r"|(?<!\w)@@?[A-Z][A-Z0-9_]+@@?(?!\w)"  # @X@
)
_UNSHOWN = frozenset({"Cc", "Cs", "Zl", "Zp"})


def placeholder_in(text: str) -> str | None:
    """The first placeholder of ``text``, or None: ``{x}``, ``{{x}}``, ``%x%``, ``#X#``, ``[x]``, ``<x>`` and their like."""
    found = _PLACEHOLDER.search(unicodedata.normalize("NFC", text))
    return found[0] if found else None


def placeholder_problem(text: str) -> str | None:
    """What is wrong with a text in which a placeholder stands that nobody fills; None where there is none."""
    found = placeholder_in(text)
    if found is None:
        return None
    return (
        f"holds the placeholder {found}, which nothing fills; write what is meant, or set literal = true to send it as it"
        " stands"
    )


def refuse_unshown(text: str, allowed: str = "") -> None:
    """Refuse a character that no phone shows: control characters and separators of lines, but for those ``allowed``.

    Raises:
        ValueError: which character, and where.
    """
    for position, character in enumerate(text, start=1):
        if unicodedata.category(character) in _UNSHOWN and character not in allowed:
            one_line = "one line of " if character in "\n\r\u2028\u2029" else ""
            name = unicodedata.name(character, "a control character")
            raise ValueError(
                f"expected {one_line}printable characters; character {position} is U+{ord(character):04X} ({name})"
            )
