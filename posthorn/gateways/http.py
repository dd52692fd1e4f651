"""HTTP as a sender of paid messages needs it: one request, once, and the truth about whether it may have been carried out.

It knows no provider's words, never retries, never follows a redirect, and never calls a request unsent without proof.

What becomes of an exchange::

    no byte of the request was written                     -> Unreachable, or what held it back
    written, then anything but a complete answer           -> OutcomeUnknown (TryAgain where repeating is harmless)
    an answer beyond its bound, or in a content encoding   -> the same: it is not read
    400 401 403 404 405 413 415 422                        -> CredentialsRefused / RequestRefused: not taken, stops the run
    429                                                    -> SlowDown: not taken, everyone waits (but no page says so:
                                                              a send is unknown until the provider's list agrees)
    503                                                    -> OutcomeUnknown that slows all (SlowDown where harmless)
    3xx                                                    -> OutcomeUnknown that stops the run (else RequestRefused)
    1xx, 408, other 4xx, 5xx                               -> OutcomeUnknown (TryAgain where harmless)
    2xx                                                    -> an HttpAnswer; what it says is the gateway's business

Every connection serves one request unless a gateway asks otherwise. If a server closes an idle connection just as we
write to it, nobody can tell the outcome: with httpx's default of 5 s, a third of the requests in that window ended like
that.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias

import httpx

from posthorn.errors import (
    CredentialsRefused,
    Evidence,
    GatewayError,
    OutcomeUnknown,
    RequestRefused,
    SlowDown,
    TryAgain,
    Unreachable,
)
from posthorn.gateways.closing import Closing
from posthorn.gateways.network import OneConnection

MAX_ANSWER_BYTES = 1024 * 1024
"""The longest answer that is read, unless a call names its own bound. Parsed, it can take twenty times its size."""

MAX_EVIDENCE_BYTES = 64 * 1024
"""How much of an answer is kept with an error."""

MAX_RETRY_AFTER_SECONDS = 3600.0

_NOT_TAKEN: dict[int, type[GatewayError]] = {
    400: RequestRefused,
    401: CredentialsRefused,
    403: CredentialsRefused,
    404: RequestRefused,
    405: RequestRefused,
    413: RequestRefused,
    415: RequestRefused,
    422: RequestRefused,
}
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "Connection": "keep-alive", "User-Agent": "posthorn"}
_BEFORE_THE_REQUEST = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_TO_THE_PROXY = (
    "connection.",
    "proxy.",
    "socks.",
)  # httpcore's events up to a connection that the request can be written to
_MALFORMED = (httpx.LocalProtocolError, httpx.InvalidURL)

Before: TypeAlias = Callable[[], Awaitable[None]]
"""Awaited right before a request's first byte is written; what it raises holds the request back."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete answer: status, headers, and the whole body as bytes, which are never encoded."""

    status: int
    headers: httpx.Headers
    body: bytes

    def evidence(self) -> Evidence:
        """This answer as it is kept with an error."""
        return Evidence("answer", self.status, self.body[:MAX_EVIDENCE_BYTES])


Tap: TypeAlias = Callable[[httpx.Request, HttpAnswer | Exception], None]
"""Called with each exchange when it is over: the request, and its answer or what came instead."""


class AnswerTooLong(Exception):
    """More came back than this call's answer may have; the rest was not read."""


class AnswerEncoded(Exception):
    """The answer has a content encoding, though none was asked for: a few bytes can unfold to gigabytes. It was not read."""


class Trace:
    """Follows one request out of the machine. Pass your own to learn how far it got, even if the task is cancelled.

    ``last`` is the last stage seen: ``none``, ``headers`` (writing began), ``body`` (all of it written), ``answer`` (the
    answer's headers came). ``left`` is True as soon as any byte may have been written. Exception classes do not
    tell: httpx raises the same ones whether the server executed nothing or everything.

    ``before`` is awaited when the connection stands, right before the first byte is written: what it raises holds the
    request back, and nothing was sent.
    """

    __slots__ = (
        "_asks_proxy",
        "before",
        "body",
        "headers_written",
        "is_held_back",
        "last",
        "left",
        "status",
        "tunnelled",
        "visible",
    )

    def __init__(self, before: Before | None = None) -> None:
        self.before = before
        self.is_held_back = False
        self.tunnelled = False
        self._asks_proxy = False
        self.last = "none"
        self.left = False
        self.headers_written = False
        self.status: int | None = None
        self.body = bytearray()
        self.visible = True

    async def __call__(self, event: str, _info: object) -> None:
        """Take note of one of httpcore's trace events."""
        if event.startswith(_TO_THE_PROXY):
            self.tunnelled = self.tunnelled and event != "proxy.start_tls.complete"
            return
        if self.is_held_back:  # what closes the connection then says nothing new
            return
        if self.tunnelled and not (self._asks_proxy and event.endswith("send_request_headers.started")):
            self._asks_proxy = True  # the CONNECT that asks the proxy for a tunnel: nothing of the request is in it
            return
        self.tunnelled = False
        if event.endswith("send_request_headers.started"):
            await self.may_leave()
        if not self.left:  # the first event that is not about connecting; also under a name we do not know
            self.left = True
            self.last = "headers"
        if event.endswith("send_request_headers.complete"):
            self.headers_written = True
        elif event.endswith("send_request_body.complete"):
            self.last = "body"
        elif event.endswith("receive_response_headers.complete"):
            self.last = "answer"

    async def may_leave(self) -> None:
        """Ask ``before``. If it raises, the request is held back, even if that was a cancellation."""
        if self.before is None:
            return
        self.is_held_back = True
        await self.before()
        self.is_held_back = False

    def evidence(self) -> Evidence:
        """How far the exchange got, and what came back of the answer."""
        return Evidence(self.last, self.status, bytes(self.body[:MAX_EVIDENCE_BYTES]))

    def surely_unsent(self, error: BaseException) -> bool:
        """Whether no byte of the request was written.

        A header that h11 refuses raises after ``send_request_headers.started`` and before a byte is written. A transport
        that does not tell (a test's) is believed only for the errors that cannot come later.
        """
        if self.is_held_back:
            return True
        if not self.visible:
            return isinstance(error, (*_BEFORE_THE_REQUEST, httpx.InvalidURL))
        return not self.left or (isinstance(error, httpx.LocalProtocolError) and not self.headers_written)


