"""A sandbox on a free port and a bare HTTP client to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.serwersms import SerwerSmsOptions

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
    server = {key: given.pop(key) for key in ("faults", "latency_seconds", "keepalive_seconds") if key in given}
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
