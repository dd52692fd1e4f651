"""The login of `make serve` goes to that server alone: not to whoever has its port later, another server, or a proxy."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from posthorn.process.prefect_login import PrefectApi, new_login, recorded, recorded_api
from posthorn.process.prefect_server import PrefectServerError, serving_prefect_server, standing_api
from tests.commands import Desk

LOGIN = "posthorn:the-login-of-the-server-of-this-folder"


@dataclass(slots=True)
class Listener:
    """Somebody's server: ``url`` is its API, ``heard`` all that was said to it."""

    url: str
    heard: list[str] = field(default_factory=list)

    def heard_the_login(self) -> bool:
        encoded = base64.b64encode(LOGIN.encode()).decode()
        return any(encoded in said or LOGIN in said for said in self.heard)


@contextmanager
def listening() -> Iterator[Listener]:
    listener = Listener("")

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode(errors="replace")
            listener.heard.append(f"{self.requestline}\n{self.headers}\n{body}")
            said = b"[]" if "filter" in self.path else b"1"
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = answer  # noqa: N815 - the base class's names

        def log_message(self, *args: object) -> None:
            """It is quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        listener.url = f"http://127.0.0.1:{server.server_port}/api"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield listener
        finally:
            server.shutdown()


@pytest.fixture
def ours() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


@pytest.fixture
def other() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / ".posthorn" / "prefect"
    home.mkdir(parents=True)
    return home


def looked(desk: Desk, **more: str) -> str:
    """What `posthorn doctor` sees of Prefect; it asks whatever server there is."""
    findings = json.loads(desk.run("doctor", "--json", **more).out)["findings"]
    return next(one["seen"] for one in findings if one["what"] == "Prefect")


def test_commands_of_the_same_folder_get_in(desk: Desk, home: Path, ours: Listener) -> None:
    with recorded(home, PrefectApi(ours.url, LOGIN, is_ours=True)):
        assert ours.url in looked(desk, PREFECT_API_URL="")
    assert ours.heard_the_login()


def test_whoever_has_the_port_after_the_server_died_hears_nothing(desk: Desk, home: Path, ours: Listener) -> None:
    (home / "served-at").write_text(json.dumps({"url": ours.url, "login": LOGIN}))  # its writer was killed
    assert "no server" in looked(desk, PREFECT_API_URL="")
    assert ours.heard == []


def test_the_lock_of_a_run_does_not_vouch_for_a_dead_servers_record(home: Path, ours: Listener) -> None:
    (home / "served-at").write_text(json.dumps({"url": ours.url, "login": LOGIN}))
    with recorded(home, PrefectApi("http://127.0.0.1:9/api", "posthorn:next", is_ours=True)):
        living = recorded_api(home)
    assert living is not None
    assert (living.url, living.login) == ("http://127.0.0.1:9/api", "posthorn:next")
    assert recorded_api(home) is None


def test_a_configured_server_elsewhere_does_not_hear_it(desk: Desk, home: Path, ours: Listener, other: Listener) -> None:
    with recorded(home, PrefectApi(ours.url, LOGIN, is_ours=True)):
        assert other.url in looked(desk, PREFECT_API_URL=other.url)
    assert other.heard
    assert not other.heard_the_login()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_same_server_configured_by_hand_is_given_it(desk: Desk, home: Path, ours: Listener, host: str) -> None:
    with recorded(home, PrefectApi(ours.url, LOGIN, is_ours=True)):
        assert ours.url in looked(desk, PREFECT_API_URL=ours.url.replace("127.0.0.1", host))
    assert ours.heard_the_login()


def test_no_proxy_hears_it(desk: Desk, home: Path, ours: Listener, other: Listener) -> None:
    proxy = other.url.removesuffix("/api")
    with recorded(home, PrefectApi(ours.url, LOGIN, is_ours=True)):
        assert ours.url in looked(desk, PREFECT_API_URL="", HTTP_PROXY=proxy, http_proxy=proxy, ALL_PROXY=proxy)
    assert ours.heard_the_login()
    assert not other.heard_the_login()


def test_prefects_own_client_goes_past_proxies(ours: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    monkeypatch.delenv("no_proxy", raising=False)
    variables = PrefectApi(ours.url, LOGIN, is_ours=True).variables()
    assert variables["NO_PROXY"] == variables["no_proxy"] == "intranet.example,127.0.0.1,localhost,::1"
    assert PrefectApi("https://prefect.example/api", "theirs").variables() == {
        "PREFECT_API_URL": "https://prefect.example/api"
    }


def test_a_server_that_wants_a_login_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """It is quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        with pytest.raises(PrefectServerError, match="Set PREFECT_API_AUTH_STRING"):
            standing_api(tmp_path)
        server.shutdown()


def test_the_record_is_its_owners_alone_whatever_the_umask(home: Path) -> None:
    before = os.umask(0)
    try:
        with recorded(home, PrefectApi("http://127.0.0.1:9/api", LOGIN, is_ours=True)):
            assert [stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()] == [0o600]
    finally:
        os.umask(before)
    assert list(home.iterdir()) == []


def test_each_server_has_a_login_of_its_own_unless_the_operator_set_one() -> None:
    assert new_login({}) != new_login({})
    assert new_login({"PREFECT_SERVER_API_AUTH_STRING": ""}) != ""
    assert new_login({"PREFECT_SERVER_API_AUTH_STRING": "ops:theirs"}) == "ops:theirs"
    assert LOGIN not in repr(PrefectApi("http://127.0.0.1:9/api", LOGIN))


def test_an_address_that_another_program_has_is_refused_in_words(ours: Listener, tmp_path: Path) -> None:
    port = int(ours.url.rpartition(":")[2].removesuffix("/api"))
    with (
        pytest.raises(PrefectServerError, match="cannot listen on"),
        serving_prefect_server(tmp_path, "127.0.0.1", port),
    ):
        pass
    assert stat.S_IMODE((tmp_path / "prefect").stat().st_mode) == 0o700
