"""The origin check before Prefect's server: what the server asks itself passes, and nobody from outside passes for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from prefect.server.api.clients import OrchestrationClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from deployments.server import OriginCheck


async def inside(_: Request) -> Response:
    return PlainTextResponse("inside")


def checked() -> OriginCheck:
    return OriginCheck(Starlette(routes=[Route("/", inside)]), names=())


@pytest.fixture
def address() -> Iterator[str]:
    """A checked server behind a real socket."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(checked(), log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)


async def test_what_prefects_server_asks_itself_passes() -> None:
    own = OrchestrationClient()._http_client.base_url  # by which name it does: an automation's action goes this way
    async with httpx.AsyncClient(transport=httpx.ASGITransport(checked()), base_url=f"{own.scheme}://{own.host}") as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.text) == (200, "inside")


def test_nobody_outside_passes_for_the_server_itself(address: str) -> None:
    answer = httpx.get(address, headers={"Host": "prefect-in-memory"}, trust_env=False)
    assert answer.status_code == 403
    assert httpx.get(address, trust_env=False).text == "inside"
