"""Listens with bounds: a maximum of connections at once, and the first request's headers within a few seconds.

aiohttp bounds neither. The bounds of bodies, in bytes and in time, are in ``bodies``.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from typing_extensions import override

MAX_CONNECTIONS = 200
HEADERS_SECONDS = 10.0
"""The provider itself waits ten seconds for the whole exchange (the page "Postback delivery reports" of one)."""

IDLE_SECONDS = 75.0
_END_OF_HEADERS = b"\r\n\r\n"


class BoundedSite(web.TCPSite):
    """A ``TCPSite`` whose connections are bounded."""

    open_connections = 0

    @override
    async def start(self) -> None:
        """Listen."""
        await web.BaseSite.start(self)
        serve = self._runner.server
        if serve is None:
            raise RuntimeError("the runner is not set up")
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Bounded(self, serve()), self._host, self._port, backlog=self._backlog
        )


class _Bounded(asyncio.Protocol):
    """Stands before aiohttp's own protocol. It ends a connection too many, or a silent one, and passes on all else."""

    def __init__(self, site: BoundedSite, inner: asyncio.Protocol) -> None:
        self._site = site
        self._inner = inner
        self._end = b""
        self._timer: asyncio.TimerHandle | None = None
        self._is_refused = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._site.open_connections += 1
        self._is_refused = self._site.open_connections > MAX_CONNECTIONS
        assert isinstance(transport, asyncio.Transport)
        if self._is_refused:
            transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(HEADERS_SECONDS, transport.abort)
        self._inner.connection_made(transport)

    @override
    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self._timer is not None:
            self._end += data
            if _END_OF_HEADERS in self._end:
                self._timer.cancel()
                self._timer = None
            self._end = self._end[-3:]
        self._inner.data_received(data)

    @override
    def eof_received(self) -> bool | None:
        return None if self._is_refused else self._inner.eof_received()

    @override
    def pause_writing(self) -> None:
        self._inner.pause_writing()

    @override
    def resume_writing(self) -> None:
        self._inner.resume_writing()

    @override
    def connection_lost(self, error: Exception | None) -> None:
        self._site.open_connections -= 1
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_refused:
            self._inner.connection_lost(error)
