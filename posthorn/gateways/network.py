"""One connection, straight on asyncio's sockets: httpcore speaks HTTP on it and tells its trace; only its bytes are here.

httpcore's own network goes through anyio, which took a fifth of the sending loop's time. Nothing here tries a second time,
and whatever ends a stage, a cancellation too, leaves no socket open.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import httpcore
import httpx
from aiohappyeyeballs import AddrInfoType, start_connection

_T = TypeVar("_T")
_NEXT_ADDRESS_SECONDS = 0.25  # RFC 8305: after so long, the name's next address is tried beside the first
_TLS_BYTES = 64 * 1024
_ERRORS: dict[type[Exception], type[httpx.TransportError]] = {
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.WriteTimeout: httpx.WriteTimeout,
}


class OneConnection(httpx.AsyncBaseTransport):
    """Takes one request at a time: on the last one's connection while it is warm, else on a new one.

    httpx's own has a pool, which asks all its connections several times for each request, and adds nothing to the trace.
    """

    def __init__(self, tls: ssl.SSLContext, keepalive_seconds: float) -> None:
        self._tls = tls
        self._keepalive_seconds = keepalive_seconds
        self._connection: httpcore.AsyncHTTPConnection | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it and return its answer's head; the body follows as the answer's stream.

        Raises:
            httpx.TransportError: as httpx's own transport does.
        """
        url = request.url
        if url.scheme not in {"http", "https"}:
            raise httpx.UnsupportedProtocol(f"no transport for {url.scheme!r}")
        asked = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        connection = await self._to(asked.url.origin)
        try:
            with _as_httpx_says():
                answer = await connection.handle_async_request(asked)
        except BaseException:
            await connection.aclose()
            raise
        stream = _Body(answer, connection, is_kept=self._keepalive_seconds > 0)
        return httpx.Response(answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions)

    async def aclose(self) -> None:
        """Close the connection. A request that is under way on it fails; one that is still connecting goes on."""
        if self._connection is not None:
            await self._connection.aclose()

    async def _to(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        last = self._connection
        if last is not None:
            if last.can_handle_request(origin) and last.is_available() and not last.has_expired():
                return last
            await last.aclose()
        self._connection = httpcore.AsyncHTTPConnection(
            origin, ssl_context=self._tls, keepalive_expiry=self._keepalive_seconds, network_backend=Network()
        )
        return self._connection


class _Body(httpx.AsyncByteStream):
    """The answer's body as it comes. Once closed, the connection is idle or closed."""

    def __init__(self, answer: httpcore.Response, connection: httpcore.AsyncHTTPConnection, *, is_kept: bool) -> None:
        self._answer, self._connection, self._is_kept = answer, connection, is_kept

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert not isinstance(self._answer.stream, Iterable)
        with _as_httpx_says():
            async for piece in self._answer.stream:
                yield piece

    async def aclose(self) -> None:
        try:
            await self._answer.aclose()
        finally:
            if not (self._is_kept and self._connection.is_idle()) or _holds_more(self._connection):
                await self._connection.aclose()


def _holds_more(connection: httpcore.AsyncHTTPConnection) -> bool:
    """Whether bytes came with an answer that are behind its end. httpcore would read them as the next request's answer."""
    http11 = connection._connection  # noqa: SLF001 - it tells nobody
    assert isinstance(http11, httpcore.AsyncHTTP11Connection)
    behind, _ = http11._h11_state.trailing_data  # noqa: SLF001
    return bool(behind)


@contextlib.contextmanager
def _as_httpx_says() -> Iterator[None]:
    try:
        yield
    except tuple(_ERRORS) as error:
        raise _ERRORS[type(error)](str(error)) from error


class Network(httpcore.AsyncNetworkBackend):
    """Where httpcore gets its connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's names, here and below
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first of the host's addresses that answers."""
        assert local_address is None
        assert socket_options is None
        with _as_httpcore_says(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(timeout):
                return _Tcp(await _connected(await _addresses(host, port)))


async def _connected(addresses: Sequence[AddrInfoType]) -> socket.socket:
    """A connected socket; a cancellation ends it, also one that came while a slower address was given up.

    The library loses such a one, and a request would leave that was called off, or that no time-out ends any more.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    sock = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS, socket_factory=_undelayed)
    if task.cancelling() > before:
        sock.close()
        raise asyncio.CancelledError
    return sock


async def _addresses(host: str, port: int) -> Sequence[AddrInfoType]:
    name = host.encode("ascii")  # a str would go through a codec, which raises its own error for an overlong name
    try:
        return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:  # no address: a name, and only asking for one needs a thread
        return await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)


def _undelayed(address: AddrInfoType) -> socket.socket:
    sock = socket.socket(*address[:3])
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class _Tcp(httpcore.AsyncNetworkStream):
    """Bytes as they are. When ``write`` returns, the kernel has them all."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._is_busy = self._is_closed = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        with _as_httpcore_says(httpcore.ReadTimeout, httpcore.ReadError), self._busy():
            async with asyncio.timeout(timeout):
                await asyncio.sleep(0)  # what is there is read at once: a server that never pauses would stop the clock
                data = await self._loop.sock_recv(self._sock, max_bytes)
                if self._is_closed:  # the end is ours, and must not pass for the server's
                    raise ConnectionAbortedError
                return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if not buffer:
            return
        with _as_httpcore_says(httpcore.WriteTimeout, httpcore.WriteError), self._busy():
            async with asyncio.timeout(timeout):
                await self._loop.sock_sendall(self._sock, buffer)

    async def aclose(self) -> None:
        self._is_closed = True
        if self._is_busy:  # in another task, which wakes, fails, and closes it
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
        else:
            self._sock.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        try:
            stream = _Tls(self, ssl_context, server_hostname)
            with _as_httpcore_says(httpcore.ConnectTimeout, httpcore.ConnectError):
                async with asyncio.timeout(timeout):
                    await stream.shake_hands()
        except BaseException:
            await self.aclose()
            raise
        return stream

    def get_extra_info(self, info: str) -> Any:
        return self._is_readable() if info == "is_readable" else None

    def _is_readable(self) -> bool:
        """Whether there is anything to read. On an idle connection that is its end: the server has closed it."""
        if self._sock.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False


class _Tls(httpcore.AsyncNetworkStream):
    """TLS over TCP. It ends as HTTP servers end it: without a farewell."""

    def __init__(self, tcp: _Tcp, context: ssl.SSLContext, hostname: str | None) -> None:
        self._tcp = tcp
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)

    async def shake_hands(self) -> None:
        await self._carry(self._ssl.do_handshake)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        with _as_httpcore_says(httpcore.ReadTimeout, httpcore.ReadError):
            async with asyncio.timeout(timeout):
                try:
                    return await self._carry(lambda: self._ssl.read(max_bytes))
                except ssl.SSLEOFError:  # the server just hung up
                    return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if not buffer:
            return
        with _as_httpcore_says(httpcore.WriteTimeout, httpcore.WriteError):
            async with asyncio.timeout(timeout):
                await self._carry(lambda: self._ssl.write(buffer))

    async def aclose(self) -> None:
        await self._tcp.aclose()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # a farewell may have come together with the last answer
            return self._incoming.pending > 0 or self._tcp.get_extra_info(info)
        return self._ssl if info == "ssl_object" else None

    async def _carry(self, step: Callable[[], _T]) -> _T:
        """Take a step of TLS, and carry what it says and what it waits for."""
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                await self._tcp.write(self._outgoing.read())
                if data := await self._tcp.read(_TLS_BYTES):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                await self._tcp.write(self._outgoing.read())
                return done


@contextlib.contextmanager
def _as_httpcore_says(too_slow: type[Exception], broken: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise too_slow from error
    except (OSError, httpcore.NetworkError) as error:
        raise broken(error) from error
