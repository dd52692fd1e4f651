"""A sandbox on a free port and a bare HTTP client to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from defusedxml import ElementTree

from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.sandbox.skycore import SkycoreOptions

BEARER = {"Authorization": "Bearer sandbox-token"}


class Caller:
    """Calls the sandbox as a client would; every method is one HTTP request."""

    def __init__(self, box: Sandbox, http: httpx.AsyncClient) -> None:
        self.box, self.http = box, http

    async def call(self, path: str, **params: Any) -> Any:
        answer = await self.http.post(f"/{path}", json=params, headers=BEARER)
        assert answer.status_code == 200
        return answer.json()

    async def send(self, *phones: str, **params: Any) -> Any:
        given = {"title": "Autumn", "text": "hello", "details": True, "phone": list(phones), **params}
        return await self.call("messages/send_mms", **given)

    async def told(self, path: str, **query: Any) -> Any:
        return (await self.http.get(f"/_sandbox/{path}", params=query)).json()

    async def order(self, method: str, path: str, body: object) -> httpx.Response:
        return await self.http.request(method, f"/_sandbox/{path}", json=body)

    async def age(self, seconds: float) -> None:
        assert (await self.order("POST", "clock", {"advance_seconds": seconds})).status_code == 200

    async def add_file(self, name: str = "poster.jpg") -> str:
        answer = await self.call("files/add", type="mms", url=f"https://example.com/{name}")
        return str(answer["id"])


@asynccontextmanager
async def running(*, speed: float = 0.0, **given: Any) -> AsyncIterator[Caller]:
    """A sandbox whose clock stands still unless told otherwise; what the server does not know are account options."""
    server = {key: given.pop(key) for key in ("faults", "latency_seconds", "keepalive_seconds", "zone") if key in given}
    async with (
        Sandbox(serwersms=SerwerSmsOptions(**given), speed=speed, **server) as box,
        httpx.AsyncClient(base_url=box.url, timeout=5) as http,
    ):
        yield Caller(box, http)


@pytest.fixture
def sandbox() -> Any:
    """``async with sandbox(credit=3) as caller``."""
    return running


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """A sandbox as it comes."""
    async with running() as caller:
        yield caller


def phones(count: int, start: int = 500_600_000) -> list[str]:
    """Correct numbers, all different."""
    return [f"+48{start + number}" for number in range(count)]


@pytest.fixture(name="phones")
def _phones() -> Any:
    return phones


class Ticketer:
    """Calls the sandbox's Skycore as a client would; every method is one HTTP request."""

    def __init__(self, box: Sandbox, http: httpx.AsyncClient) -> None:
        self.box, self.http = box, http

    async def post(self, **changes: str | None) -> Element:
        return parsed(await self.http.post(WXML, data={"xml": request_xml(**changes)}))

    async def get(self, **changes: str | None) -> Element:
        return parsed(await self.http.get(WXML, params=seed_params(**changes)))

    async def code(self, **changes: str | None) -> str | None:
        """The error code, None where the ticket was taken."""
        answer = await self.post(**changes)
        assert answer.findtext("STATUS") == ("Failure" if answer.find("ERRORCODE") is not None else "Success")
        return answer.findtext("ERRORCODE")

    async def told(self, path: str, **query: Any) -> Any:
        return (await self.http.get(f"/_sandbox/{path}", params=query)).json()

    async def order(self, method: str, path: str, body: object) -> httpx.Response:
        return await self.http.request(method, f"/_sandbox/{path}", json=body)

    async def age(self, seconds: float) -> None:
        assert (await self.order("POST", "clock", {"advance_seconds": seconds})).status_code == 200

    async def flush(self) -> Any:
        answer = await self.order("POST", "postbacks", {"flush": True})
        assert answer.status_code == 200
        return answer.json()


WXML = "/API/wxml/1.3/index.php"
# The request example of the sendMMSBarcode page, with the sandbox's key.
SEED = {
    "action": "sendMMSBarcode",
    "api_key": "sandbox-key",
    "to": "16501234123",
    "from": "60856",
    "barcodeid": "Ticket_12345",
    "campaignref": "12333",
    "mmsid": "35674",
}


def seed_params(**changes: str | None) -> dict[str, str]:
    """The page's example with some values changed, or left out where None; ``sender`` stands for ``from``."""
    if "sender" in changes:
        changes["from"] = changes.pop("sender")
    return {name: value for name, value in {**SEED, **changes}.items() if value is not None}


def request_xml(**changes: str | None) -> str:
    elements = "".join(f"<{name.upper()}>{escape(value)}</{name.upper()}>" for name, value in seed_params(**changes).items())
    return f"<REQUEST>{elements}</REQUEST>"


def parsed(answer: httpx.Response) -> Element:
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
    root = ElementTree.fromstring(answer.content)
    assert root.tag == "RESPONSE"
    return root


@asynccontextmanager
async def running_skycore(*, speed: float = 0.0, **given: Any) -> AsyncIterator[Ticketer]:
    server = {key: given.pop(key) for key in ("faults", "latency_seconds", "serwersms") if key in given}
    async with (
        Sandbox(skycore=SkycoreOptions(**given), speed=speed, **server) as box,
        httpx.AsyncClient(base_url=box.url, timeout=5) as http,
    ):
        yield Ticketer(box, http)


@pytest.fixture
def skycore() -> Any:
    """``async with skycore(billing_problem=True) as tickets``."""
    return running_skycore


@pytest.fixture
async def tickets() -> AsyncIterator[Ticketer]:
    """A sandbox as it comes."""
    async with running_skycore() as tickets:
        yield tickets


@pytest.fixture(name="request_xml")
def _request_xml() -> Any:
    return request_xml


@pytest.fixture(name="seed_params")
def _seed_params() -> Any:
    return seed_params


class Receiver:
    """A receiver of postbacks on this machine: what came, and what it answers from now on."""

    def __init__(self) -> None:
        self.status, self.pause_seconds = 200, 0.0
        self.bodies: list[bytes] = []
        self.types: list[str] = []
        self.url = ""
        self.came = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        self.types.append(request.headers["Content-Type"])
        self.came.set()
        await asyncio.sleep(self.pause_seconds)
        return web.Response(status=self.status, headers={"Location": "/elsewhere"} if self.status == 302 else {})

    @property
    def news(self) -> list[Element]:
        return [ElementTree.fromstring(body) for body in self.bodies]

    def codes(self) -> list[str | None]:
        return [root.findtext("CODE") for root in self.news]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/hook"))
        yield receiver
