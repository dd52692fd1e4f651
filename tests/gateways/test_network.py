"""Our own bytes under httpcore: told as httpx's transport tells them, no socket left, a slow reader waited for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest

from posthorn.errors import OutcomeUnknown, Unreachable
from posthorn.gateways import network
from posthorn.gateways.http import HttpClients, Trace
from posthorn.gateways.network import Network, OneConnection
from tests.gateways.raw_server import OK_HEAD, Behaviour, Conversation, RawServer, ok
from tests.gateways.test_http_transport import NOTHING_WRITTEN, WRITTEN, unanswered_syn

BIG = 16_000_000
PATIENCE = 10.0
WARM = 5.0
"""How long a connection is kept, in seconds, where it is: longer than any of these tests."""


@pytest.fixture(scope="module")
def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.fixture(params=["plain", "TLS"])
def tls(request: pytest.FixtureRequest, self_signed: ssl.SSLContext) -> ssl.SSLContext | None:
    """What a server speaks."""
    return self_signed if request.param == "TLS" else None


class Client:
    """One connection, and what its requests said."""

    def __init__(self, transport: httpx.AsyncBaseTransport, timeout_seconds: float = PATIENCE) -> None:
        self.clients = HttpClients("Acme", concurrency=1, timeout_seconds=timeout_seconds, transport=transport)
        self.trace = Recorded()

    async def post(self, url: str, content: bytes = b"x", **more: Any) -> bytes:
        asked = {"trace": Recorded(), "content": content, "max_bytes": 2 * BIG} | more
        self.trace = asked["trace"]
        return (await self.clients.exchange("POST", url, repeatable=False, **asked)).body


@contextlib.asynccontextmanager
async def client(trusting: ssl.SSLContext, keepalive_seconds: float = 0.0, **options: Any) -> AsyncIterator[Client]:
    one = Client(OneConnection(trusting, keepalive_seconds), **options)
    async with one.clients:
        yield one


class Recorded(Trace):
    """Keeps httpcore's events; ``reached`` is set by the one that is waited for."""

    def __init__(self, until: str = "") -> None:
        super().__init__()
        self.events: list[str] = []
        self.until, self.reached = until, asyncio.Event()

    async def __call__(self, event: str, info: object) -> None:
        self.events.append(event)
        if event == self.until:
            self.reached.set()
        await super().__call__(event, info)


