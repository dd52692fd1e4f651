"""Requests and answers as bytes on a connection, and how they go wrong. It knows HTTP, but no provider.

Whole answers go through aiohttp; broken ones are written straight to the transport, which is then closed or reset.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import BodyPartReader, web
from aiohttp.abc import AbstractStreamWriter

from posthorn.sandbox.faults import FaultRule

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came in a multipart body."""

    name: str
    content_type: str
    content: bytes


Field = str | bytes | Upload
"""The value of a form field: text, bytes that are not text, or a file with a name."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request, read whole. ``form`` holds the fields of a multipart body in order, whose bytes are not kept.

    A field without a file name is text if it is UTF-8, else bytes. ``number`` identifies the request.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content_type: str
    body: bytes
    form: Sequence[tuple[str, Field]] | None = None
    number: int = 0


@dataclass(slots=True)
class Reply:
    """One complete answer."""

    body: bytes
    content_type: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class HttpExchange:
    """A request that is about to go wrong: the connection, the rule, and the event that ends every wait."""

    request: web.BaseRequest
    rule: FaultRule
    stopping: asyncio.Event

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection, or None once the client has gone."""
        return self.request.transport

    async def wait(self, seconds: float | None) -> None:
        """Wait until ``seconds`` have passed (None: for ever) or the sandbox stops. Cancelled when the client goes."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return


class Spoken(web.StreamResponse):
    """An answer that needs no more writing: it was already written, or the connection is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Writes nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Writes nothing."""


async def receive(request: web.BaseRequest, number: int = 0) -> Received:
    """Read a request whole.

    Raises:
        HTTPRequestEntityTooLarge: it is larger than the sandbox reads.
        ValueError: a multipart body cannot be read.
    """
    form: list[tuple[str, Field]] | None = None
    body = b""
    if request.content_type.startswith("multipart/"):
        form = await _form(request)
    else:
        body = await request.read()
    return Received(request.method, request.path, request.query, request.headers, request.content_type, body, form, number)


async def _form(request: web.BaseRequest) -> list[tuple[str, Field]]:
    """Every field in order, repeated names too."""
    form: list[tuple[str, Field]] = []
    left = request.client_max_size
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise ValueError("a multipart body inside another one")  # noqa: TRY004 - what came is wrong, not our types
        content = bytes(await part.read(decode=True))
        left -= len(content)
        if left < 0:
            raise web.HTTPRequestEntityTooLarge(request.client_max_size, request.client_max_size - left)
        if part.filename is None:
            form.append((part.name or "", text_or_bytes(content)))
        else:
            form.append((part.name or "", Upload(part.filename, part.headers.get("Content-Type", ""), content)))
    return form


def text_or_bytes(content: bytes) -> str | bytes:
    """Text if it is UTF-8; else the bytes unchanged."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def whole(reply: Reply) -> web.Response:
    """The correct answer."""
    headers = {"Content-Type": reply.content_type, **reply.headers}
    return web.Response(body=reply.body, status=reply.status, headers=headers)


def page(status: int) -> Reply:
    """An HTML error page, as a web server in front of the provider would send it."""
    body = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>".encode()
    return Reply(body, _HTML, status)


async def misbehave(exchange: HttpExchange) -> web.StreamResponse:
    """Apply a fault before the work: answer, with nothing done."""
    return await _BEFORE[exchange.rule.fault](exchange)


async def spoil(exchange: HttpExchange, reply: Reply) -> web.StreamResponse:
    """Apply a fault after the work: answer wrongly, or not at all."""
    return await _AFTER[exchange.rule.fault](exchange, reply)


async def _reset(exchange: HttpExchange, _: Reply | None = None) -> web.StreamResponse:
    if transport := exchange.transport:
        # SO_LINGER with zero makes the kernel send RST instead of FIN.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return Spoken()


async def _close(exchange: HttpExchange, _: Reply | None = None) -> web.StreamResponse:
    return _write_and_close(exchange, b"")


async def _hang(exchange: HttpExchange, _: Reply | None = None) -> web.StreamResponse:
    await exchange.wait(exchange.rule.seconds)
    return _write_and_close(exchange, b"")


async def _status(exchange: HttpExchange, _: Reply | None = None) -> web.StreamResponse:
    reply = page(exchange.rule.status)
    if exchange.rule.retry_after is not None:
        reply.headers["Retry-After"] = exchange.rule.retry_after
    return whole(reply)


