"""Titles and texts as a phone shows them: characters that it cannot show, and placeholders that nothing fills."""

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
    """The first placeholder of ``text``, or None: ``{x}``, ``{{x}}``, ``%x%``, ``#X#``, ``[x]``, ``<x>`` and similar."""
    found = _PLACEHOLDER.search(unicodedata.normalize("NFC", text))
    return found[0] if found else None


def placeholder_problem(text: str) -> str | None:
    """The problem of a text with a placeholder that nothing fills; None if there is none."""
    found = placeholder_in(text)
    if found is None:
        return None
    return (
        f"holds the placeholder {found}, which nothing fills; write what is meant, or set literal = true to send it as it"
        " stands"
    )


def refuse_unshown(text: str, allowed: str = "") -> None:
    """Refuse characters that no phone shows: control characters and line separators, except those in ``allowed``.

    Raises:
        ValueError: there is one; the message says which, and where.
    """
    for position, character in enumerate(text, start=1):
        if unicodedata.category(character) in _UNSHOWN and character not in allowed:
            one_line = "one line of " if character in "\n\r\u2028\u2029" else ""
            name = unicodedata.name(character, "a control character")
            raise ValueError(
                f"expected {one_line}printable characters; character {position} is U+{ord(character):04X} ({name})"
            )
