"""An exchange with a provider as it may be shown to anybody: without secrets and phone numbers.

Everything that looks like a phone number is masked. It is a small loss if something only looked like one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import httpx
import orjson

from posthorn.gateways.http import HttpAnswer

_MAX_BYTES = 64 * 1024
_HIDDEN = "(hidden)"
_MASK = "***"
_HEADERS = ("host", "accept", "content-type", "content-length", "date")
_DATE = r"\b(?:19|20)\d\d-[01]\d-[0-3]\d(?:[T +]|%20)?(?:[0-2]\d(?::|%3A)[0-5]\d(?:(?::|%3A)[0-5]\d)?)?(?!\d)"
_LIKE_A_NUMBER = r"\d(?:(?:%20|[\s.()/_+-]){0,3}\d){6,}"
_EITHER = re.compile(f"({_DATE})|{_LIKE_A_NUMBER}")


class Record:
    """Keeps each exchange, masked. ``secrets`` are replaced wherever they are, however they are escaped."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        self._secrets = sorted(forms, key=len, reverse=True)
        self._kept: list[dict[str, Any]] = []

    def keep(self, request: httpx.Request, answer: HttpAnswer | Exception) -> None:
        """Note one exchange: a ``Tap``."""
        asked = {
            "request": self.masked(f"{request.method} {request.url}"),
            "headers": self._headers(request.headers),
            "body": self._text(request.read()),
        }
        if isinstance(answer, Exception):
            self._kept.append({**asked, "answer": type(answer).__name__})
        else:
            told = {"status": answer.status, "headers": self._headers(answer.headers), "body": self._text(answer.body)}
            self._kept.append({**asked, "answer": told})

    def lines(self) -> Iterator[str]:
        """Each exchange as one line of JSON."""
        return (orjson.dumps(one).decode() + "\n" for one in self._kept)

    def masked(self, text: str) -> str:
        """The text without secrets and numbers; dates stay."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return _EITHER.sub(lambda found: found[1] or _MASK, text)

    def _headers(self, headers: httpx.Headers) -> dict[str, str]:
        return {name: self.masked(headers[name]) for name in _HEADERS if name in headers}

    def _text(self, body: bytes) -> str:
        return self.masked(body[:_MAX_BYTES].decode("utf-8", "backslashreplace"))


def _forms(secret: str) -> Iterator[str]:
    """The secret as it stands in JSON, in XML, in a form and in a URL."""
    yield from (secret, quote(secret), quote(secret, safe=""), quote_plus(secret), escape(secret))
    yield orjson.dumps(secret).decode()[1:-1]