async def _redirect(exchange: HttpExchange) -> web.StreamResponse:
    location = exchange.rule.location or exchange.request.path_qs
    return whole(Reply(b"", _HTML, 307, {"Location": location}))


async def _whole(_: HttpExchange, reply: Reply) -> web.StreamResponse:
    return whole(reply)


async def _close_idle(exchange: HttpExchange, reply: Reply) -> web.StreamResponse:
    return _ClosingSoon(reply, exchange.rule.seconds or 0.0)


class _ClosingSoon(web.Response):
    """A complete answer that promises to keep the connection, which is then closed anyway."""

    def __init__(self, reply: Reply, seconds: float) -> None:
        super().__init__(body=reply.body, status=reply.status, headers={"Content-Type": reply.content_type})
        self._seconds = seconds

    async def write_eof(self, data: bytes = b"") -> None:
        transport = self._req.transport if self._req is not None else None
        await super().write_eof(data)
        if transport is not None:
            asyncio.get_running_loop().call_later(self._seconds, transport.close)


async def _truncated(exchange: HttpExchange, reply: Reply) -> web.StreamResponse:
    length = f"Content-Length: {len(reply.body)}"
    return _write_and_close(exchange, _head(reply, length) + _half(reply))


async def _truncated_chunked(exchange: HttpExchange, reply: Reply) -> web.StreamResponse:
    half = _half(reply)
    return _write_and_close(exchange, _head(reply, "Transfer-Encoding: chunked") + b"%x\r\n%s\r\n" % (len(half), half))


async def _truncated_no_length(exchange: HttpExchange, reply: Reply) -> web.StreamResponse:
    return _write_and_close(exchange, _head(reply, "Connection: close") + _half(reply))


async def _drip(exchange: HttpExchange, reply: Reply) -> web.StreamResponse:
    transport = exchange.transport
    head = _head(reply, f"Content-Length: {len(reply.body)}")
    if transport is not None:
        transport.write(head)
        for position in range(len(reply.body)):
            await exchange.wait(exchange.rule.seconds or 0.05)
            if transport.is_closing() or exchange.stopping.is_set():
                break
            transport.write(reply.body[position : position + 1])
    return _write_and_close(exchange, b"")


def _head(reply: Reply, framing: str) -> bytes:
    return f"HTTP/1.1 {reply.status} OK\r\nContent-Type: {reply.content_type}\r\n{framing}\r\n\r\n".encode()


def _half(reply: Reply) -> bytes:
    return reply.body[: len(reply.body) // 2]


def _write_and_close(exchange: HttpExchange, data: bytes) -> web.StreamResponse:
    if (transport := exchange.transport) is not None and not transport.is_closing():
        transport.write(data)
        transport.close()
    return Spoken()


def _body(
    make: Callable[[Reply, FaultRule], bytes], **headers: str
) -> Callable[[HttpExchange, Reply], Awaitable[web.StreamResponse]]:
    """A fault that answers 200 with another body."""

    async def answer(exchange: HttpExchange, reply: Reply) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content_type = named.pop("Content-Type", reply.content_type)
        return whole(Reply(make(reply, exchange.rule), content_type, 200, named))

    return answer


_BEFORE: dict[str, Callable[[HttpExchange], Awaitable[web.StreamResponse]]] = {
    "reset_before": _reset,
    "close_before": _close,
    "hang_before": _hang,
    "status_before": _status,
    "redirect": _redirect,
}
_AFTER: dict[str, Callable[[HttpExchange, Reply], Awaitable[web.StreamResponse]]] = {
    "reset_after": _reset,
    "close_after": _close,
    "hang_after": _hang,
    "status_after": _status,
    "late": _whole,
    "close_idle": _close_idle,
    "truncated": _truncated,
    "truncated_chunked": _truncated_chunked,
    "truncated_no_length": _truncated_no_length,
    "drip": _drip,
    "empty": _body(lambda *_: b""),
    "null": _body(lambda *_: b"null"),
    "html": _body(lambda *_: page(200).body, Content_Type=_HTML),
    # 0xFF never occurs in UTF-8.
    "garbage_charset": _body(lambda reply, _: reply.body.replace(b'"', b"\xff\xfe").replace(b">", b"\xff\xfe")),
    "bad_gzip": _body(lambda reply, _: gzip.compress(reply.body)[:10] + reply.body, Content_Encoding="gzip"),
    "bom": _body(lambda reply, _: b"\xef\xbb\xbf" + reply.body),
    "huge": _body(lambda reply, rule: b" " * max(0, rule.size - len(reply.body)) + reply.body),
}
