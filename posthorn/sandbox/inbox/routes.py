"""Routes of the pages, the API and the truth. Their requests are never faulted and never counted."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from posthorn.errors import InputError
from posthorn.sandbox import truth
from posthorn.sandbox.faults import FaultError
from posthorn.sandbox.inbox import api, pages
from posthorn.sandbox.inbox.pages import NotFound

if TYPE_CHECKING:
    from posthorn.sandbox.server import Sandbox

PREFIX = "/_sandbox/"
_PAGES = {"": pages.listing, "chaos": pages.chaos, "docs": pages.docs}


def is_ours(request: web.BaseRequest) -> bool:
    """Whether a request is for the inbox or the truth, and not for a provider."""
    return request.path.startswith(PREFIX) or (request.path == "/" and request.method == "GET")


async def answer(box: Sandbox, request: web.BaseRequest) -> web.StreamResponse:
    """Answer a request: 404 for an unknown address, 400 for a request that cannot be understood."""
    name = request.path.removeprefix(PREFIX) if request.path != "/" else ""
    try:
        if request.method == "GET":
            response = await _get(box, request, name)
        else:
            response = await _change(box, request, name)
    except NotFound:
        return pages.missing() if "api/" not in name else api.json_of({"error": "no such thing"}, 404)
    except (FaultError, InputError, ValueError, TypeError, KeyError, AttributeError) as error:
        return api.json_of({"error": f"{type(error).__name__}: {error}"}, 400)
    return response if response is not None else await truth.answer(box, request)


async def _get(box: Sandbox, request: web.BaseRequest, name: str) -> web.StreamResponse | None:
    folder, _, rest = name.partition("/")
    if name in _PAGES:
        return _PAGES[name](box, request.query)
    if name in api.GETS:
        told = api.GETS[name](box, request.query)
        return await told if inspect.isawaitable(told) else told
    if name in ("api/export", "events"):
        return await (api.export if name == "api/export" else api.events)(box, request)
    if name.startswith("api/messages/"):
        return api.one(box, name.removeprefix("api/messages/"))
    if folder == "messages" and rest:
        return pages.message(box, rest, request.query)
    return _file(box, folder, rest)


def _file(box: Sandbox, folder: str, name: str) -> web.Response | None:
    if folder == "static":
        return pages.static(name)
    if folder == "files":
        return pages.picture(box, name)
    if folder == "codes":
        return pages.code(box, name.removesuffix(".png"))
    return None


async def _change(box: Sandbox, request: web.BaseRequest, name: str) -> web.StreamResponse | None:
    verb = request.method, name
    if request.method == "POST" and name.startswith("do/"):
        return await pages.act(box, name.removeprefix("do/"), _form(await request.read()))
    if verb == ("DELETE", "api/messages"):
        return api.clear(box)
    if request.method == "POST" and name.startswith("api/messages/"):
        key, _, deed = name.removeprefix("api/messages/").partition("/")
        return await api.deed(box, key, deed)
    if request.method == "POST" and name.startswith("api/"):
        return await api.order(box, name.removeprefix("api/"), orjson.loads(await request.read() or b"{}"))
    return None


def _form(body: bytes) -> Mapping[str, str]:
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
