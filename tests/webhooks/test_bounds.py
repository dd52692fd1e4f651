"""The receiver's bounds over real connections: bytes, entries, depth, time, fields, connections."""

from __future__ import annotations

import asyncio
import gzip
import resource
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx
import pytest

from posthorn.content.stopwords import StopWords
from posthorn.gateways.skycore import postbacks
from posthorn.gateways.skycore.bounds import MAX_POSTBACK_BYTES
from posthorn.webhooks import bodies, connections
from tests.webhooks.receiver import SECRET, receiving

SKYCORE, SERWERSMS = f"/{SECRET}/skycore", f"/{SECRET}/serwersms"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with receiving(f"sqlite:///{tmp_path / 'ledger.db'}") as address:
        yield address


def notification(number: int, inner: str = "") -> str:
    return (
        f'<NOTIFICATION ID="{number}" CREATED="2011-08-02 07:20:52.332193-04"><ORIGIN>MMS_MT</ORIGIN><CODE>N101</CODE><BODY>'
        f"<HISTORYID>249687</HISTORYID><MMSID>35674</MMSID><TO>16501234123</TO><TRACKINGID>MMS_{number}</TRACKINGID>"
        f"<SPID>000189</SPID><TIMESTAMP>2011-08-02 07:20:49-04</TIMESTAMP></BODY>{inner}</NOTIFICATION>"
    )


def batch(count: int) -> bytes:
    return f"<POSTBACK>{''.join(map(notification, range(count)))}</POSTBACK>".encode()


def nested(count: int) -> bytes:
    opened = "".join(f"<NOTIFICATION><CODE>N101</CODE><TRACKINGID>M{n}</TRACKINGID>" for n in range(count))
    return f"<POSTBACK>{opened}{'</NOTIFICATION>' * count}</POSTBACK>".encode()


