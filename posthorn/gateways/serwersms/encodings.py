"""How a file from disk is written into files/add: in which body, and in which encoding of its bytes.

The page calls ``file`` a *String* and names no encoding. Multipart is what "upload from disk" means in a browser; the
vendor's first clients post the raw bytes as a field of a form; base64 is named by their comments for the file of a send.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlencode

import orjson

Body: TypeAlias = Callable[[Mapping[str, Any]], tuple[dict[str, str], dict[str, Any]]]
"""Turns a call's fields into its headers and what ``httpx.Request`` takes as its body."""


def body_of(encoding: str, name: str, content: bytes, content_type: str) -> Body:
    """The body with that file in it, in one of ``ENCODINGS``."""
    return _MAKERS[encoding](name, content, content_type)


def _multipart(name: str, content: bytes, content_type: str) -> Body:
    return lambda fields: ({}, {"data": dict(fields), "files": {"file": (name, content, content_type)}})


def _form(_name: str, content: bytes, _content_type: str) -> Body:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return lambda fields: (headers, {"content": urlencode({**fields, "file": content}).encode("ascii")})


def _base64(_name: str, content: bytes, _content_type: str) -> Body:
    text = base64.b64encode(content).decode("ascii")
    return lambda fields: ({"Content-Type": "application/json"}, {"content": orjson.dumps({**fields, "file": text})})


_MAKERS: Mapping[str, Callable[[str, bytes, str], Body]] = {"multipart": _multipart, "form": _form, "base64": _base64}

ENCODINGS = tuple(_MAKERS)
"""In the order in which they are tried."""
