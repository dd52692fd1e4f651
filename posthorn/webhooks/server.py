"""The HTTP receiver of what providers push: small requests only, one secret path, 200 only after the ledger holds the news.

Nothing that is pushed is believed beyond the move it may make: it carries no signature.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from zoneinfo import ZoneInfo

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from posthorn.errors import LedgerError
from posthorn.gateways.serwersms import callbacks as serwersms_callbacks
from posthorn.gateways.skycore import postbacks as skycore_postbacks
from posthorn.ledger.parked import News
from posthorn.ledger.store.engine import Ledger
from posthorn.loopback import refusal
from posthorn.webhooks.bodies import read_body, read_form
from posthorn.webhooks.connections import IDLE_SECONDS, BoundedSite
from posthorn.webhooks.intake import Intake

_logger = logging.getLogger(__name__)


async def listen(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Have the application listen, with bounds; no access log, for the path is the secret. Call ``cleanup`` to end it.

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=IDLE_SECONDS, auto_decompress=False)
    await runner.setup()
    try:
        await BoundedSite(runner, host, port).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


def application(
    ledger: Ledger,
    secret: str,
    zone: ZoneInfo,
    *,
    names: Collection[str] = (),
    any_host: bool = False,
    clock: Callable[[], float] = time.time,
) -> web.Application:
    """The receiver as an application: ``POST /<secret>/skycore``, and ``GET`` or ``POST /<secret>/serwersms``.

    Everything else is 404, so that nothing is given away. ``zone`` is that of SerwerSMS's dates. ``names`` and ``any_host``
    are those of ``posthorn.loopback.refusal``: what it refuses is 404, too.
    """
    receiver = _Receiver(Intake(ledger, clock), secret, zone)
    guard = _guard(names, any_host=any_host)
    app = web.Application(client_max_size=skycore_postbacks.MAX_BYTES, middlewares=[guard])
    app.router.add_post("/{secret}/skycore", receiver.skycore)
    app.router.add_get("/{secret}/serwersms", receiver.serwersms, allow_head=False)
    app.router.add_post("/{secret}/serwersms", receiver.serwersms)
    app.router.add_route("*", "/{path:.*}", _nothing)  # or another method would tell that there is something
    return app


def _guard(names: Collection[str], *, any_host: bool) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        reason = refusal(lambda name: request.headers.getall(name, []), names, any_host=any_host)
        if reason is not None:
            _logger.warning("a request was refused: %s (names that a proxy passes on: POSTHORN_HOST_NAMES)", reason)
            raise web.HTTPNotFound
        return await handler(request)

    return guard


async def _nothing(_: web.Request) -> web.Response:
    raise web.HTTPNotFound


class _Receiver:
    def __init__(self, intake: Intake, secret: str, zone: ZoneInfo) -> None:
        self._intake = intake
        self._secret = secret.encode()
        self._zone = zone

    async def skycore(self, request: web.Request) -> web.Response:
        self._refuse_strangers(request)
        body = await read_body(request, skycore_postbacks.MAX_BYTES)
        try:
            postbacks = await asyncio.to_thread(skycore_postbacks.read, request.content_type, body)
        except skycore_postbacks.Unreadable as error:
            raise _refused("postback", error) from None
        news = [
            News(
                one.tracking_id,
                one.state,
                one.phone,
                one.mms_id,
                one.details[:64] or None,
                happened_at=one.happened_at,
                gateway="skycore",
            )
            for one in postbacks
            if one.state is not None
        ]
        return await self._taken(news)

    async def serwersms(self, request: web.Request) -> web.Response:
        self._refuse_strangers(request)
        body = await read_body(request, serwersms_callbacks.MAX_BYTES)
        try:
            callback = serwersms_callbacks.read({**_fields(request, body), **request.query}, self._zone)
        except serwersms_callbacks.Unreadable as error:
            raise _refused("callback", error) from None
        news = News(
            callback.message_id,
            callback.state,
            reason=callback.reason,
            delivered_at=callback.delivered_at,
            happened_at=callback.happened_at,
            gateway="serwersms",
        )
        return await self._taken([news])

    def _refuse_strangers(self, request: web.Request) -> None:
        if not hmac.compare_digest(request.match_info["secret"].encode(errors="replace"), self._secret):
            raise web.HTTPNotFound

    async def _taken(self, news: Sequence[News]) -> web.Response:
        try:
            await self._intake.take(news)
        except LedgerError:
            _logger.exception("pushed news could not be kept; the provider may push it again, or the next pull asks for it")
            raise web.HTTPServiceUnavailable from None
        return web.Response(text="ok\n")


def _fields(request: web.Request, body: bytes) -> Mapping[str, str]:
    """The fields of a posted form; none for a GET."""
    if request.content_type != "application/x-www-form-urlencoded":
        return {}
    try:
        return read_form(body)
    except ValueError as error:
        raise _refused("callback", error) from None


def _refused(what: str, error: ValueError) -> web.HTTPBadRequest:
    why = error.reason if isinstance(error, UnicodeDecodeError) else str(error)  # the former quotes the body
    _logger.warning("a %s was refused: %s", what, why)
    return web.HTTPBadRequest(text=f"{why}\n")
