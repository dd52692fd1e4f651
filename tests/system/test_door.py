"""The door of a Prefect server of ours: nothing without the login, nothing by another name or from another page."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from posthorn.process.prefect_login import PrefectApi

OPEN = {("get", "/health"), ("get", "/ready")}
SOCKETS = (
    "/events/in",
    "/events/out",
    "/logs/out",
    "/task_runs/subscriptions/scheduled",
    "/work_pools/posthorn/workers/connect",
)


@pytest.fixture
def api(prefect_variables: dict[str, str]) -> PrefectApi:
    return PrefectApi(prefect_variables["PREFECT_API_URL"], prefect_variables["PREFECT_API_AUTH_STRING"], is_ours=True)


def test_no_call_of_the_api_is_answered_without_the_login(api: PrefectApi) -> None:
    root = api.url.removesuffix("/api")
    with httpx.Client(timeout=30) as client:
        paths = client.get(f"{root}/openapi.json").json()["paths"]
        asked = [(verb, path.removeprefix("/api")) for path, verbs in paths.items() for verb in verbs]
        assert len(asked) > 150
        answers = {(verb, path): client.request(verb, f"{api.url}{path}").status_code for verb, path in asked}
    assert {call for call, status in answers.items() if status != 401} == OPEN


@pytest.mark.parametrize("login", ["posthorn:", ":", "posthorn:guessed"])
def test_a_wrong_login_opens_nothing(api: PrefectApi, login: str) -> None:
    assert httpx.get(f"{api.url}/version", headers=PrefectApi(api.url, login).headers()).status_code == 401


def test_the_login_opens_it(api: PrefectApi) -> None:
    assert httpx.get(f"{api.url}/version", headers=api.headers()).status_code == 200
    with connect(_socket(api, "/events/out"), subprotocols=[Subprotocol("prefect")], proxy=None) as talk:
        talk.send(json.dumps({"type": "auth", "token": api.login}))
        assert json.loads(talk.recv(timeout=30))["type"] == "auth_success"


@pytest.mark.parametrize("path", SOCKETS)
@pytest.mark.parametrize("token", [None, "", "posthorn:guessed"])
def test_no_websocket_talks_without_the_login(api: PrefectApi, path: str, token: str | None) -> None:
    with connect(_socket(api, path), subprotocols=[Subprotocol("prefect")], proxy=None) as talk:
        talk.send(json.dumps({"type": "auth", "token": token}))
        with pytest.raises(ConnectionClosed):
            talk.recv(timeout=30)
    with pytest.raises(InvalidStatus, match="403"), connect(_socket(api, path), proxy=None):
        pass


# With the login, so that nothing but the name or the origin is in the way.
STRANGERS = {
    "a rebound name": {"Host": "evil.example"},
    "a foreign page": {"Origin": "https://evil.example"},
    "a page of another port": {"Origin": "http://127.0.0.1:3000"},
    "a page of no origin": {"Origin": "null"},
}


@pytest.mark.parametrize("case", STRANGERS)
def test_even_with_the_login_no_stranger_is_answered(api: PrefectApi, case: str) -> None:
    with httpx.Client(base_url=api.url, headers={**api.headers(), **STRANGERS[case]}, timeout=30) as client:
        for body, kind in (
            (b"{}", "application/json"),
            (b"{}", "text/plain"),
            (b"a=b", "application/x-www-form-urlencoded"),
        ):
            assert client.post("/flow_runs/filter", content=body, headers={"Content-Type": kind}).status_code == 403
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        answer = client.options("/flow_runs/filter", headers=asked)
        assert (answer.status_code, answer.headers.get("access-control-allow-origin")) == (403, None)
        assert client.get(api.url.removesuffix("/api") + "/").status_code == 403


@pytest.mark.parametrize("case", STRANGERS)
def test_no_stranger_gets_a_websocket(api: PrefectApi, case: str) -> None:
    said = STRANGERS[case]
    uri = urlsplit(_socket(api, "/events/out"))
    host = said.get("Host", uri.netloc)
    with socket.create_connection((uri.hostname, uri.port), timeout=30) as plain:
        origin = f"Origin: {said['Origin']}\r\n" if "Origin" in said else ""
        asked = f"GET {uri.path} HTTP/1.1\r\nHost: {host}\r\n{origin}Upgrade: websocket\r\nConnection: Upgrade\r\n"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        plain.sendall(f"{asked}{key}Sec-WebSocket-Protocol: prefect\r\n\r\n".encode())
        assert plain.recv(4096).startswith(b"HTTP/1.1 403 ")


def test_no_other_page_can_frame_an_answer(api: PrefectApi) -> None:
    health, page = httpx.get(f"{api.url}/health"), httpx.get(api.url.removesuffix("/api") + "/v2/")
    assert (health.status_code, page.status_code) == (200, 404), "the server of a run has no pages"
    for answer in (health, page):
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
    settings = httpx.get(api.url.removesuffix("/api") + "/ui-settings").json()
    assert (settings["auth"], settings["api_url"]) == ("BASIC", "/api"), "the page gives the login to no other server"


@pytest.mark.parametrize("login", [None, ""])
def test_a_server_without_a_login_does_not_start(tmp_path: Path, login: str | None) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path / "home")}
    if login is not None:
        environment["PREFECT_SERVER_API_AUTH_STRING"] = login
    command = [sys.executable, "-P", "-m", "deployments.server"]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, "PREFECT_SERVER_API_AUTH_STRING is not set" in ended.stderr) == (2, True), ended.stderr


def _socket(api: PrefectApi, path: str) -> str:
    return api.url.replace("http:", "ws:") + path
