"""Answers as JSON or XML, and answers that are wrong on purpose. It decides nothing about messages."""

from __future__ import annotations

import html
import re
import secrets
from collections.abc import Callable
from typing import Any

import orjson

from posthorn.sandbox.faults import FaultRule
from posthorn.sandbox.serwersms.errors import ApiError
from posthorn.sandbox.wire import Reply

Document = dict[str, Any]

_JSON = "application/json; charset=utf-8"
_XML = "application/xml; charset=utf-8"
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def reply(document: Document, suffix: str) -> Reply:
    """A document in the format that the action's suffix asks for; JSON unless it is ``xml``."""
    if suffix == "xml":
        return Reply(as_xml(document), _XML)
    return Reply(orjson.dumps(document), _JSON)


def error_reply(error: ApiError, suffix: str) -> Reply:
    """An error: in JSON under ``error``, in XML its fields directly under the root (the PHP client before 2022)."""
    document = error.document()
    return reply(document if suffix == "xml" else {"error": document}, suffix)


def as_xml(document: Document) -> bytes:
    """Root ``response``; lists hold ``item`` elements; true and false in words; null is an empty element."""
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    _element("response", document, parts)
    return "".join(parts).encode()


def _element(name: str, value: object, parts: list[str]) -> None:
    parts.append(f"<{name}>")
    if isinstance(value, dict):
        for key, inner in value.items():
            _element(key if str(key)[:1].isalpha() else "item", inner, parts)
    elif isinstance(value, list):
        for inner in value:
            _element("item", inner, parts)
    elif isinstance(value, bool):
        parts.append("true" if value else "false")
    elif value is not None:
        parts.append(html.escape(_NOT_IN_XML.sub("", str(value)), quote=False))
    parts.append(f"</{name}>")


def distorted(document: Document, rule: FaultRule | None) -> Document:
    """The document as the rule changes it; unchanged if the rule is about something else."""
    distort = _DISTORTIONS.get(rule.fault) if rule else None
    if rule is None or distort is None or not isinstance(document.get("items"), list):
        return document
    return {**document, **distort(document["items"], rule)}


def _foreign(items: list[Document], rule: FaultRule) -> Document:
    strangers = [
        {**item, "id": secrets.token_hex(5), "phone": f"+48{799_000_000 + number}"}
        for number, item in enumerate(items[: rule.items])
    ]
    return {"items": strangers + items}


_DISTORTIONS: dict[str, Callable[[list[Document], FaultRule], Document]] = {
    "missing_items": lambda items, rule: {"items": items[rule.items :]},
    "duplicate_item": lambda items, rule: {"items": items + items[: rule.items]},
    "foreign_item": _foreign,
    "items_dict": lambda items, _: {"items": {str(number): item for number, item in enumerate(items)}},
    "items_null": lambda *_: {"items": None},
    "no_items": lambda *_: {"items": []},
    "no_ids": lambda items, rule: {
        "items": [{**item, "id": None} if place < rule.items else item for place, item in enumerate(items)]
    },
    "bare_phones": lambda items, _: {"items": [{**item, "phone": str(item["phone"]).removeprefix("+48")} for item in items]},
}