class HttpClients(Closing):
    """One connection for each request that may be in flight; they share one TLS context.

    Requests go to transports as they are: ours of ``network.py``, or httpx's own if there is a proxy. What httpx's client
    would add, this product must not have (redirects, cookies, a proxy or a ``.netrc`` of the environment), and it took a
    third of a request's time.

    ``timeout_seconds`` bounds each exchange as a whole; waiting for a free place does not count. ``keepalive_seconds`` is
    how long an idle connection is kept, 0 for one request per connection: keep it well under the shortest idle time a server
    may have (0.25 is safe against the usual 5 s). ``proxy`` is the URL of one that all goes through, each request on a
    connection of its own: when a proxy closes an idle one, nobody knows. ``transport`` replaces the network in tests.
    ``tap`` is told of every exchange.
    """

    def __init__(
        self,
        who: str,
        *,
        concurrency: int,
        timeout_seconds: float,
        keepalive_seconds: float = 0.0,
        proxy: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        tap: Tap | None = None,
    ) -> None:
        _quieten()
        self._tap = tap
        self._who = who
        self._tunnels = proxy is not None and proxy.startswith("http")  # socks writes nothing that looks like a request
        self._through = "" if proxy is None else " through the proxy of POSTHORN_PROXY_URL"
        self._timeout_seconds = timeout_seconds
        self._traced = transport is None or isinstance(transport, (httpx.AsyncHTTPTransport, OneConnection))
        # TCP and TLS each get less than half of the whole, so that they end by themselves: behind a proxy, httpcore leaks a
        # socket whose TLS handshake is cancelled from outside. The rest is bounded by the whole, which always ends first.
        self._timeouts = {"connect": 0.4 * timeout_seconds}
        self._transports = [transport or _transport(keepalive_seconds, proxy) for _ in range(concurrency)]
        self._free = list(self._transports)  # the last one used is the next one: its connection is still warm
        self._places = asyncio.Semaphore(concurrency)

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in self._transports:
            await transport.aclose()

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        repeatable: bool,
        trace: Trace | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
        **request: Any,
    ) -> HttpAnswer:
        """One request and its complete answer, whatever its status.

        ``repeatable`` says that carrying the request out twice does no harm: then a lost answer is ``TryAgain`` instead of
        ``OutcomeUnknown``. An answer of more than ``max_bytes``, or in a content encoding, counts as lost: it is not read.
        ``request`` is what ``httpx.Request`` takes. Cancellation passes through unchanged; ``trace.left`` then says whether
        the request may have gone out.

        Raises:
            Unreachable: nothing was written.
            RequestRefused: the request cannot be written at all (a header or URL that HTTP does not allow).
            OutcomeUnknown: written, and no complete answer came. ``TryAgain`` instead if ``repeatable``.
        """
        trace = trace if trace is not None else Trace()
        trace.visible, trace.tunnelled = self._traced, self._tunnels
        async with self._places:
            transport = self._free.pop()
            try:
                extensions = {"trace": trace, "timeout": self._timeouts}
                async with asyncio.timeout(self._timeout_seconds):
                    return await self._fetched(transport, _request(method, url, extensions=extensions, **request), max_bytes)
            except Exception as error:
                if isinstance(error, GatewayError):
                    raise  # what ``before`` says of a request that it held back
                if not (trace.left or isinstance(error, (httpx.HTTPError, httpx.InvalidURL, TimeoutError))):
                    raise  # a mistake of our own, before anything was written
                raise self._failure(error, trace, repeatable=repeatable) from None  # h11's texts quote the wire
            finally:
                self._free.append(transport)

    async def _fetched(self, transport: httpx.AsyncBaseTransport, request: httpx.Request, max_bytes: int) -> HttpAnswer:
        if self._tap is None:
            return await _fetch(transport, request, max_bytes)
        try:
            answer = await _fetch(transport, request, max_bytes)
        except Exception as error:
            self._tap(request, error)
            raise
        self._tap(request, answer)
        return answer

    def _failure(self, error: Exception, trace: Trace, *, repeatable: bool) -> GatewayError:
        what = f"{self._who} gave no complete answer ({type(error).__name__})"
        evidence = trace.evidence()
        if trace.surely_unsent(error):
            return self._unsent(error, evidence)
        if repeatable:
            return TryAgain(what, evidence=evidence)
        return OutcomeUnknown(f"{what}; the request may have been carried out", evidence=evidence)

    def _unsent(self, error: Exception, evidence: Evidence) -> GatewayError:
        what = type(error).__name__
        if isinstance(error, _MALFORMED):
            return RequestRefused(
                f"a request to {self._who} cannot be written ({what}); nothing was sent", evidence=evidence
            )
        return Unreachable(f"{self._who} could not be reached{self._through} ({what}); nothing was sent", evidence=evidence)


