"""A TCP proxy before PostgreSQL that loses acknowledgements: a COMMIT is carried out, and nobody is told.

What goes through it is plain (it answers that there is no encryption).
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

_NO_ENCRYPTION = {80877103, 80877104}  # SSLRequest and GSSENCRequest, which come before anything else
_COMMIT = b"COMMIT\x00"
_BLOCK = 65_536


class LossyProxy:
    """Hands everything on to the server at ``host`` and ``server_port``; ``port`` is its own, of 127.0.0.1.

    ``should_lose`` is asked at every COMMIT; where it says yes, the server carries it out, its answer is dropped and both
    connections are reset. ``lost`` counts.
    """

    def __init__(self, host: str, server_port: int, should_lose: Callable[[], bool]) -> None:
        self.should_lose = should_lose
        self.port = 0
        self.lost = 0
        self._host, self._server_port = host, server_port
        self._links: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen for as long as the block lasts; then every connection is reset."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for link in self._links:
                link.cancel()
            await asyncio.gather(*self._links, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.create_task(self._serve(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            there, back = await asyncio.open_connection(self._host, self._server_port)
            ends.append(back)
            link = _Link(reader, writer, there, back, self.should_lose)
            await link.carry()
            self.lost += link.has_lost
        except OSError:
            pass  # there is no server: for the client the connection breaks
        finally:
            for end in ends:
                end.transport.abort()
            for end in ends:
                with suppress(OSError):
                    await end.wait_closed()


class _Link:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        should_lose: Callable[[], bool],
    ) -> None:
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._should_lose = should_lose
        self._loses = False
        self.has_lost = False

    async def carry(self) -> None:
        """Both ways, until one of the two has ended."""
        ways = [asyncio.create_task(self._requests()), asyncio.create_task(self._answers())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _requests(self) -> None:
        """Hand on what the client says, message by message, until it says no more."""
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._begin()
            while True:
                kind = await self._client.readexactly(1)
                length = await self._client.readexactly(4)
                body = await self._client.readexactly(struct.unpack("!i", length)[0] - 4)
                if kind in b"QP" and body.endswith(_COMMIT) and self._should_lose():
                    self._loses = True  # before the server hears it, so that no answer slips by
                self._to_server.write(kind + length + body)
                await self._to_server.drain()

    async def _answers(self) -> None:
        """Hand on what the server says; once it has carried out the COMMIT that is to be lost, nothing more."""
        with suppress(OSError):
            while data := await self._server.read(_BLOCK):
                if self._loses:
                    self.has_lost = _COMMIT in data
                    return
                self._to_client.write(data)
                await self._to_client.drain()

    async def _begin(self) -> None:
        """The messages before the first that names its kind: encryption is declined, the rest handed on."""
        while True:
            length = await self._client.readexactly(4)
            body = await self._client.readexactly(struct.unpack("!i", length)[0] - 4)
            if struct.unpack("!i", body[:4])[0] not in _NO_ENCRYPTION:
                self._to_server.write(length + body)
                return
            self._to_client.write(b"N")


@contextmanager
def proxy_thread(proxy: LossyProxy) -> Iterator[None]:
    """The proxy in a thread of its own, for tests whose own process waits for the ledger."""
    ready, loop, ended = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with proxy.serving():
            ready.set()
            await ended.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
