"""What httpx does on each kind of broken connection, and what we make of it: protocol.md, table 2.2, against real sockets.

Pinned on purpose. An httpx or httpcore that raises, traces or retries otherwise than today must fail here first.
"""

import asyncio
import contextlib
import gzip
import logging
import socket

import httpx
import pytest

from posthorn.errors import ClaimGone, OutcomeUnknown, RequestRefused, TryAgain, Unreachable
from posthorn.gateways import http
from posthorn.gateways.http import HttpClients, Trace, refusal
from tests.gateways.raw_server import OK_HEAD, Conversation, RawServer, ok

SHORT = 0.6
BODY = b'{"phone":["+48500600700"]}'


def clients(**options):
    return HttpClients("Acme", **{"concurrency": 2, "timeout_seconds": SHORT} | options)


async def post(url, *, repeatable=False, trace=None, options=None, **request):
    request = {"content": BODY} | request
    async with clients(**(options or {})) as http_clients:
        return await http_clients.exchange("POST", url + "/send", repeatable=repeatable, trace=trace, **request)


# -- Nothing was written --------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def refused_connection():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextlib.asynccontextmanager
async def unanswered_syn():
    with socket.socket() as full, contextlib.ExitStack() as fillers:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}"


@contextlib.asynccontextmanager
async def eof_in_the_tls_handshake():
    async def behave(talk: Conversation) -> None:
        await talk.reader.read(1)

    async with RawServer(behave) as server:
        yield server.url.replace("http:", "https:")


@contextlib.asynccontextmanager
async def reset_in_the_tls_handshake():
    async def behave(talk: Conversation) -> None:
        await talk.reader.read(1)
        talk.reset()

    async with RawServer(behave) as server:
        yield server.url.replace("http:", "https:")


@contextlib.asynccontextmanager
async def stalled_tls_handshake():
    async with RawServer(Conversation.forever) as server:
        yield server.url.replace("http:", "https:")


@contextlib.asynccontextmanager
async def tls_to_a_plain_port():
    async def behave(talk: Conversation) -> None:
        await talk.reader.read(100)
        await talk.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with RawServer(behave) as server:
        yield server.url.replace("http:", "https:")


@contextlib.asynccontextmanager
async def untrusted_certificate(tls):
    async def behave(talk: Conversation) -> None:
        await talk.request()

    async with RawServer(behave, tls) as server:
        yield server.url
        assert server.executed == []


NOTHING_WRITTEN = {
    "connection refused": refused_connection,
    "SYN never answered": unanswered_syn,
    "EOF in the TLS handshake": eof_in_the_tls_handshake,
    "RST in the TLS handshake": reset_in_the_tls_handshake,
    "TLS handshake stalls": stalled_tls_handshake,
    "TLS to a plain port": tls_to_a_plain_port,
}


@pytest.mark.parametrize("place", NOTHING_WRITTEN.values(), ids=NOTHING_WRITTEN)
@pytest.mark.parametrize("repeatable", [False, True], ids=["send", "other call"])
async def test_a_connection_that_never_stood_is_unreachable(place, repeatable):
    trace = Trace()
    async with place() as url:
        with pytest.raises(Unreachable) as caught:
            await post(url, repeatable=repeatable, trace=trace)
    assert not caught.value.maybe_sent
    assert (trace.left, caught.value.evidence.trace) == (False, "none")


async def test_an_untrusted_certificate_is_unreachable(self_signed):
    async with untrusted_certificate(self_signed) as url:
        with pytest.raises(Unreachable):
            await post(url, options={"timeout_seconds": 5})


async def test_a_protocol_httpx_does_not_speak_is_unreachable():
    with pytest.raises(Unreachable):
        await post("ftp://127.0.0.1")


async def test_a_url_that_is_none_is_refused_before_anything_is_sent():
    with pytest.raises(RequestRefused):
        await post("http://127.0.0.1:notaport")


