"""Words by which people say that they want no more messages. An answer counts if it consists of such a word only."""

from __future__ import annotations

import unicodedata

_LETTERS = str.maketrans({"ł": "l", "Ł": "l", "ß": "ss", "ø": "o", "đ": "d"})  # which Unicode does not take apart
_MAX_LENGTH = 100


class StopWords:
    """The words of the setting, separated by commas. Case, accents, spaces and punctuation do not count."""

    def __init__(self, words: str) -> None:
        self._words = frozenset(filter(None, map(_bare, words.split(","))))

    def are(self, text: str | None) -> bool:
        """Whether the whole text is one of the words: ``Stop!`` is, ``don't stop`` is not."""
        return bool(text) and len(text or "") <= _MAX_LENGTH and _bare(text or "") in self._words


def _bare(text: str) -> str:
    """Letters and digits only, in lower case and without accents."""
    parted = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    return "".join(one for one in parted if one.isalnum())
