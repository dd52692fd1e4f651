"""The HTTP receiver of postbacks: small bodies only, one secret path, 200 only after the ledger holds the news.

Nothing a postback says is believed beyond the move it may make: it carries no signature.
"""

from __future__ import annotations

import asyncio
import hmac
import logging

from aiohttp import web

from posthorn.errors import LedgerError
from posthorn.gateways import skycore_postbacks
from posthorn.ledger.news import News, apply_parked, take_news
from posthorn.ledger.store import Ledger

_logger = logging.getLogger(__name__)


def application(ledger: Ledger, secret: str) -> web.Application:
    """The receiver as an application: ``POST /<secret>/skycore``. Everything else is 404, so that nothing is given away."""
    receiver = _Receiver(ledger, secret)
    app = web.Application(client_max_size=skycore_postbacks.MAX_BYTES)
    app.router.add_post("/{secret}/skycore", receiver.skycore)
    return app


class _Receiver:
    def __init__(self, ledger: Ledger, secret: str) -> None:
        self._ledger = ledger
        self._secret = secret.encode()

    async def skycore(self, request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.match_info["secret"].encode(), self._secret):
            raise web.HTTPNotFound
        body = await request.read()  # aiohttp answers 413 to more than client_max_size
        try:
            postbacks = skycore_postbacks.read(request.content_type, await _unwrapped(request, body))
        except skycore_postbacks.Unreadable as error:
            _logger.warning("a postback was refused: %s", error)
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        news = [
            News(one.tracking_id, one.state, one.phone, one.mms_id, one.details[:64] or None)
            for one in postbacks
            if one.state is not None
        ]
        try:
            await asyncio.to_thread(self._take, news)
        except LedgerError:
            _logger.exception("a postback could not be kept; the provider will push it again")
            raise web.HTTPServiceUnavailable from None
        return web.Response(text="ok\n")

    def _take(self, news: list[News]) -> None:
        take_news(self._ledger, news)
        apply_parked(self._ledger)


async def _unwrapped(request: web.Request, body: bytes) -> bytes:
    """The XML of a multipart form, as one client of the provider sends; other bodies as they are."""
    if request.content_type != "multipart/form-data":
        return body
    form = await request.post()
    field = form.get("xml") or form.get("XML") or ""
    return field.encode() if isinstance(field, str) else b""
