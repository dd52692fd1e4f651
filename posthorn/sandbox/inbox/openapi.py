"""The API described as OpenAPI 3.1, from one table. It answers no requests."""

from __future__ import annotations

from typing import Any

from posthorn.sandbox.faults import FAULTS
from posthorn.sandbox.inbox.chaos import PRESETS
from posthorn.sandbox.inbox.deeds import DEEDS

_SEARCH = "words that must all occur; to:, title:, text:, code:, state:, campaign: limit a word to a field"
_ENTRY = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("key", "provider", "to", "title", "text", "campaign", "state", "at")},
        "code": {"type": ["string", "null"]},
        "reason": {"type": ["string", "null"]},
        "files": {"type": "array", "items": {"type": "string"}},
    },
}
_ENTRIES = {"type": "array", "items": {"$ref": "#/components/schemas/Message"}}
_RULE = {
    "type": "object",
    "required": ["fault"],
    "properties": {
        "fault": {"enum": list(FAULTS)},
        "call": {"type": "string", "description": "messages/send_mms, sendMMSBarcode, …; * is every call"},
        "at": {"type": "array", "items": {"type": "integer"}, "description": "which requests, from 1"},
        "every": {"type": "integer"},
        "probability": {"type": "number", "minimum": 0, "maximum": 1},
        "times": {"type": "integer", "description": "how often at most; 1 means the next request only"},
        "seconds": {"type": "number"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "items": {"type": "integer"},
    },
}

Described = tuple[str, str, str, dict[str, str], dict[str, Any] | None]
"""Method, path, summary, query parameters, and the schema of the body."""

_CALLS: tuple[Described, ...] = (
    (
        "get",
        "/_sandbox/api/messages",
        "Messages of both providers, newest first",
        {
            "q": _SEARCH,
            "page": "from 1",
            "limit": "1 to 1000",
            "upto": "the mark of an earlier answer: later messages are left out",
        },
        None,
    ),
    ("delete", "/_sandbox/api/messages", "Forget every message and answer; files, faults and credit stay", {}, None),
    ("get", "/_sandbox/api/messages/{key}", "One message with its files, story and raw request", {}, None),
    ("post", "/_sandbox/api/messages/{key}/{deed}", f"Do one of {', '.join(DEEDS)}; 409 if that is impossible", {}, None),
    (
        "get",
        "/_sandbox/api/wait",
        "Wait until that many messages are found; 408 if they do not come in time",
        {"q": _SEARCH, "count": "how many (1)", "seconds": "how long at most (10)"},
        None,
    ),
    ("get", "/_sandbox/api/export", "Every message as one JSON list", {"q": _SEARCH}, None),
    ("get", "/_sandbox/api/faults", "The faults that are on, how often they struck, and the presets", {}, None),
    ("post", "/_sandbox/api/faults", "One more fault", {}, _RULE),
    (
        "post",
        "/_sandbox/api/presets",
        "Replace all faults by a preset",
        {},
        {"type": "object", "properties": {"preset": {"enum": list(PRESETS)}}},
    ),
    (
        "post",
        "/_sandbox/api/account",
        "Change how the SerwerSMS account behaves",
        {},
        {
            "type": "object",
            "properties": {
                "account": {"enum": ["documented", "test", "reencodes", "no-multipart"]},
                "upload": {"enum": ["any", "multipart", "form", "base64"]},
            },
        },
    ),
    ("put", "/_sandbox/faults", "Replace all faults by these, counted from zero", {}, {"type": "array", "items": _RULE}),
    (
        "post",
        "/_sandbox/clock",
        "Move the clock",
        {},
        {
            "type": "object",
            "properties": {name: {"type": "number"} for name in ("advance_seconds", "speed", "skew_seconds")},
        },
    ),
    (
        "put",
        "/_sandbox/credit",
        "Set how many MMS may still be sent",
        {},
        {
            "type": "object",
            "properties": {"mms": {"type": ["integer", "null"]}, "mode": {"enum": ["items", "request", "midway"]}},
        },
    ),
    ("put", "/_sandbox/skycore", "Limits and flags of the Skycore account", {}, {"type": "object"}),
    ("post", "/_sandbox/callbacks", "Make every callback that is due", {}, {"type": "object"}),
    ("post", "/_sandbox/postbacks", "Make every postback that is due", {}, {"type": "object"}),
    ("post", "/_sandbox/reset", "Reset everything to the start", {}, None),
    ("get", "/_sandbox/truth", "What really happened, in numbers", {}, None),
    ("get", "/_sandbox/requests", "The latest requests", {"call": "only these"}, None),
    ("get", "/_sandbox/counts", "How often each number was sent to", {"title": "of one title", "provider": "whose"}, None),
    ("get", "/_sandbox/events", "Server-sent events: total, new since the mark, faults struck", {"upto": "a mark"}, None),
)


def document(url: str) -> dict[str, Any]:
    """The description; ``url`` is where the sandbox listens."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, says, query, body in _CALLS:
        paths.setdefault(path, {})[method] = _operation(path, says, query, body)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Posthorn sandbox",
            "version": "1",
            "description": "A stand-in for two MMS providers. No message leaves this machine.",
        },
        "servers": [{"url": url}],
        "paths": paths,
        "components": {"schemas": {"Message": _ENTRY, "Messages": _ENTRIES, "Fault": _RULE}},
    }


def _operation(path: str, says: str, query: dict[str, str], body: dict[str, Any] | None) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ("key", "deed")
        if f"{{{name}}}" in path
    ]
    parameters += [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}} for name, text in query.items()
    ]
    operation: dict[str, Any] = {"summary": says, "responses": {"200": {"description": "as the summary says"}}}
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return operation
