"""What an entry of the provider's list says about our file: whole, saved anew by the provider, or garbled on its way.

A picture in an encoding that the provider does not understand is still stored: as the base64 text, or as escaped bytes. Its
size gives that away. Any other size is the provider's own doing: it makes pictures smaller.
"""

from __future__ import annotations

import base64
import enum
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote_plus

from posthorn.models import Media, StoredFile


class Condition(enum.Enum):
    """How a stored file stands."""

    WHOLE = "whole"
    RESAVED = "resaved"
    GARBLED = "garbled"
    UNSEEN = "unseen"


class Look(NamedTuple):
    """What one look at a stored file found, also in words for the operator."""

    condition: Condition
    words: str

    @property
    def will_do(self) -> bool:
        """Whether the file can be sent."""
        return self.condition in (Condition.WHOLE, Condition.RESAVED)


def look_at(media: Media, file: StoredFile | None) -> Look:
    """What the provider's entry says about the file; ``None`` means that there is no entry."""
    if file is None:
        return Look(Condition.UNSEEN, "the provider does not list it")
    if file.size == 0:
        return Look(Condition.GARBLED, "the provider lists it as empty")
    if media.size is None or file.size is None or file.size == media.size:
        return Look(Condition.WHOLE, "listed")
    found = f"listed with {file.size:,} bytes instead of {media.size:,}"
    garbled = _garbled_sizes(media).get(file.size)
    if garbled:
        return Look(Condition.GARBLED, f"{found}: that is {garbled}, not the picture")
    return Look(Condition.RESAVED, f"{found}: the provider has saved it anew")


def _garbled_sizes(media: Media) -> dict[int, str]:
    """The size that the file has in each form it may be stored in by mistake, with that form in words."""
    try:
        content = Path(media.path or "").read_bytes()
    except OSError:  # it has been moved since: the size of its base64 text can still be calculated
        content = bytes(media.size or 0)
    text = base64.b64encode(content)
    return {
        len(content.decode("latin-1").encode()): "its bytes taken for letters",
        len(content.decode(errors="replace").encode()): "its bytes taken for text",
        len(quote_plus(content)): "its escaped bytes",
        len(base64.encodebytes(content)): "its base64 text",
        len(text.rstrip(b"=")): "its base64 text",
        len(text): "its base64 text",
    }
