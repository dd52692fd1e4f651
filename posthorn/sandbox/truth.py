"""What really happened, and the sandbox's controls, as JSON under ``/_sandbox/``. Never faulted, never counted.

::

    GET  truth                              totals, requests, faults fired
    GET  messages?phone=&title=&page=&limit=  every message, oldest first
    GET  counts?title=                      {phone: times accepted}
    GET  tickets?to=&barcode=&mms_id=&page=&limit=  every ticket, oldest first
    GET  barcode/<tracking id>.png          a ticket's barcode, drawn
    GET  requests?call=                     the latest requests
    PUT  faults  [rule, ...]                replace the rules, counted from zero
    POST clock   {"advance_seconds": n, "speed": n, "skew_seconds": n}
    PUT  credit  {"mms": n or null, "mode": "items|request|midway"}
    PUT  skycore {"billing_problem": true, ...}  other limits and flags of the Skycore account
    POST postbacks {"flush": true}          send what is due; answers sent, acknowledged, dropped, waiting
    POST callbacks {"flush": true}          call for what is new; answers called, acknowledged, lost, forged
    POST reset

``messages`` and ``counts`` take ``provider=`` too; without it they show the first provider that has campaigns.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from posthorn.errors import InputError
from posthorn.sandbox.faults import FaultError

if TYPE_CHECKING:
    from posthorn.sandbox.server import Provider, Sandbox

_PAGE = 1_000


def told(box: Sandbox) -> dict[str, Any]:
    """The truth in numbers: sums over the providers, and each provider's own under its name."""
    flights = box.traffic.max_flights
    each = {
        provider.name: {**provider.truth(), "max_in_flight": flights.get(provider.name, 0)} for provider in box.providers
    }
    keys = ("accepted", "numbers", "twice", "dispatched", "scheduled", "withdrawn")
    return {
        **{key: sum(totals.get(key, 0) for totals in each.values()) for key in keys},
        **each,
        "requests": dict(box.traffic.calls),
        "send_requests": box.traffic.sends,
        "in_flight": box.traffic.in_flight,
        "max_in_flight": box.traffic.max_in_flight,
        "faults": box.faults.fired(),
    }


async def answer(box: Sandbox, request: web.BaseRequest) -> web.Response:
    """Answer a request under ``/_sandbox/``: 404 for an unknown address, 400 for a body that cannot be understood."""
    verb = request.method, request.path.removeprefix("/_sandbox/")
    try:
        if verb in _QUESTIONS:
            return _json(_QUESTIONS[verb](box, request.query))
        if verb in _ORDERS:
            done = _ORDERS[verb](box, orjson.loads(await request.read() or b"{}"))
            return _json((await done if inspect.isawaitable(done) else done) or {"ok": True})
        if verb[0] == "GET" and verb[1].startswith("barcode/"):
            return _barcode(box, verb[1].removeprefix("barcode/").removesuffix(".png"))
    except (FaultError, InputError, ValueError, TypeError, KeyError, AttributeError) as error:
        return _json({"error": f"{type(error).__name__}: {error}"}, 400)
    known = [f"{method} /_sandbox/{name}" for method, name in (*_QUESTIONS, *_ORDERS)]
    return _json({"error": "no such thing", "known": known}, 404)


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


def _provider(box: Sandbox, query: Mapping[str, str]) -> Provider:
    named = query.get("provider", box.serwersms.name)
    return next(provider for provider in box.providers if provider.name == named)


def _messages(box: Sandbox, query: Mapping[str, str]) -> dict[str, Any]:
    page, limit = int(query.get("page", 1)), int(query.get("limit", _PAGE))
    provider = _provider(box, query)
    items = provider.listed(query.get("phone"), query.get("title"), (page - 1) * limit, limit + 1)
    return {"page": page, "more": len(items) > limit, "items": items[:limit]}


def _tickets(box: Sandbox, query: Mapping[str, str]) -> dict[str, Any]:
    page, limit = int(query.get("page", 1)), int(query.get("limit", _PAGE))
    items = box.skycore.tickets(query, (page - 1) * limit, limit + 1)
    return {"page": page, "more": len(items) > limit, "items": items[:limit]}


def _barcode(box: Sandbox, tracking_id: str) -> web.Response:
    image = box.skycore.barcode(tracking_id)
    return _json({"error": "no such ticket"}, 404) if image is None else web.Response(body=image, content_type="image/png")


def _postbacks(box: Sandbox, order: Mapping[str, Any]) -> Awaitable[object]:
    if order != {"flush": True}:
        raise ValueError('expected {"flush": true}')
    return box.skycore.postbacks.flush()


def _callbacks(box: Sandbox, order: Mapping[str, Any]) -> Awaitable[object]:
    if order != {"flush": True}:
        raise ValueError('expected {"flush": true}')
    return box.serwersms.callbacks.flush()


def _clock(box: Sandbox, order: Mapping[str, Any]) -> None:
    box.move_clock(order)


def _credit(box: Sandbox, order: Mapping[str, Any]) -> None:
    mms = order["mms"]
    box.serwersms.set_credit(None if mms is None else int(mms), order.get("mode"))


_QUESTIONS: dict[tuple[str, str], Callable[[Sandbox, Mapping[str, str]], object]] = {
    ("GET", "truth"): lambda box, _: told(box),
    ("GET", "messages"): _messages,
    ("GET", "counts"): lambda box, query: _provider(box, query).counts(query.get("title")),
    ("GET", "tickets"): _tickets,
    ("GET", "requests"): lambda box, query: list(box.traffic.log(query.get("call"))),
}
_ORDERS: dict[tuple[str, str], Callable[[Sandbox, Any], object]] = {
    ("PUT", "faults"): lambda box, rules: box.faults.replace(rules),
    ("POST", "clock"): _clock,
    ("PUT", "credit"): _credit,
    ("PUT", "skycore"): lambda box, order: box.skycore.account.change(order),
    ("POST", "postbacks"): _postbacks,
    ("POST", "callbacks"): _callbacks,
    ("POST", "reset"): lambda box, _: box.reset(),
}
