"""``RESPONSE`` documents as XML, and their variations in order, padding and wording. It decides nothing about tickets."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from xml.sax.saxutils import escape

from posthorn.sandbox.skycore.errors import VARIANTS, ApiError
from posthorn.sandbox.wire import Reply

Fields = Sequence[tuple[str, str]]
"""Tags with their content; an ``Xml`` is inserted unchanged, text is escaped."""

XML = "text/xml; charset=utf-8"
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class Xml(str):
    """Content that is XML already."""

    __slots__ = ()


class Answers:
    """Writes answers; with ``vary`` they differ in form, and the same seed gives the same sequence."""

    def __init__(self, *, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose, protects nothing

    def success(self, fields: Fields, *, vary: bool) -> Reply:
        """``STATUS`` and the action's result."""
        return self._reply([("STATUS", "Success"), *fields], vary=vary)

    def failure(self, error: ApiError, to: str | None, *, vary: bool) -> Reply:
        """The refusal, with the number if it is about one."""
        info = self._worded(error) if vary else error.info
        echo = [("TO", to)] if to else []
        return self._reply([("STATUS", "Failure"), ("ERRORCODE", error.code), *echo, ("ERRORINFO", info)], vary=vary)

    def _worded(self, error: ApiError) -> str:
        info = VARIANTS.get(error.code, error.info) if self._flip() else error.info
        return f"\n  {info} " if self._flip() else info

    def _reply(self, fields: Fields, *, vary: bool) -> Reply:
        listed, prolog = list(fields), ""
        if vary:
            self._random.shuffle(listed)
            prolog = '<?xml version="1.0" encoding="UTF-8"?>\n' if self._flip() else ""
        return Reply((prolog + rendered(listed)).encode(), XML)

    def _flip(self) -> bool:
        return self._random.random() < 0.5


def rendered(fields: Fields) -> str:
    """A ``RESPONSE`` laid out as the method pages show it."""
    lines = [f"    {element(name, value)}\n" for name, value in fields]
    return f"<RESPONSE>\n{''.join(lines)}</RESPONSE>"


def element(name: str, value: str) -> str:
    """One element."""
    return f"<{name}>{value if isinstance(value, Xml) else safe(value)}</{name}>"


def safe(text: str) -> str:
    """Text as XML holds it; characters that XML cannot hold are left out."""
    return escape(_NOT_IN_XML.sub("", text))
