"""Providers through the proxy of a setting: what left, what surely did not, and that loopback never goes through it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from posthorn.errors import OutcomeUnknown, Unreachable
from posthorn.gateways.http import HttpClients, Trace
from posthorn.gateways.network import OneConnection
from posthorn.gateways.registry import by_name
from posthorn.settings import Settings, SettingsError, load_settings
from tests.conftest import sandbox_settings
from tests.gateways.raw_server import Conversation, RawServer, ok

PATIENCE = 5.0
REQUEST = b'{"phone":["+48500600700"]}'
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def tunnel(talk: Conversation) -> None:
    """What a proxy does: read CONNECT, connect, and pass bytes on."""
    host, port = (await talk.request()).split()[1].decode().split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        await talk.say(ESTABLISHED)
        await asyncio.gather(pump(talk.reader, writer), pump(reader, talk.writer))
    finally:
        writer.transport.abort()


def saying(answer: bytes) -> Callable[[Conversation], Awaitable[None]]:
    async def behave(talk: Conversation) -> None:
        await talk.request()
        await talk.say(answer)

    return behave


async def silent(talk: Conversation) -> None:
    await talk.request()
    await talk.forever()


async def gone(talk: Conversation) -> None:
    await talk.request()


async def reset(talk: Conversation) -> None:
    await talk.request()
    talk.reset()


async def no_tls_behind(talk: Conversation) -> None:
    await talk.request()
    await talk.say(ESTABLISHED + b"this is no TLS\r\n")


@contextlib.asynccontextmanager
async def through(proxy_url: str, **options: object) -> AsyncIterator[HttpClients]:
    """As a gateway is, but that it believes the test's certificate."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    to_proxy = httpx.Proxy(proxy_url, ssl_context=trusting if proxy_url.startswith("https") else None)
    transport = httpx.AsyncHTTPTransport(verify=trusting, proxy=to_proxy, trust_env=False)
    given = {"concurrency": 1, "timeout_seconds": PATIENCE, "proxy": proxy_url, "transport": transport} | options
    async with HttpClients("Acme", **given) as clients:
        yield clients


@pytest.mark.parametrize("to_proxy", ["plain", "TLS"])
async def test_a_request_goes_through_the_tunnel_and_its_answer_comes_back(
    to_proxy: str, self_signed: ssl.SSLContext
) -> None:
    tls = self_signed if to_proxy == "TLS" else None
    async with RawServer(saying(ok(b"taken")), self_signed) as provider, RawServer(tunnel, tls) as proxy:
        trace = Trace()
        async with through(proxy.url) as clients:
            answer = await clients.exchange("POST", provider.url, repeatable=False, trace=trace, content=REQUEST)
        assert (answer.body, trace.left, trace.last) == (b"taken", True, "answer")
        assert provider.executed[0].endswith(REQUEST)
        assert REQUEST not in b"".join(proxy.executed)


