"""Parameters as the vendor's clients send them: JSON, form or multipart, four ways to write a list. It checks no values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, unquote_to_bytes

import orjson

from posthorn.sandbox.serwersms.errors import ApiError
from posthorn.sandbox.wire import Field, Received, Upload, text_or_bytes

_TRUE = (True, 1, "true", "True", "1")
_INDEXED = re.compile(r"([^\[\]]+)\[(\d*)\]")


class Params:
    """One request's parameters; unknown ones are never read."""

    def __init__(self, values: Mapping[str, object], request: int = 0) -> None:
        self.values = values
        self.request = request

    def text(self, name: str) -> str | None:
        """A scalar as text; None if absent, null or empty."""
        value = self.values.get(name)
        if value is None or isinstance(value, list | dict | Upload) or value in ("", b""):
            return None
        return _plain(value)

    def flag(self, name: str) -> bool:
        """True for true, "true", 1 and "1"; everything else is false."""
        return self.values.get(name) in _TRUE

    def number(self, name: str, default: int) -> int:
        """A whole number.

        Raises:
            ApiError: 1006, it is not a whole number.
        """
        text = self.text(name)
        try:
            return default if text is None else int(text)
        except ValueError as error:
            raise ApiError(1006) from error

    def many(self, name: str) -> list[str]:
        """A list: from a list, from an object's values, or from text with commas."""
        value = self.values.get(name)
        if isinstance(value, list):
            # The common case, numbers of a send, is a list of text only: passed on unchanged.
            return value if set(map(type, value)) <= {str} else [_plain(item) for item in value]
        if isinstance(value, dict):
            return [_plain(item) for item in value.values()]
        if value is None or value == "":
            return []
        return [item.strip() for item in _plain(value).split(",")]

    def files(self, name: str) -> list[Upload | str | bytes]:
        """Files, as they came: with a name from a multipart body, as text, or as bytes that are not text."""
        value = self.values.get(name)
        listed = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else [value]
        return [item if isinstance(item, Upload | bytes) else _plain(item) for item in listed if item not in (None, "", b"")]


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None or isinstance(value, Upload) else str(value)


def read_params(received: Received) -> Params:
    """The parameters of a request's body.

    Raises:
        ApiError: 1006, neither a JSON object nor a form.
    """
    if received.form is not None:
        return Params(_gathered(received.form), received.number)
    body = received.body
    if received.content_type == "application/json" or body[:1] in (b"{", b"["):
        return Params(_from_json(body), received.number)
    return Params(_gathered(_form_pairs(body)), received.number)


def _form_pairs(body: bytes) -> Iterator[tuple[str, Field]]:
    """The fields of a form; a value that is not UTF-8, such as the bytes of a picture, stays as it is."""
    try:
        text = body.decode("ascii")
        yield from parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        for pair in body.split(b"&"):
            name, _, value = pair.partition(b"=")
            key = unquote_to_bytes(name.replace(b"+", b" ")).decode(errors="replace")
            yield key, text_or_bytes(unquote_to_bytes(value.replace(b"+", b" ")))


def _from_json(body: bytes) -> dict[str, object]:
    if not body.strip():
        return {}
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(1006) from error
    if not isinstance(values, dict):
        raise ApiError(1006)
    return values


def _gathered(pairs: Iterable[tuple[str, Field]]) -> dict[str, object]:
    """Pairs with ``name[]`` and ``name[0]`` gathered into lists; of a repeated plain name the last one counts."""
    values: dict[str, object] = {}
    lists: dict[str, list[tuple[int, object]]] = {}
    for name, value in pairs:
        if match := _INDEXED.fullmatch(name):
            listed = lists.setdefault(match[1], [])
            listed.append((int(match[2]) if match[2] else len(listed), value))
        else:
            values[name] = value
    for name, listed in lists.items():
        values[name] = [value for _, value in sorted(listed, key=lambda item: item[0])]
    return values
