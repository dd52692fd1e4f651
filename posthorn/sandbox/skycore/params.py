"""Parameters as Skycore's clients send them: XML in a form field or as the body, plain form fields, or a query string.

All become one flat mapping with the lower-case names of GET: ``CUSTOMTEXT/VALUE`` of slide 2 is ``customtext_2`` and
``DATA/FIRST_NAME`` is ``data_first_name``. Values are trimmed and never checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree

from posthorn.sandbox.skycore.errors import ApiError
from posthorn.sandbox.wire import Field, Received, Upload

Params = dict[str, str]

_BEFORE_XML = b"\xef\xbb\xbf \t\r\n"
_FIELDS = ("xml", "XML")


def read_params(received: Received) -> Params:
    """The parameters of a request.

    Raises:
        ApiError: E100, there is nothing to read; E108, it is not well-formed.
    """
    if received.method == "GET":
        if not received.query:
            raise ApiError("E100")
        return _trimmed(received.query.items())
    if received.method != "POST":
        raise ApiError("E100")
    if received.form is None and received.body.lstrip(_BEFORE_XML)[:1] == b"<":
        return _from_xml(received.body.lstrip(_BEFORE_XML))
    fields = _fields(received)
    document = next((fields[name] for name in _FIELDS if fields.get(name)), None)
    if document is not None:
        return _from_xml(document)
    if "action" not in fields:
        raise ApiError("E100")
    return _trimmed(fields.items())


def _fields(received: Received) -> Mapping[str, str]:
    try:
        if received.form is not None:
            return {name: _text(value) for name, value in received.form}
        return dict(parse_qsl(received.body.decode(), keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError as error:
        raise ApiError("E108", "XML parse error: not UTF-8") from error


def _text(value: Field) -> str:
    return value if isinstance(value, str) else (value.content if isinstance(value, Upload) else value).decode()


def _trimmed(pairs: Iterable[tuple[str, str]]) -> Params:
    return {name: value.strip() for name, value in pairs}


def _from_xml(document: str | bytes) -> Params:
    """Parse a ``REQUEST``; entities and DTDs count as unreadable."""
    try:
        root = ElementTree.fromstring(document.strip())
    except (ParseError, ValueError) as error:
        raise ApiError("E108", f"XML parse error: {error}") from error
    if root.tag.upper() != "REQUEST":
        raise ApiError("E100")
    values: Params = {}
    for child in root:
        name = child.tag.lower()
        if len(child) == 0:
            values[name] = (child.text or "").strip()
        elif name == "customtext":
            inner = _inner(child)
            values[f"customtext_{inner.get('slide', '')}"] = inner.get("value", "")
        else:
            values.update({f"{name}_{key}": value for key, value in _inner(child).items()})
    return values


def _inner(block: Element) -> Params:
    return {inner.tag.lower(): (inner.text or "").strip() for inner in block}
