"""A server that speaks raw bytes on loopback, so that a test decides exactly what a client meets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Self

OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def ok(body: bytes = b"{}") -> bytes:
    return OK_HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Conversation:
    """One accepted connection."""

    def __init__(self, server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer

    async def request(self) -> bytes:
        """Read one whole request; it counts as executed."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        whole = head + await self.reader.readexactly(length)
        self.server.executed.append(whole)
        self.server.heard.set()
        return whole

    async def say(self, answer: bytes) -> None:
        self.writer.write(answer)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def forever(self) -> None:
        await asyncio.Event().wait()


Behaviour = Callable[[Conversation], Awaitable[None]]


class RawServer:
    """Runs ``behave`` for each connection; counts connections and keeps each request that was read whole."""

    def __init__(self, behave: Behaviour, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._behave, self._tls, self._host = behave, tls, host
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.executed: list[bytes] = []
        self.heard = asyncio.Event()  # set with each request that was read whole

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"{'https' if self._tls else 'http'}://{host}:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._behave(Conversation(self, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone: its own business
        finally:
            writer.transport.abort() if writer.transport.is_closing() else writer.close()
