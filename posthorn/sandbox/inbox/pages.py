"""The pages a person sees, rendered here and escaped throughout; their script and style come from this server only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson
from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from posthorn.sandbox.faults import FAULTS, FaultError
from posthorn.sandbox.inbox import openapi
from posthorn.sandbox.inbox.chaos import CALLS, PRESETS, switch, use_preset
from posthorn.sandbox.inbox.deeds import DEEDS, DeedRefused, do
from posthorn.sandbox.inbox.entries import Found
from posthorn.sandbox.inbox.search import FIELDS
from posthorn.sandbox.inbox.story import picture_type, story_of

if TYPE_CHECKING:
    from posthorn.sandbox.server import Sandbox

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HERE = Path(__file__).parent
_STATIC = {"inbox.css": "text/css; charset=utf-8", "inbox.js": "text/javascript; charset=utf-8"}
_MAX_PAGES = 1_000_000
_MAX_REQUEST_CHARACTERS = 20_000

_pages = Environment(loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined)
_pages.policies["json.dumps_kwargs"] = {"sort_keys": False}


class NotFound(Exception):
    """There is no such message, file or page."""


def listing(box: Sandbox, query: Mapping[str, str]) -> web.Response:
    """The list; with ``part=rows`` only its rows, for an open page that updates itself."""
    words = query.get("q", "")
    page = box.inbox.page(words, whole(query.get("page", "1"), 1, _MAX_PAGES), upto=query.get("upto"))
    name = "_rows.html" if query.get("part") == "rows" else "list.html"
    return _html(name, box, listing=page, words=words, here=_here(words, page.page, str(page.mark)), fields=FIELDS)


def _here(words: str, page: int, upto: str) -> dict[str, str]:
    """The addresses of this page, of the newest one, and of those before and after it."""
    base = {"q": words} if words else {}
    mark = {"upto": upto}
    return {
        "now": "/?" + urlencode({**base, "page": str(page), **mark}),
        "newest": "/?" + urlencode(base) if base else "/",
        "newer": "/?" + urlencode({**base, "page": str(page - 1), **mark}),
        "older": "/?" + urlencode({**base, "page": str(page + 1), **mark}),
    }


def message(box: Sandbox, key: str, query: Mapping[str, str]) -> web.Response:
    """One message in full."""
    story = story_of(box, found(box, key))
    request = "" if story.request is None else orjson.dumps(story.request, option=orjson.OPT_INDENT_2).decode()
    cut = len(request) > _MAX_REQUEST_CHARACTERS
    return _html(
        "message.html",
        box,
        story=story,
        deeds=DEEDS,
        request=request[:_MAX_REQUEST_CHARACTERS] + ("\n… (the API shows it whole)" if cut else ""),
        said=query.get("said", ""),
    )


def chaos(box: Sandbox, query: Mapping[str, str]) -> web.Response:
    """The switches."""
    truth = box.truth()
    return _html(
        "chaos.html",
        box,
        rules=[rule.shown() for rule in box.faults.rules],
        faults=[(name, stage) for name, stage in FAULTS.items()],
        on={rule.fault for rule in box.faults.rules},
        calls=CALLS,
        presets=PRESETS,
        truth=truth,
        credit=box.serwersms.account.credit,
        tickets_credit=box.skycore.account.credit,
        options=box.serwersms.account.options,
        said=query.get("said", ""),
    )


def docs(box: Sandbox, _: Mapping[str, str]) -> web.Response:
    """The API's description, as a page."""
    return _html("docs.html", box, document=openapi.document(box.url))


async def act(box: Sandbox, name: str, form: Mapping[str, str]) -> web.Response:
    """Do what a form asks, then show the page again with a line that says what was done."""
    if name in ("clear", "deed"):
        return await _act_on_messages(box, name, form)
    try:
        said = _ACTS[name](box, form)
    except KeyError as error:
        raise NotFound from error
    except (FaultError, ValueError) as error:
        said = f"Not done: {error}"
    return _back("/_sandbox/chaos", said)


async def _act_on_messages(box: Sandbox, name: str, form: Mapping[str, str]) -> web.Response:
    if name == "clear":
        box.clear()
        return _back("/", "")
    key = form.get("key", "")
    try:
        said = await do(box, found(box, key), form.get("deed", ""))
    except DeedRefused as error:
        said = f"Not done: {error}"
    return _back(f"/_sandbox/messages/{key}", said)


