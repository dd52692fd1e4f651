"""Search queries for messages: words that must all occur, some in a certain field. This only parses and matches terms."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

STATES = frozenset(
    ("saved", "in_progress", "sent", "delivered", "undelivered", "unsent", "withdrawn", "refused", "accepted", "failed")
)
FIELDS = ("to", "title", "text", "code", "state", "campaign")
_WORD = re.compile(r'(?:(\w+):)?(?:"([^"]*)"|(\S+))')
_IN_NUMBERS = str.maketrans("", "", "+ -()")


@dataclass(frozen=True, slots=True)
class Term:
    """One word in lower case, for one of ``FIELDS``, or for any field if that is None."""

    field: str | None
    word: str

    @property
    def digits(self) -> str | None:
        """The word as part of a number; None if it cannot be one."""
        bare = self.word.translate(_IN_NUMBERS)
        return bare if bare.isascii() and bare.isdigit() else None

    @property
    def is_state(self) -> bool:
        """Whether the word is a state, and may mean one here."""
        return self.asks("state") and self.word in STATES

    def asks(self, field: str) -> bool:
        """Whether the term applies to this field."""
        return self.field in (None, field)


def terms_of(query: str) -> tuple[Term, ...]:
    """The terms of a query such as ``state:delivered "autumn sale" 500600``."""
    terms = []
    for match in _WORD.finditer(query):
        field, word = (match[1] or "").lower(), match[2] if match[2] is not None else match[3]
        if field in FIELDS:
            terms.append(Term(field, word.lower()))
        else:
            terms.append(Term(None, match[0].strip('"').lower()))
    return tuple(term for term in terms if term.word)


def narrowed(
    positions: Sequence[int],
    term: Term,
    shared: Mapping[str, str],
    own: Mapping[str, Callable[[], Sequence[str]]],
) -> Sequence[int]:
    """The positions that a term finds. ``shared`` are the fields that all have in common, ``own`` those that differ."""
    if any(term.asks(field) and term.word in value for field, value in shared.items()):
        return positions
    found: set[int] = set()
    for field, values in own.items():
        word = term.digits if field == "to" else term.word
        if not term.asks(field) or word is None:
            continue
        listed = values()
        is_whole = field == "state"
        found.update([at for at in positions if (word == listed[at] if is_whole else word in listed[at])])
    return sorted(found)