class Served:
    """A behaviour that knows how many of its connections are open. It reads on to their end."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave, self._open = behave, 0
        self._changed = asyncio.Condition()

    async def __call__(self, talk: Conversation) -> None:
        await self._count(1)
        try:
            await self._behave(talk)
            while await talk.reader.read(1_000_000):
                pass
        finally:
            await self._count(-1)

    async def all_closed(self) -> None:
        async with self._changed, asyncio.timeout(PATIENCE):
            await self._changed.wait_for(lambda: self._open == 0)

    async def _count(self, more: int) -> None:
        async with self._changed:
            self._open += more
            self._changed.notify_all()


async def answering(talk: Conversation) -> None:
    while True:
        await talk.request()
        await talk.say(ok())


# -- What httpx's own transport tells --------------------------------------------------------------------------------------


RACES = {"RST at accept", "closed with unread data"}  # how far such a request gets is a matter of luck
BROKEN = {what: behave for what, (behave, _) in WRITTEN.items() if what not in RACES}


async def ends_with_a_farewell(talk: Conversation) -> None:
    await talk.request()
    await talk.say(OK_HEAD + b"\r\n{}")


async def ends_without_one(talk: Conversation) -> None:
    await ends_with_a_farewell(talk)
    talk.writer.transport.abort()


EXCHANGES = {
    "an answer": answering,
    "an answer without length": ends_with_a_farewell,
    "one that just ends": ends_without_one,
    **BROKEN,
}


async def told(transport: httpx.AsyncBaseTransport, url: str, requests: int = 1) -> list[object]:
    one = Client(transport, timeout_seconds=0.6)
    said: list[object] = []
    async with one.clients:
        for _ in range(requests):
            try:
                said.append(await one.post(url))
            except (OutcomeUnknown, Unreachable) as error:
                said.append(str(error))
            said.append(one.trace.events)
    return said


def httpx_own(trusting: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
    limits = httpx.Limits(max_connections=1, keepalive_expiry=WARM)
    return httpx.AsyncHTTPTransport(verify=trusting, trust_env=False, limits=limits)


@pytest.mark.parametrize("behave", EXCHANGES.values(), ids=EXCHANGES)
async def test_each_exchange_is_told_as_httpx_tells_it(behave, tls, trusting):
    async with RawServer(behave, tls) as server:
        requests = 2 if behave is answering else 1
        expected = await told(httpx_own(trusting), server.url, requests)
        assert await told(OneConnection(trusting, WARM), server.url, requests) == expected


@pytest.mark.parametrize("place", NOTHING_WRITTEN.values(), ids=NOTHING_WRITTEN)
async def test_each_failure_to_connect_is_told_as_httpx_tells_it(place, trusting):
    async with place() as url:
        expected = await told(httpx_own(trusting), url)
        assert await told(OneConnection(trusting, WARM), url) == expected


# -- No socket is left -----------------------------------------------------------------------------------------------------


async def test_cancelled_at_any_step_it_leaves_no_connection_and_the_next_request_goes_out(tls, trusting):
    served = Served(answering)
    async with RawServer(served, tls) as server, client(trusting) as one:
        steps, finished = 0, False
        while not finished:
            task = asyncio.create_task(one.post(server.url))
            for _ in range(steps):
                await asyncio.sleep(0)
            finished = task.done()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await served.all_closed()
            assert await one.post(server.url) == b"{}"
            await served.all_closed()
            steps += 1
    assert steps > 10


async def reads_nothing(talk: Conversation) -> None:
    pass


async def hears(talk: Conversation) -> None:
    await talk.request()


async def answers_in_part(talk: Conversation) -> None:
    await talk.request()
    await talk.say(OK_HEAD + b"Content-Length: 100\r\n\r\n{")


STAGES: dict[str, tuple[Behaviour, str, dict[str, Any]]] = {
    "its headers are written": (reads_nothing, "http11.send_request_headers.started", {"headers": {"X-Long": "x" * BIG}}),
    "its body is written": (reads_nothing, "http11.send_request_body.started", {"content": b"x" * BIG}),
    "the answer is awaited": (hears, "http11.receive_response_headers.started", {}),
    "the answer is read": (answers_in_part, "http11.receive_response_body.started", {}),
}


@pytest.mark.parametrize(("behave", "event", "asked"), STAGES.values(), ids=STAGES)
async def test_a_request_that_is_cancelled_while(behave, event, asked, tls, trusting):
    cancelled = asyncio.Event()

    async def until_cancelled(talk: Conversation) -> None:
        await behave(talk)
        await cancelled.wait()

    served, trace = Served(until_cancelled), Recorded(event)
    async with RawServer(served, tls) as server, client(trusting) as one:
        task = asyncio.create_task(one.post(server.url, trace=trace, **asked))
        await trace.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancelled.set()
        await served.all_closed()
        assert trace.left


@pytest.mark.parametrize("ends", ["cancelled", "out of time"])
async def test_a_tls_handshake_that_stalls_leaves_no_socket(ends, trusting):
    greeted = asyncio.Event()

    async def stalls(talk: Conversation) -> None:
        await talk.reader.read(1)
        greeted.set()

    served, patience = Served(stalls), PATIENCE if ends == "cancelled" else 0.5
    async with RawServer(served) as server, client(trusting, timeout_seconds=patience) as one:
        task = asyncio.create_task(one.post(server.url.replace("http:", "https:")))
        await greeted.wait()
        if ends == "cancelled":
            task.cancel()
        with pytest.raises(asyncio.CancelledError if ends == "cancelled" else Unreachable):
            await task
        await served.all_closed()
        assert not one.trace.left


@pytest.mark.parametrize("ends", ["cancelled", "out of time"])
async def test_a_connection_that_is_not_answered_leaves_no_socket(ends, trusting):
    patience = PATIENCE if ends == "cancelled" else 0.5
    async with unanswered_syn() as url, client(trusting, timeout_seconds=patience) as one:
        before, trace = open_sockets(), Recorded("connection.connect_tcp.started")
        task = asyncio.create_task(one.post(url, trace=trace))
        await trace.reached.wait()
        assert open_sockets() == before + 1
        if ends == "cancelled":
            task.cancel()
        with pytest.raises(asyncio.CancelledError if ends == "cancelled" else Unreachable):
            await task
        assert open_sockets() == before
        assert not trace.left


def open_sockets() -> int:
    found = 0
    for file in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing's own is gone
            found += file.is_socket()
    return found


async def answers_without_length(talk: Conversation) -> None:
    await talk.request()
    await talk.say(OK_HEAD + b"\r\n{}")


CLOSED = {
    "its body is written": (reads_nothing, "http11.send_request_body.started", {"content": b"x" * BIG}),
    "the answer is awaited": (hears, "http11.receive_response_headers.started", {}),
    "an answer without length is read": (answers_without_length, "http11.receive_response_body.started", {}),
}


@pytest.mark.parametrize(("behave", "event", "asked"), CLOSED.values(), ids=CLOSED)
async def test_the_connections_are_closed_while(behave, event, asked, tls, trusting):
    async def on(talk: Conversation) -> None:
        await behave(talk)
        await talk.forever()

    trace = Recorded(event)
    async with RawServer(on, tls) as server, client(trusting, timeout_seconds=600) as one:
        task = asyncio.create_task(one.post(server.url, trace=trace, **asked))
        await trace.reached.wait()
        await asyncio.sleep(0)
        await one.clients.aclose()
        with pytest.raises(OutcomeUnknown):
            await asyncio.wait_for(task, PATIENCE)


# -- A kept connection -----------------------------------------------------------------------------------------------------


async def hangs_up(talk: Conversation) -> None:
    talk.writer.close()


async def breaks(talk: Conversation) -> None:
    talk.reset()


async def talks(talk: Conversation) -> None:
    await talk.say(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("what", [hangs_up, breaks, talks])
async def test_a_connection_that_its_server_ended_while_idle_is_not_written_to(what, tls, trusting):
    may_end, has_ended = asyncio.Event(), asyncio.Event()

    async def behave(talk: Conversation) -> None:
        await talk.request()
        await talk.say(ok())
        if server.connections == 1:
            await may_end.wait()
            await what(talk)
            has_ended.set()
        await talk.forever()

    async with RawServer(behave, tls) as server, client(trusting, WARM) as one:
        await one.post(server.url)
        may_end.set()
        await has_ended.wait()
        assert await one.post(server.url) == b"{}"
        assert (server.connections, len(server.executed)) == (2, 2)


async def test_a_farewell_that_comes_with_the_answer_is_heeded(self_signed, trusting):
    async def behave(talk: Conversation) -> None:
        await talk.request()
        talk.writer.write(ok())
        talk.writer.close()
        await asyncio.Event().wait()

    async with RawServer(behave, self_signed) as server, client(trusting, WARM) as one:
        for _ in range(5):
            assert await one.post(server.url) == b"{}"
        assert server.connections == 5


SURPLUS = {
    "an answer": ok(b"nobody's"),
    "a refusal": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "the beginning of an answer": b"HTTP/1.1 400 ",
    "an empty line": b"\r\n",
}


@pytest.mark.parametrize("surplus", SURPLUS.values(), ids=SURPLUS)
async def test_what_comes_behind_an_answer_is_not_the_next_requests_answer(surplus, tls, trusting):
    async def behave(talk: Conversation) -> None:
        while True:
            body = (await talk.request()).split(b"\r\n\r\n", 1)[1]
            await talk.say(ok(body) + surplus)

    async with RawServer(behave, tls) as server, client(trusting, WARM) as one:
        for body in (b"first", b"second", b"third"):
            assert await one.post(server.url, body) == body
        assert server.connections == 3


async def test_a_request_to_another_server_closes_the_kept_connection(tls, trusting):
    served = Served(answering)
    async with RawServer(served, tls) as server, RawServer(answering) as other, client(trusting, WARM) as one:
        await one.post(server.url)
        await one.post(other.url)
        await served.all_closed()
        await one.post(other.url)
        assert other.connections == 1


# -- The bytes -------------------------------------------------------------------------------------------------------------


async def test_big_bodies_go_out_and_come_back_whole(tls, trusting):
    async def behave(talk: Conversation) -> None:
        body = (await talk.request()).split(b"\r\n\r\n", 1)[1]
        await talk.say(ok(body))

    sent = bytes(range(256)) * (BIG // 256)
    async with RawServer(behave, tls) as server, client(trusting, timeout_seconds=60) as one:
        assert await one.post(server.url, sent) == sent


async def test_a_server_that_talks_without_pause_ends_with_the_time_for_the_exchange(trusting):
    def talks_on() -> None:
        accepted, _ = listening.accept()
        until = time.monotonic() + PATIENCE
        with accepted, contextlib.suppress(OSError):
            while time.monotonic() < until:
                accepted.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        talking = asyncio.create_task(asyncio.to_thread(talks_on))
        async with client(trusting, timeout_seconds=0.5) as one:
            with pytest.raises(OutcomeUnknown, match="TimeoutError"):
                await one.post(f"http://127.0.0.1:{listening.getsockname()[1]}")
        await talking


async def test_a_body_that_the_server_does_not_read_is_not_called_written(tls, trusting):
    async with RawServer(Conversation.forever, tls) as server, client(trusting, timeout_seconds=1) as one:
        with pytest.raises(OutcomeUnknown) as caught:
            await one.post(server.url, b"x" * BIG)
    assert caught.value.evidence.trace == "headers"


async def test_a_connection_that_was_reset_can_be_neither_written_nor_read():
    async with RawServer(breaks) as server:
        stream = await Network().connect_tcp("127.0.0.1", server.port)
        async with asyncio.timeout(PATIENCE):
            while not stream.get_extra_info("is_readable"):  # noqa: ASYNC110
                await asyncio.sleep(0)
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"x")
        await stream.aclose()
        for use in (stream.read(1), stream.write(b"x")):
            with pytest.raises((httpcore.ReadError, httpcore.WriteError)):
                await use
        assert stream.get_extra_info("is_readable")


async def test_each_step_of_a_stream_has_the_time_that_it_is_given():
    async with RawServer(Conversation.forever) as server:
        stream = await Network().connect_tcp("127.0.0.1", server.port)
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(1, timeout=0.05)
        with pytest.raises(httpcore.WriteTimeout):
            await stream.write(b"x" * BIG, timeout=0.05)
        await stream.aclose()


# -- Where to --------------------------------------------------------------------------------------------------------------


async def test_an_address_that_does_not_answer_does_not_hold_up_the_next(trusting):
    async with unanswered_syn() as silent, RawServer(answering) as server, client(trusting) as one:
        ports = (int(silent.rsplit(":")[-1]), server.port)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        loop = asyncio.get_running_loop()

        async def resolved(*_: object, **__: object) -> Any:
            return found

        loop.getaddrinfo = resolved
        assert await one.post("http://two.example") == b"{}"


@pytest.mark.parametrize("ends", ["cancelled", "out of time"])
async def test_what_ends_a_request_while_a_slower_address_is_given_up_is_not_lost(ends, trusting, monkeypatch):
    """aiohappyeyeballs swallows a cancellation in the step in which it ends the other attempts."""
    connecting = asyncio.Event()

    async def swallows(addresses: Any, **_: object) -> socket.socket:
        connecting.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(PATIENCE)
        sock = socket.create_connection(addresses[0][4])
        sock.setblocking(False)
        return sock

    monkeypatch.setattr(network, "start_connection", swallows)
    patience = PATIENCE if ends == "cancelled" else 0.5
    async with RawServer(answering) as server, client(trusting, timeout_seconds=patience) as one:
        before = open_sockets()
        task = asyncio.create_task(one.post(server.url))
        await connecting.wait()
        if ends == "cancelled":
            task.cancel()
        with pytest.raises(asyncio.CancelledError if ends == "cancelled" else Unreachable):
            await task
        assert not one.trace.left
        monkeypatch.undo()
        assert await one.post(server.url) == b"{}"
        assert open_sockets() <= before + 2, "the next one's two ends"


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "a..example"])
async def test_a_name_that_cannot_be_one_is_unreachable(name, trusting):
    async with client(trusting) as one:
        with pytest.raises(Unreachable):
            await one.post(f"http://{name}")


async def test_a_name_and_an_ipv6_address_are_reached(trusting):
    async with RawServer(answering) as server, client(trusting) as one:
        assert await one.post(server.url.replace("127.0.0.1", "localhost")) == b"{}"
    if not socket.has_ipv6:
        return
    async with RawServer(answering, host="::1") as server, client(trusting) as one:
        assert await one.post(server.url) == b"{}"