_ENTRY = b"<NOTIFICATION><CODE>N101</CODE><TRACKINGID>M</TRACKINGID></NOTIFICATION>"
HOSTILE = {
    "five thousand nested entries": (nested(5_000), 400),
    "entries nested a little": (b"<POSTBACK>" + nested(18) + b"</POSTBACK>", 400),
    "deep": (b"<a>" * 100_000, 400),
    "elements without end": (b"<POSTBACK>" + b"<a/>" * 120_000 + b"</POSTBACK>", 400),
    "more entries than fit": (b"<POSTBACK>" + _ENTRY * 2_001 + b"</POSTBACK>", 400),
    "entities": (b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;">]><POSTBACK>&b;</POSTBACK>', 400),
    "an external entity": (b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><POSTBACK>&a;</POSTBACK>', 400),
    "too large": (b"<POSTBACK>" + b" " * MAX_POSTBACK_BYTES, 413),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_what_is_beyond_a_bound_is_refused(case: str, is_chunked: bool, url: str) -> None:
    body, status = HOSTILE[case]

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        try:
            answered = (await client.post(SKYCORE, content=pieces() if is_chunked else body)).status_code
        except httpx.HTTPError:  # a server may hang up before everything is written
            answered = 413
    assert answered == status


async def test_hostile_postbacks_do_not_hold_the_loop(url: str) -> None:
    """Work per byte, not seconds, for a machine may be slow. What was quadratic took a hundred times as much."""

    def work(body: bytes) -> float:
        begun = time.thread_time()
        for _ in range(3):
            with suppress(postbacks.Unreadable):
                postbacks.read("text/xml", body, StopWords("STOP,WYPISZ"))
        return (time.thread_time() - begun) / len(body)

    work(batch(100))
    honest = work(batch(1_000))
    for body in (nested(200), nested(6_000), HOSTILE["elements without end"][0], HOSTILE["deep"][0]):
        assert work(body) < 10 * honest


async def test_the_largest_honest_batch_is_kept(url: str, tmp_path: Path) -> None:
    """512 KiB of the old shape: a minute's events of a whole account."""
    body = batch(1_700)
    assert 450_000 < len(body) <= MAX_POSTBACK_BYTES
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        assert (await client.post(SKYCORE, content=body)).status_code == 200
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        assert ledger.execute("SELECT count(*) FROM parked_report").fetchone() == (1_700,)


@pytest.mark.parametrize("path", [SKYCORE, SERWERSMS])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
async def test_an_encoded_body_is_not_read(path: str, encoding: str, url: str) -> None:
    packed = gzip.compress(gzip.compress(b"\0" * 50_000_000))
    async with httpx.AsyncClient(base_url=url) as client:
        answer = await client.post(path, content=packed, headers={"Content-Encoding": encoding, **FORM})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (SERWERSMS, b"id=abc&state=delivered&" + b"a=&" * 1_000),
        (SERWERSMS, b"id=abc&state=delivered&a=%FF"[:-3] + b"\xff"),
        (SKYCORE, b"a=&" * 1_000 + b"xml=%3CPOSTBACK%2F%3E"),
    ],
)
async def test_a_form_of_too_many_fields_or_of_no_text_is_refused(path: str, body: bytes, url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.post(path, content=body, headers=FORM)).status_code == 400


async def test_a_callback_is_short(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        answer = await client.post(SERWERSMS, content=b"id=abc&state=delivered&x=" + b"x" * 20_000, headers=FORM)
    assert answer.status_code == 413


async def test_a_form_of_a_thousand_files_opens_none_of_them(url: str) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="f%d"; filename="f"\r\n\r\n\r\n'
    body = b"".join(part % number for number in range(1_000)) + b"--b--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, limit[1]))
    try:
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.post(SKYCORE, content=body, headers=kind)).status_code == 400

            async def pieces() -> AsyncIterator[bytes]:
                yield body

            assert (await client.post(SKYCORE, content=pieces(), headers=kind)).status_code == 411
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


async def said_until_closed(url: str, *pieces: bytes) -> bytes:
    """Everything the receiver says before it closes a connection on which these bytes came, and then nothing more."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_connection_that_never_says_its_headers_is_closed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADERS_SECONDS", 0.3)
    for begun in ([], [b"POST /x HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n"]):
        async with asyncio.timeout(20):  # the library's own patience is longer
            assert await said_until_closed(url, *begun) == b""


@pytest.mark.parametrize("path", [SKYCORE, SERWERSMS])
async def test_a_body_that_does_not_come_ends_with_408(path: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "RECEIVE_SECONDS", 0.3)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n<POSTBACK>".encode()
    assert (await said_until_closed(url, head)).startswith(b"HTTP/1.1 408 ")


async def test_a_dripped_body_is_bounded_as_a_whole(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "RECEIVE_SECONDS", 0.5)
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST {SKYCORE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n".encode())
    answer = asyncio.ensure_future(reader.readline())
    while not answer.done():  # a byte now and then, for as long as nobody answers
        writer.write(b" ")
        await asyncio.wait([answer], timeout=0.05)
    assert (await answer).startswith(b"HTTP/1.1 408 ")
    writer.close()


@pytest.mark.parametrize(
    "flood", [b"X-%d: y\r\n", b"X-%d: " + b"y" * 8_000 + b"\r\n"], ids=["many headers", "large headers"]
)
async def test_a_flood_of_headers_is_refused(flood: bytes, url: str) -> None:
    headers = b"".join(flood % number for number in range(2_000))
    said = await said_until_closed(url, b"POST /x HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n")
    assert said == b"" or b" 400 Bad Request" in said[:30]


async def test_a_connection_too_many_is_closed_at_once_and_the_others_serve(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 5)
    host, _, port = url.removeprefix("http://").partition(":")
    async with AsyncExitStack() as stack:
        held = []
        for _ in range(5):
            reader, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.close)
            held.append((reader, writer))
        assert await said_until_closed(url, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
        reader, writer = held[0]
        writer.write(f"GET {SERWERSMS}?id=abc&state=delivered HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    async with httpx.AsyncClient(base_url=url) as client:  # the places are free again as soon as the closing is seen
        for _ in range(100):
            try:
                assert (await client.get(f"{SERWERSMS}?id=abc&state=delivered")).status_code == 200
            except httpx.HTTPError:
                continue
            return
    pytest.fail("no place became free")


WITH_LOGS = (
    "import logging, sys; logging.basicConfig(level=logging.DEBUG);"
    "from posthorn.__main__ import main; sys.argv[0] = 'posthorn'; main()"
)


async def test_no_log_holds_the_secret_path_however_much_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHORN_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", "sqlite:///ledger.db")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WITH_LOGS, "webhooks", "--port", "0", stderr=pipe, stdout=pipe
    )
    assert process.stderr is not None
    said = b""
    while b"/SECRET/serwersms" not in said:
        line = await process.stderr.readline()
        assert line, said
        said += line
    address = said[said.index(b"ready ") + 6 :].partition(b"/SECRET")[0].decode()
    async with httpx.AsyncClient(base_url=address) as client:
        assert (await client.get(f"{SERWERSMS}?id=abc&state=delivered")).status_code == 200
        assert (await client.post(SKYCORE, content=b"<html>")).status_code == 400
    process.terminate()
    out, err = await process.communicate()
    said += out + err
    assert b"was refused" in said, "the log is on"
    assert SECRET.encode() not in said