async def test_a_header_http_forbids_is_refused_and_no_byte_leaves():
    seen = []

    async def behave(talk: Conversation) -> None:
        seen.append(await talk.reader.read(1))

    async with RawServer(behave) as server:
        with pytest.raises(RequestRefused) as caught:
            await post(server.url, headers={"Authorization": "Bearer s3cret\nX: y"})
    assert seen in ([], [b""])
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


# -- Written, and no complete answer --------------------------------------------------------------------------------------


async def reset_at_accept(talk):
    talk.reset()


async def close_with_unread_data(talk):
    await talk.reader.readexactly(50)
    talk.reset()


async def reset_after_the_request(talk):
    await talk.request()
    talk.reset()


async def reset_in_the_answer(talk):
    await talk.request()
    await talk.say(OK_HEAD + b"Content-Length: 100\r\n\r\n{")
    await asyncio.sleep(0.05)  # the first part must arrive before the reset discards it
    talk.reset()


async def fin_after_the_request(talk):
    await talk.request()


def answers_with(answer):
    async def behave(talk):
        await talk.request()
        await talk.say(answer)

    return behave


async def no_answer(talk):
    await talk.request()
    await talk.forever()


async def stalled_answer(talk):
    await talk.request()
    await talk.say(OK_HEAD + b"Content-Length: 100\r\n\r\n{")
    await talk.forever()


async def dripped_answer(talk):
    await talk.request()
    await talk.say(OK_HEAD + b"Content-Length: 1000\r\n\r\n")
    while True:
        await talk.say(b" ")
        await asyncio.sleep(SHORT / 8)