REFUSALS: dict[str, Callable[[Conversation], Awaitable[None]]] = {
    "it asks for a login": saying(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"),
    "it finds no way": saying(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
    "it redirects": saying(b"HTTP/1.1 302 Found\r\nLocation: https://example.com\r\nContent-Length: 0\r\n\r\n"),
    "it never answers": silent,
    "it goes away": gone,
    "it breaks the connection": reset,
    "it speaks no HTTP": saying(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "there is no TLS behind it": no_tls_behind,
}


@pytest.mark.parametrize("what", REFUSALS)
async def test_without_a_tunnel_nothing_was_sent(what: str, self_signed: ssl.SSLContext) -> None:
    async with RawServer(saying(ok()), self_signed) as provider, RawServer(REFUSALS[what]) as proxy:
        trace = Trace()
        async with through(proxy.url, timeout_seconds=0.6) as clients:
            with pytest.raises(Unreachable, match="could not be reached through the proxy of POSTHORN_PROXY_URL"):
                await clients.exchange("POST", provider.url, repeatable=False, trace=trace, content=REQUEST)
        assert not trace.left
        assert provider.executed == []


async def test_a_proxy_that_is_away_is_named_by_its_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with through(f"http://127.0.0.1:{taken.getsockname()[1]}") as clients:
            with pytest.raises(Unreachable, match="POSTHORN_PROXY_URL"):
                await clients.exchange("POST", "https://provider.example", repeatable=False, content=REQUEST)


@pytest.mark.parametrize("ends", [silent, gone, reset], ids=["silence", "an end", "a break"])
async def test_what_went_through_the_tunnel_may_have_been_carried_out(
    ends: Callable[[Conversation], Awaitable[None]], self_signed: ssl.SSLContext
) -> None:
    async with RawServer(ends, self_signed) as provider, RawServer(tunnel) as proxy:
        trace = Trace()
        async with through(proxy.url, timeout_seconds=1.5) as clients:
            with pytest.raises(OutcomeUnknown):
                await clients.exchange("POST", provider.url, repeatable=False, trace=trace, content=REQUEST)
        assert trace.left
        assert len(provider.executed) == 1


async def test_each_request_has_a_tunnel_of_its_own() -> None:
    """On a kept connection there is no CONNECT: the request itself would be taken for it, then unsent."""
    async with RawServer(tunnel) as proxy:
        settings = Settings(proxy_url=proxy.url, serwersms={"base_url": "https://127.0.0.9:9", "token": "token"})
        gateway = by_name("serwersms").open(settings)
        assert isinstance(gateway._http._transports[0], OneConnection)  # loopback: direct, as ever
        await gateway.aclose()
    clients = HttpClients("Acme", concurrency=1, timeout_seconds=1, keepalive_seconds=0.25, proxy="http://127.0.0.1:9")
    assert clients._transports[0]._pool._max_keepalive_connections == 0
    await clients.aclose()


async def test_a_provider_elsewhere_is_called_through_the_proxy_and_one_on_this_machine_is_not(box, tmp_path) -> None:
    async with RawServer(saying(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")) as proxy:
        here = sandbox_settings(box.url, tmp_path).model_copy(update={"proxy_url": Settings(proxy_url=proxy.url).proxy_url})
        gateway = by_name("serwersms").open(here)
        assert (await gateway.credit()).available
        await gateway.aclose()
        assert proxy.connections == 0
        elsewhere = Settings(proxy_url=proxy.url, serwersms={"base_url": "https://provider.example", "token": "token"})
        gateway = by_name("serwersms").open(elsewhere)
        with pytest.raises(Unreachable, match="POSTHORN_PROXY_URL"):
            await gateway.credit()
        await gateway.aclose()
        assert proxy.executed[0].startswith(b"CONNECT provider.example:443 ")


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch, box, tmp_path) -> None:
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    gateway = by_name("serwersms").open(sandbox_settings(box.url, tmp_path))
    assert (await gateway.credit()).available
    await gateway.aclose()


WRONG = (
    "proxy.example:3128",
    "http://proxy.example",
    "ftp://proxy.example:1",
    "http://:3128",
    "http://a b:1",
    "http://h:0x1",
    "http://h:1/path",
    "http://h:99999",
    "http://[::1:1",
    "socks5://secret:word@h:1",
)


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_proxy_is_refused_and_never_quoted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHORN_PROXY_URL", url)
    with pytest.raises(SettingsError, match=r"^POSTHORN_PROXY_URL: expected http") as refused:
        load_settings()
    assert "secret" not in str(refused.value)
    assert url not in str(refused.value)


def test_a_login_of_the_proxy_is_no_part_of_what_is_shown() -> None:
    settings = Settings(proxy_url="http://user:secret-word@proxy.example:3128")
    assert "secret-word" not in repr(settings)
    assert settings.proxy_for("https://provider.example") == "http://user:secret-word@proxy.example:3128"
    for loopback in ("http://127.0.0.1:8025", "https://localhost", "http://[::1]:1", "http://127.9.9.9:1"):
        assert settings.proxy_for(loopback) is None