def refusal(who: str, answer: HttpAnswer, *, repeatable: bool) -> GatewayError | None:
    """What an answer's status alone decides, or None for 2xx; the table stands at the top of this module."""
    status, evidence = answer.status, answer.evidence()
    said = f"{who} answered HTTP {status}"
    if 200 <= status < 300:
        return None
    if status in _NOT_TAKEN:
        return _NOT_TAKEN[status](f"{said}; nothing was sent", evidence=evidence)
    wait = retry_after_seconds(answer.headers.get("retry-after"))
    if status == 429 or (status == 503 and repeatable):
        return SlowDown(f"{said}: everyone waits", retry_after_seconds=wait, evidence=evidence)
    redirected = 300 <= status < 400
    if redirected and repeatable:
        return RequestRefused(f"{said}, a redirect; is the base URL right?", evidence=evidence)
    if repeatable:
        return TryAgain(said, retry_after_seconds=wait, evidence=evidence)
    return OutcomeUnknown(
        f"{said}; the request may have been carried out",
        retry_after_seconds=wait,
        evidence=evidence,
        stops_run=redirected,
        slows_all=status == 503,
    )


def retry_after_seconds(header: str | None, now: datetime | None = None) -> float | None:
    """How long a ``Retry-After`` asks to wait (RFC 9110 10.2.3: seconds, or a date).

    At most an hour; None for anything else.
    """
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return min(float(text), MAX_RETRY_AFTER_SECONDS)
    try:
        until = parsedate_to_datetime(text)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        wait = (until - (now or datetime.now(UTC))).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(wait, 0.0), MAX_RETRY_AFTER_SECONDS)


def _request(method: str, url: str, *, headers: Mapping[str, str] | None = None, **given: Any) -> httpx.Request:
    return httpx.Request(method, _url(url), headers={**_HEADERS, **(headers or {})}, **given)


@functools.lru_cache(maxsize=64)
def _url(url: str) -> httpx.URL:
    """Parsed once: a gateway has only a handful, and nothing particular to a request is in them."""
    return httpx.URL(url)


async def _fetch(transport: httpx.AsyncBaseTransport, request: httpx.Request, max_bytes: int) -> HttpAnswer:
    trace: Trace = request.extensions["trace"]
    if not trace.visible:
        await trace.may_leave()
    response = await transport.handle_async_request(request)
    trace.last, trace.left, trace.status = "answer", True, response.status_code
    try:
        if set(response.headers.get_list("content-encoding", split_commas=True)) - {"identity", ""}:
            raise AnswerEncoded
        stream = response.stream  # as it came: httpx would decode it
        assert isinstance(stream, httpx.AsyncByteStream)
        async for piece in stream:
            is_too_long = len(trace.body) + len(piece) > max_bytes
            trace.body += piece[: max_bytes - len(trace.body)]
            if is_too_long:
                raise AnswerTooLong
    finally:
        await response.aclose()
    return HttpAnswer(response.status_code, response.headers, bytes(trace.body))


def _transport(keepalive_seconds: float, proxy: str | None) -> httpx.AsyncBaseTransport:
    if proxy is None:
        return OneConnection(_tls(), keepalive_seconds)
    through = httpx.Proxy(proxy, ssl_context=_tls() if proxy.startswith("https") else None)
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(verify=_tls(), trust_env=False, http1=True, http2=False, limits=limits, proxy=through)


_shared_tls: list[Any] = []


def _tls() -> Any:
    """One TLS context per process: loading the certificates takes about 20 ms."""
    if not _shared_tls:
        _shared_tls.append(httpx.create_ssl_context(trust_env=False))
    return _shared_tls[0]


def _quieten() -> None:
    """Silence them: httpx logs each URL at INFO (it may hold a key), httpcore each header at DEBUG (it holds a token)."""
    for name in ("httpx", "httpcore"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))