WRITTEN = {
    "RST at accept": (reset_at_accept, {"body", "headers"}),
    "closed with unread data": (close_with_unread_data, {"body", "headers"}),
    "RST after the whole request": (reset_after_the_request, {"body"}),
    "RST within the answer": (reset_in_the_answer, {"answer"}),
    "FIN after the whole request": (fin_after_the_request, {"body"}),
    "half a header": (answers_with(b"HTTP/1.1 200 OK\r\nContent-"), {"body"}),
    "a body shorter than declared": (answers_with(OK_HEAD + b"Content-Length: 10\r\n\r\n{}"), {"answer"}),
    "chunks cut off": (answers_with(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"), {"answer"}),
    "garbage for an answer": (answers_with(b"\x00\x01 no HTTP at all +48500600700\r\n\r\n"), {"body"}),
    "a header of 200 KB": (answers_with(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000), {"body"}),
    "100 Continue, then FIN": (answers_with(b"HTTP/1.1 100 Continue\r\n\r\n"), {"body"}),
    "no answer": (no_answer, {"body"}),
    "an answer that stalls": (stalled_answer, {"answer"}),
    "an answer dripped byte by byte": (dripped_answer, {"answer"}),
    "gzip that is none": (answers_with(OK_HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"), {"answer"}),
}


@pytest.mark.parametrize(("behave", "stages"), WRITTEN.values(), ids=WRITTEN)
async def test_a_send_that_left_without_a_complete_answer_is_unknown(behave, stages):
    async with RawServer(behave) as server:
        trace = Trace()
        with pytest.raises(OutcomeUnknown) as caught:
            await post(server.url, trace=trace)
        assert server.connections == 1
    assert caught.value.maybe_sent
    assert trace.left
    assert caught.value.evidence.trace in stages
    assert "48500600700" not in str(caught.value)


@pytest.mark.parametrize(("behave", "stages"), WRITTEN.values(), ids=WRITTEN)
async def test_the_same_on_a_call_that_may_be_repeated_is_try_again(behave, stages):
    async with RawServer(behave) as server:
        with pytest.raises(TryAgain) as caught:
            await post(server.url, repeatable=True)
        assert server.connections == 1
    assert type(caught.value) is TryAgain


async def test_a_server_that_never_accepts_has_everything_all_the_same():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(5)
        with pytest.raises(OutcomeUnknown) as caught:
            await post(f"http://127.0.0.1:{listening.getsockname()[1]}")
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.recv(100_000).endswith(BODY)
    assert caught.value.evidence.trace == "body"


async def test_a_body_shorter_than_its_declared_length_is_unknown_because_bytes_left():
    async def behave(talk):
        talk.server.executed.append(await talk.reader.read(1000))
        await talk.forever()

    async with RawServer(behave) as server:
        with pytest.raises(OutcomeUnknown) as caught:
            await post(server.url, content=b"abc", headers={"Content-Length": "50"})
    assert "LocalProtocolError" in str(caught.value)
    assert caught.value.evidence.trace == "headers"


async def test_a_reader_that_stalls_on_a_big_body_is_unknown():
    async with RawServer(Conversation.forever) as server:
        with pytest.raises(OutcomeUnknown) as caught:
            await post(server.url, content=b"x" * 16_000_000)
    assert caught.value.evidence.trace == "headers"


async def test_headers_that_left_in_part_are_not_called_unsent():
    async with RawServer(Conversation.forever) as server:
        with pytest.raises(OutcomeUnknown) as caught:
            await post(server.url, headers={"X-Long": "x" * 16_000_000})
    assert caught.value.evidence.trace == "headers"


async def test_an_early_413_on_a_big_body_never_counts_as_an_answer_to_try_again():
    async def behave(talk):
        await talk.reader.read(1000)
        await talk.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with RawServer(behave) as server:
        try:  # which of the two is a race between RST and answer
            answer = await post(server.url, content=b"x" * 16_000_000)
        except OutcomeUnknown:
            return
    assert isinstance(refusal("Acme", answer, repeatable=False), RequestRefused)


async def test_a_redirect_is_not_followed():
    async def behave(talk):
        await talk.request()
        await talk.say(b"HTTP/1.1 307 Again\r\nLocation: /send\r\nContent-Length: 0\r\n\r\n")

    async with RawServer(behave) as server:
        answer = await post(server.url)
        assert (answer.status, len(server.executed)) == (307, 1)


async def test_an_answer_without_length_that_breaks_off_looks_complete_to_http():
    """Why a gateway must read the document: no exception tells."""
    async with RawServer(answers_with(OK_HEAD + b'\r\n{"success":tr')) as server:
        assert (await post(server.url)).body == b'{"success":tr'


# -- Time and size --------------------------------------------------------------------------------------------------------


async def test_the_timeout_bounds_the_whole_exchange_not_each_read():
    async with RawServer(dripped_answer) as server:
        with pytest.raises(OutcomeUnknown) as caught:  # else the answer were complete, in two minutes
            await post(server.url)
    assert "TimeoutError" in str(caught.value)


async def test_waiting_for_a_free_place_does_not_use_up_the_time():
    async def slow(talk):
        await talk.request()
        await asyncio.sleep(0.4)
        await talk.say(ok())

    async with RawServer(slow) as server, clients(concurrency=1, timeout_seconds=1) as http_clients:
        calls = [http_clients.exchange("POST", server.url, repeatable=False, content=BODY) for _ in range(3)]
        assert [answer.status for answer in await asyncio.gather(*calls)] == [200, 200, 200]


async def test_no_more_requests_are_in_flight_than_asked_for():
    now, most = 0, 0
    full = asyncio.Event()

    async def behave(talk):
        nonlocal now, most
        await talk.request()
        now += 1
        most = max(most, now)
        if now == 20:
            full.set()
        await full.wait()
        await asyncio.sleep(0.02)  # time for one too many
        now -= 1
        await talk.say(ok())

    async with RawServer(behave) as server, clients(concurrency=20, timeout_seconds=10) as http_clients:
        calls = [http_clients.exchange("POST", server.url, repeatable=False, content=BODY) for _ in range(60)]
        await asyncio.gather(*calls)
    assert most == 20


async def test_an_answer_beyond_the_limit_is_not_read_on():
    sent = 0

    async def behave(talk):
        nonlocal sent
        await talk.request()
        await talk.say(OK_HEAD + b"Content-Length: 50000000\r\n\r\n")
        for _ in range(500):
            await talk.say(b" " * 100_000)
            sent += 100_000

    async with RawServer(behave) as server:
        with pytest.raises(OutcomeUnknown) as caught:
            await post(server.url, options={"timeout_seconds": 20})
    assert "AnswerTooLong" in str(caught.value)
    assert sent < 20_000_000
    assert len(caught.value.evidence.raw) == http.MAX_EVIDENCE_BYTES


ENCODINGS = ["gzip", "GZIP", "br", "zstd", "deflate, gzip", "identity, gzip", "x-unheard-of"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request", b"429 Too Many Requests"])
async def test_an_encoded_answer_is_not_read_whatever_its_status(status, encoding):
    packed = gzip.compress(b'{"success":true}')
    head = b"HTTP/1.1 %b\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (status, encoding.encode(), len(packed))
    async with RawServer(answers_with(head + packed)) as server:
        with pytest.raises(OutcomeUnknown, match="AnswerEncoded"):
            await post(server.url)
        with pytest.raises(TryAgain, match="AnswerEncoded"):
            await post(server.url, repeatable=True)
        assert b"accept-encoding: identity" in server.executed[0].lower()


@pytest.mark.parametrize("header", [b"", b"Content-Encoding: identity\r\n", b"Content-Encoding:\r\n"])
async def test_an_answer_that_is_not_encoded_is_read(header):
    async with RawServer(answers_with(OK_HEAD + header + b"Content-Length: 2\r\n\r\n{}")) as server:
        assert (await post(server.url)).body == b"{}"


# -- Connections ----------------------------------------------------------------------------------------------------------


async def test_each_request_has_a_connection_of_its_own():
    async def behave(talk):
        while True:
            await talk.request()
            await talk.say(ok())

    async with RawServer(behave) as server, clients() as http_clients:
        for _ in range(5):
            await http_clients.exchange("POST", server.url, repeatable=False, content=BODY)
        assert server.connections == 5


async def test_a_server_that_closes_idle_connections_leaves_no_outcome_unknown():
    """Protocol.md test 14. The server drops a connection 15 ms after an answer, just when the next request is written."""

    async def behave(talk):
        await talk.request()
        while True:
            await talk.say(ok())
            await asyncio.wait_for(talk.request(), 0.015)

    async with RawServer(behave) as server, clients(concurrency=8, timeout_seconds=20) as http_clients:

        async def sender(pause):
            for _ in range(25):
                assert (await http_clients.exchange("POST", server.url, repeatable=False, content=BODY)).status == 200
                await asyncio.sleep(pause)

        await asyncio.gather(*(sender(0.0145 + step * 0.0002) for step in range(8)))
        assert len(server.executed) == 200


async def test_keepalive_where_asked_for_reuses_a_fresh_connection_and_no_stale_one():
    async def behave(talk):
        while True:
            await talk.request()
            await talk.say(ok())

    async with RawServer(behave) as server, clients(keepalive_seconds=1.5) as http_clients:
        for _ in range(3):
            await http_clients.exchange("POST", server.url, repeatable=False, content=BODY)
        assert server.connections == 1
        await asyncio.sleep(1.6)
        await http_clients.exchange("POST", server.url, repeatable=False, content=BODY)
        assert server.connections == 2


async def test_no_cookie_is_kept():
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1; Path=/\r\nContent-Length: 2\r\n\r\n{}"
    async with RawServer(answers_with(cookie)) as server, clients() as http_clients:
        for _ in range(2):
            await http_clients.exchange("POST", server.url, repeatable=False, content=BODY)
        assert b"cookie" not in server.executed[1].lower()


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with RawServer(answers_with(ok())) as server:
        assert (await post(server.url)).status == 200


# -- Cancellation and mistakes of our own ---------------------------------------------------------------------------------


class WatchedTrace(Trace):
    """Says when connecting begins."""

    def __init__(self):
        super().__init__()
        self.connecting = asyncio.Event()

    async def __call__(self, event, info):
        await super().__call__(event, info)
        if event == "connection.connect_tcp.started":
            self.connecting.set()


async def cancelled(url, trace, when):
    task = asyncio.create_task(post(url, trace=trace, options={"timeout_seconds": 30}))
    await when.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_while_connecting_the_trace_knows_that_nothing_left():
    trace = WatchedTrace()
    async with unanswered_syn() as url:
        await cancelled(url, trace, trace.connecting)
    assert (trace.left, trace.last) == (False, "none")


async def test_cancelled_while_waiting_for_the_answer_the_trace_knows_that_it_left():
    trace = Trace()
    async with RawServer(no_answer) as server:
        await cancelled(server.url, trace, server.heard)
    assert (trace.left, trace.last) == (True, "body")


async def test_after_cancellation_the_place_is_free_again():
    async with RawServer(no_answer) as server, clients(concurrency=1, timeout_seconds=10) as http_clients:
        task = asyncio.create_task(http_clients.exchange("POST", server.url, repeatable=False, content=BODY))
        await server.heard.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with RawServer(answers_with(ok())) as other:
            assert (await http_clients.exchange("POST", other.url, repeatable=False, content=BODY)).status == 200


async def test_a_mistake_of_our_own_is_not_called_unreachable():
    with pytest.raises(TypeError):
        await post("http://127.0.0.1:9", no_such_option=True)


OPAQUE = [
    (httpx.ConnectError, Unreachable),
    (httpx.ConnectTimeout, Unreachable),
    (httpx.PoolTimeout, Unreachable),
    (httpx.ReadError, OutcomeUnknown),
    (httpx.ReadTimeout, OutcomeUnknown),
    (httpx.WriteError, OutcomeUnknown),
    (httpx.RemoteProtocolError, OutcomeUnknown),
    (httpx.LocalProtocolError, OutcomeUnknown),
]


@pytest.mark.parametrize(("raised", "expected"), OPAQUE)
async def test_a_transport_that_does_not_trace_is_believed_only_where_no_request_can_have_left(raised, expected):
    def handler(request):
        raise raised("said by the transport")

    with pytest.raises(expected):
        await post("http://127.0.0.1", options={"transport": httpx.MockTransport(handler)})


async def test_no_header_body_or_url_reaches_a_log(caplog):
    caplog.set_level(logging.DEBUG)
    answer = OK_HEAD + b'X-Echo: s3cret +48500600700\r\nContent-Length: 24\r\n\r\n{"phone":"+48500600700"}'
    async with RawServer(answers_with(answer)) as server:
        await post(server.url + "/?api_key=s3cret", headers={"Authorization": "Bearer s3cret"})
    assert "s3cret" not in caplog.text
    assert "500600700" not in caplog.text


# -- Held back at the last moment -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["refused", "too slow"])
async def test_a_request_that_is_held_back_writes_no_byte_though_its_connection_stands(what: str) -> None:
    read: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    connected = asyncio.Event()

    async def behave(talk: Conversation) -> None:
        connected.set()
        read.set_result(await talk.reader.read(1000))

    async def before() -> None:
        await connected.wait()
        if what == "refused":
            raise ClaimGone("not ours")
        await asyncio.Event().wait()

    trace = Trace(before)
    async with RawServer(behave) as server:
        with pytest.raises(ClaimGone if what == "refused" else Unreachable) as caught:
            await post(server.url, trace=trace)
        assert not caught.value.maybe_sent
        assert await asyncio.wait_for(read, 5) == b""
    assert not trace.left


async def test_a_request_that_may_leave_is_asked_about_once_and_leaves() -> None:
    asked: list[bool] = []

    async def behave(talk: Conversation) -> None:
        await talk.request()
        await talk.say(ok())

    async def before() -> None:
        asked.append(server.executed == [])

    async with RawServer(behave) as server:
        assert (await post(server.url, trace=Trace(before))).status == 200
    assert asked == [True]