def _add(box: Sandbox, form: Mapping[str, str]) -> str:
    given: dict[str, Any] = {name: value for name, value in form.items() if value and name in _RULE_FIELDS}
    if form.get("next"):
        given["times"] = 1
    return f"{given.get('fault', '')} is {'on' if switch(box, given) else 'off'}."


def _preset(box: Sandbox, form: Mapping[str, str]) -> str:
    use_preset(box, form.get("preset", ""))
    return f"On: {form['preset']}."


def _remove(box: Sandbox, form: Mapping[str, str]) -> str:
    box.faults.remove(int(form.get("place", "")))
    return "The fault is off."


def _calm(box: Sandbox, _: Mapping[str, str]) -> str:
    box.faults.replace(())
    return "Every fault is off."


def _clock(box: Sandbox, form: Mapping[str, str]) -> str:
    box.move_clock({name: float(value) for name, value in form.items() if value})
    return "The clock is set."


def _credit(box: Sandbox, form: Mapping[str, str]) -> str:
    mms, tickets = (int(form[name]) if form.get(name) else None for name in ("mms", "tickets"))
    box.serwersms.set_credit(mms, form.get("mode") or None)
    box.skycore.account.change({"credit": tickets})
    return "The credit is set."


def _account(box: Sandbox, form: Mapping[str, str]) -> str:
    box.serwersms.account.become(form)
    return "The account's behaviour is set."


_RULE_FIELDS = ("fault", "call", "at", "every", "probability", "times", "seconds", "status", "code", "items")
_ACTS = {
    "fault": _add,
    "preset": _preset,
    "remove": _remove,
    "calm": _calm,
    "clock": _clock,
    "credit": _credit,
    "account": _account,
}


def found(box: Sandbox, key: str) -> Found:
    """The message of a key.

    Raises:
        NotFound: there is none.
    """
    one = box.inbox.find(key)
    if one is None:
        raise NotFound
    return one


def picture(box: Sandbox, file_id: str) -> web.Response:
    """A file as received: a picture with the type that its first bytes show, anything else as plain text."""
    file = box.serwersms.account.pictures.get(file_id)
    if file is None or file.content is None:
        raise NotFound
    kind = picture_type(file.content) or "text/plain; charset=utf-8"
    return answered(file.content, kind, {"Content-Security-Policy": "default-src 'none'; sandbox"})


def code(box: Sandbox, number: str) -> web.Response:
    """A ticket's code as a picture."""
    ticket = box.skycore.account.tickets.by_number(int(number)) if number.isdecimal() else None
    image = None if ticket is None else box.skycore.barcode(ticket.tracking_id)
    if image is None:
        raise NotFound
    return answered(image, "image/png")


def static(name: str) -> web.Response:
    """The pages' own style and script."""
    if name not in _STATIC:
        raise NotFound
    return answered((_HERE / "static" / name).read_bytes(), _STATIC[name])


def missing() -> web.Response:
    """The answer at an unknown address."""
    return web.Response(status=404, text="There is nothing here. The inbox is at /\n", headers=HEADERS)


def answered(body: bytes, content_type: str, headers: Mapping[str, str] | None = None, status: int = 200) -> web.Response:
    """An answer of bytes, with the headers that every answer has."""
    return web.Response(body=body, status=status, headers={**HEADERS, **(headers or {}), "Content-Type": content_type})


def whole(text: str, least: int, most: int) -> int:
    """A number from a query, within bounds; the lower bound if it is not a number."""
    return min(max(int(text), least), most) if text.isascii() and text.isdigit() else least


def _html(name: str, box: Sandbox, **given: object) -> web.Response:
    now = box.clock.stamp(box.clock.wall())
    text = _pages.get_template(name).render(**given, struck=sum(box.faults.fired().values()), box=box, now=now)
    return answered(text.encode(errors="replace"), "text/html; charset=utf-8")


def _back(address: str, said: str) -> web.Response:
    """Redirect to the page, which says what was done."""
    where = address + ("?" + urlencode({"said": said}) if said else "")
    return web.Response(status=303, headers={**HEADERS, "Location": where})
