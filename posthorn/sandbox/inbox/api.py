"""Everything that the pages can do, as JSON under ``/_sandbox/api/``, with waiting and export; and server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from posthorn.sandbox.inbox import openapi
from posthorn.sandbox.inbox.chaos import PRESETS, use_preset
from posthorn.sandbox.inbox.deeds import DeedRefused, do
from posthorn.sandbox.inbox.entries import PAGE
from posthorn.sandbox.inbox.pages import HEADERS, NotFound, answered, found, whole
from posthorn.sandbox.inbox.story import story_of

if TYPE_CHECKING:
    from posthorn.sandbox.server import Sandbox

_MAX_PER_PAGE = 1_000
_MAX_SECONDS = 600.0
_LOOK_EVERY_SECONDS = 0.05
_NEWS_EVERY_SECONDS = 0.5
_QUIET_ROUNDS = 30
_LINES_AT_ONCE = 1_000


def messages(box: Sandbox, query: Mapping[str, str]) -> web.Response:
    """GET messages?q=&page=&limit=&upto="""
    limit = whole(query.get("limit", str(PAGE)), 1, _MAX_PER_PAGE)
    listing = box.inbox.page(query.get("q", ""), whole(query.get("page", "1"), 1, 10**6), limit, query.get("upto"))
    return json_of(
        {
            "page": listing.page,
            "more": listing.more,
            "upto": str(listing.mark),
            "total": listing.mark.total,
            "new": listing.new,
            "items": listing.entries,
        }
    )


def one(box: Sandbox, key: str) -> web.Response:
    """GET messages/KEY"""
    return json_of(story_of(box, found(box, key)).as_json())


async def deed(box: Sandbox, key: str, name: str) -> web.Response:
    """POST messages/KEY/DEED"""
    try:
        said = await do(box, found(box, key), name)
    except DeedRefused as error:
        return json_of({"error": str(error)}, 409)
    return json_of({"done": said, **story_of(box, found(box, key)).as_json()})


async def wait(box: Sandbox, query: Mapping[str, str]) -> web.Response:
    """GET wait?count=&q=&seconds=: answers once that many are found; 408 with those found if they did not come in time."""
    count = whole(query.get("count", "1"), 1, _MAX_PER_PAGE)
    seconds = float(query.get("seconds", 10))
    if not 0 <= seconds <= _MAX_SECONDS:
        raise ValueError(f"seconds: expected 0 to {_MAX_SECONDS:g}")
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        entries = box.inbox.page(query.get("q", ""), length=count).entries
        has_come = len(entries) >= count
        if has_come or asyncio.get_running_loop().time() >= deadline or box.stopping.is_set():
            document = {"reached": has_come, "count": len(entries), "items": entries}
            return json_of(document, 200 if has_come else 408)
        await _pause(box, _LOOK_EVERY_SECONDS)


async def export(box: Sandbox, request: web.BaseRequest) -> web.StreamResponse:
    """GET export?q=: every message, newest first, as one JSON list."""
    headers = {"Content-Type": "application/json", "Content-Disposition": 'attachment; filename="messages.json"'}
    response = web.StreamResponse(headers={**HEADERS, **headers})
    await response.prepare(request)
    lines, is_first = [], True
    await response.write(b"[")
    for entry in box.inbox.every(request.query.get("q", "")):
        lines.append((b"\n" if is_first else b",\n") + encoded(entry))
        is_first = False
        if len(lines) == _LINES_AT_ONCE:
            await response.write(b"".join(lines))
            lines = []
            await asyncio.sleep(0)  # let senders have a turn
    await response.write(b"".join(lines) + b"\n]\n")
    await response.write_eof()
    return response


async def events(box: Sandbox, request: web.BaseRequest) -> web.StreamResponse:
    """GET events?upto=: server-sent events with the number of new messages, and how often faults struck."""
    mark = box.inbox.mark(request.query.get("upto"))
    response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
    await response.prepare(request)
    told, quiet = b"", 0
    while not box.stopping.is_set():
        now = box.inbox.mark()
        news = {"total": now.total, "new": max(0, now.total - mark.total), "struck": sum(box.faults.fired().values())}
        line = b"data: " + orjson.dumps(news) + b"\n\n"
        quiet = 0 if line != told else quiet + 1
        if quiet in (0, _QUIET_ROUNDS):
            # Checked twice a second and sent only if it changed, so that no sender waits for it.
            with suppress(ConnectionError):
                await response.write(line if quiet == 0 else b": still here\n\n")
            told, quiet = line, 0
        await _pause(box, _NEWS_EVERY_SECONDS)
    return response


async def _pause(box: Sandbox, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(box.stopping.wait(), seconds)


def faults(box: Sandbox, _: Mapping[str, str]) -> web.Response:
    """GET faults: the rules in force, how often they struck, and the presets."""
    presets = {name: preset.says for name, preset in PRESETS.items()}
    return json_of({"rules": [rule.shown() for rule in box.faults.rules], "presets": presets})


def clear(box: Sandbox) -> web.Response:
    """DELETE messages"""
    box.clear()
    return json_of({"ok": True})


async def order(box: Sandbox, name: str, body: Any) -> web.Response:
    """POST presets, faults, account: switch on a preset, add a fault, or change the account's behaviour.

    Raises:
        NotFound: there is no such call.
        FaultError: a rule or preset that cannot be understood.
        ValueError: another value is impossible.
    """
    if name == "presets":
        use_preset(box, body["preset"])
    elif name == "faults":
        box.faults.add(body)
    elif name == "account":
        box.serwersms.account.become(body)
    else:
        raise NotFound
    return faults(box, {})


def json_of(document: object, status: int = 200) -> web.Response:
    """A document."""
    return answered(encoded(document), "application/json", status=status)


def encoded(document: object) -> bytes:
    """A JSON document as bytes, whatever characters its texts hold."""
    return orjson.dumps(document)


def described(box: Sandbox, _: Mapping[str, str]) -> web.Response:
    """The OpenAPI description of this API."""
    return json_of(openapi.document(box.url))


GETS: dict[str, Callable[[Sandbox, Mapping[str, str]], web.Response | Awaitable[web.Response]]] = {
    "api/messages": messages,
    "api/wait": wait,
    "api/faults": faults,
    "openapi.json": described,
}
