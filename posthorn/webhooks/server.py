"""The HTTP receiver of what providers push: small requests only, one secret path, 200 only after the ledger holds the news.

Pushed news carries no signature, so it is believed only as far as the move that it may make.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from posthorn.errors import LedgerError
from posthorn.gateways import registry
from posthorn.gateways.descriptor import Push, Reader, Route, Unreadable
from posthorn.ledger.store.engine import Ledger
from posthorn.loopback import refusal
from posthorn.models import News, OptOut
from posthorn.settings import Settings
from posthorn.webhooks.bodies import read_body
from posthorn.webhooks.connections import IDLE_SECONDS, BoundedSite
from posthorn.webhooks.intake import NewsIntake

_logger = logging.getLogger(__name__)


async def listen(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Let the application listen, with bounds. No access log, because the path is the secret. Call ``cleanup`` to end it.

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
    settings: Settings,
    *,
    names: Collection[str] = (),
    any_host: bool = False,
    clock: Callable[[], float] = time.time,
) -> web.Application:
    """The receiver as an application: ``/<secret>/<path>`` for each push route of each gateway, with its methods.

    Everything else is 404, so that nothing is given away. ``names`` and ``any_host`` are those of
    ``posthorn.loopback.refusal``: what it refuses is 404, too.
    """
    receiver = _Receiver(NewsIntake(ledger, clock), secret)
    origin_check = _origin_check(names, any_host=any_host)
    routes = [(gateway, route) for gateway in registry.GATEWAYS for route in gateway.routes]
    app = web.Application(client_max_size=max(route.max_bytes for _, route in routes), middlewares=[origin_check])
    for gateway, route in routes:
        handler = receiver.taking(gateway.name, route, route.open(settings))
        for method in route.methods:
            app.router.add_route(method, f"/{{secret}}/{route.path}", handler)
    app.router.add_route("*", "/{path:.*}", _nothing)  # or another method would tell that there is something
    return app


def _origin_check(names: Collection[str], *, any_host: bool) -> Middleware:
    @web.middleware
    async def check_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
        reason = refusal(lambda name: request.headers.getall(name, []), names, any_host=any_host)
        if reason is not None:
            _logger.warning("a request was refused: %s (names that a proxy passes on: POSTHORN_HOST_NAMES)", reason)
            raise web.HTTPNotFound
        return await handler(request)

    return check_origin


async def _nothing(_: web.Request) -> web.Response:
    raise web.HTTPNotFound


class _Receiver:
    def __init__(self, intake: NewsIntake, secret: str) -> None:
        self._intake = intake
        self._secret = secret.encode()

    def taking(self, gateway: str, route: Route, read: Reader) -> Handler:
        """Makes the handler of one gateway's route: each request is read, kept, and only then answered."""

        async def take(request: web.Request) -> web.StreamResponse:
            self._refuse_strangers(request)
            body = await read_body(request, route.max_bytes)
            try:
                news = await asyncio.to_thread(read, Push(request.content_type, body, request.query))
            except Unreadable as error:
                _logger.warning("a %s was refused: %s", route.what, error)
                raise web.HTTPBadRequest(text=f"{error}\n") from None
            return await self._taken([replace(one, gateway=gateway) for one in news])

        return take

    def _refuse_strangers(self, request: web.Request) -> None:
        if not hmac.compare_digest(request.match_info["secret"].encode(errors="replace"), self._secret):
            raise web.HTTPNotFound

    async def _taken(self, news: Sequence[News | OptOut]) -> web.Response:
        try:
            await self._intake.take(news)
        except LedgerError:
            _logger.exception("pushed news could not be kept; the provider may push it again, or the next pull asks for it")
            raise web.HTTPServiceUnavailable from None
        return web.Response(text="ok\n")
