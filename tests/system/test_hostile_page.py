"""A page of another origin, in real Chromium, against `make serve`: it lists, starts, resumes and runs nothing.

The operator's own browser gets in with one paste of what the terminal shows, and starts a run. POSTHORN_TEST_PICTURES
names a folder to keep pictures of it in.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from posthorn.process.prefect_login import PrefectApi
from tests.commands import Desk
from tests.system.browser import CHROMIUM, Browser, Page, chromium, wait_for

ROOT = Path(__file__).parents[2]

# What a hostile page does with what it has: fetch, forms, websockets. It tells what it could read.
ATTACK = (Path(__file__).parent / "hostile.js").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Served:
    """A running `make serve`: its address and API, and the login as its terminal showed it."""

    root: str
    port: int
    api: httpx.Client
    login: str
    folder: Path

    def all(self, what: str) -> list[dict[str, Any]]:
        answer = self.api.post(f"/{what}/filter", json={})
        answer.raise_for_status()
        return list(answer.json())

    def deployment(self, name: str) -> str:
        return next(str(one["id"]) for one in self.all("deployments") if one["name"] == name)

    def picture(self, page: Page, name: str) -> None:
        if folder := os.environ.get("POSTHORN_TEST_PICTURES"):
            page.picture(Path(folder) / f"{name}.png")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if CHROMIUM is None:
        pytest.skip("NO CHROMIUM: no hostile page was tried against `make serve` (apt-get install chromium)")
    folder = tmp_path_factory.mktemp("served")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    desk = Desk(folder, {"POSTHORN_STATE_DIR": str(folder / "state"), "PREFECT_SERVER_API_PORT": str(port)})
    with _terminal() as (terminal, shown):
        process = subprocess.Popen(
            [sys.executable, "-m", "deployments.serve"],
            cwd=ROOT,
            env=desk.environment(),
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
        )
        try:
            wait_for(lambda: "paste this once: " in _text(shown) or process.poll() is not None, lambda: _text(shown))
            login = re.findall(r"paste this once: (\S+)", _text(shown))[0]
            api = PrefectApi(f"http://127.0.0.1:{port}/api", login)
            with httpx.Client(base_url=api.url, headers=api.headers(), timeout=30) as client:
                served = Served(f"http://127.0.0.1:{port}", port, client, login, folder)
                # The worker writes the pool's template when it comes up: what is compared later must not count that.
                wait_for(lambda: all(pool["base_job_template"] for pool in served.all("work_pools")), lambda: _text(shown))
                yield served
        finally:
            process.terminate()
            process.wait(150)


@contextlib.contextmanager
def _terminal() -> Iterator[tuple[int, list[bytes]]]:
    """A terminal to run something at, and what it shows."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more
            while piece := os.read(ours, 4096):
                shown.append(piece)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield theirs, shown
    finally:
        os.close(theirs)
        reader.join(30)
        os.close(ours)


def _text(shown: list[bytes]) -> str:
    return b"".join(shown).decode(errors="replace")


@pytest.fixture
def browser(served: Served, tmp_path: Path) -> Iterator[Browser]:
    """Every name of the attacker leads to this machine, as his own name server has it."""
    resolver = "--host-resolver-rules=MAP *.example 127.0.0.1"
    # Newer Chromium keeps some pages from loopback by itself. Not every browser does: the server is tried, not the browser.
    unprotected = "--disable-features=LocalNetworkAccessChecks"
    with chromium(tmp_path / "profile", resolver, unprotected) as browser:
        yield browser


@pytest.fixture
def elsewhere() -> Iterator[int]:
    """The attacker's own web server; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Win a prize</title><body><h1>Win a prize</h1></body>")

        def log_message(self, *args: object) -> None:
            """It is quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def log_in(browser: Browser, served: Served) -> Page:
    page = browser.page()
    page.open(served.root)
    page.wait("document.querySelector('input[type=password]')")
    served.picture(page, "1-asked")
    page.run("document.querySelector('input[type=password]').focus()")
    page.paste(served.login)
    page.enter()
    page.wait("document.body.innerText.includes('Flow Runs')")
    served.picture(page, "2-in")
    return page


# Where the page comes from, and by which name it reaches for the server.
PAGES = {
    "another site": ("http://evil.example:{elsewhere}/", "http://127.0.0.1:{port}"),
    "another site, by the name localhost": ("http://evil.example:{elsewhere}/", "http://localhost:{port}"),
    "another port of this machine": ("http://127.0.0.1:{elsewhere}/", "http://127.0.0.1:{port}"),
    "a name that was bound anew": ("http://evil.example:{port}/", "http://evil.example:{port}"),
    "a page of no origin": ("data:text/html,<body>Win a prize</body>", "http://127.0.0.1:{port}"),
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("case", PAGES)
def test_a_hostile_page_lists_starts_resumes_and_runs_nothing(
    case: str, served: Served, browser: Browser, elsewhere: int
) -> None:
    log_in(browser, served)  # in the same browser, as an operator has it open
    paused = _paused_run(served)
    before = _state_of(served)
    address, target = (part.format(port=served.port, elsewhere=elsewhere) for part in PAGES[case])
    page = browser.page()
    page.open(address)
    owned = served.folder / "owned"
    aims = {"deployment": served.deployment("housekeeping"), "paused": paused, "command": f"touch {owned}"}
    told = page.run(f"({ATTACK})({json.dumps(target)}, {json.dumps(aims)})")
    served.picture(page, f"3-{case}")
    assert set(told.values()) == {"nothing"}, told
    assert _state_of(served) == before
    assert served.api.get(f"/flow_runs/{paused}").json()["state_type"] == "PAUSED"
    assert not owned.exists()
    served.api.delete(f"/flow_runs/{paused}").raise_for_status()  # or stopping waits for somebody to end it


def _paused_run(served: Served) -> str:
    """A run that waits for an answer, with nobody behind it."""
    flow = next(one["id"] for one in served.all("flows") if one["name"] == "send-campaign")
    asked = {"flow_id": flow, "state": {"type": "PAUSED", "name": "Paused"}}
    return str(served.api.post("/flow_runs/", json=asked).json()["id"])


def _state_of(served: Served) -> dict[str, object]:
    """What a page could have changed; runs that the schedules make count for nothing."""
    runs = {one["id"]: one["state_type"] for one in served.all("flow_runs") if not one["auto_scheduled"]}
    pools = {one["name"]: (one["is_paused"], one["base_job_template"]) for one in served.all("work_pools")}
    deployed = {one["id"]: (one["paused"], one["job_variables"]) for one in served.all("deployments")}
    return {"runs": runs, "pools": pools, "deployments": deployed, "variables": served.all("variables")}


@pytest.mark.timeout(400)
def test_the_operators_browser_is_in_after_one_paste_and_starts_a_run(served: Served, browser: Browser) -> None:
    page = log_in(browser, served)
    page.open(f"{served.root}/v2/deployments/deployment/{served.deployment('housekeeping')}")
    page.wait("[...document.querySelectorAll('button')].some((one) => one.innerText.trim() === 'Run')")
    before = set(_state_of(served)["runs"])  # type: ignore[call-overload]
    page.click("button", "Run")
    page.click("[role=menuitem]", "Quick run")

    def ended() -> bool:
        runs = dict(_state_of(served)["runs"])  # type: ignore[call-overload]
        return any(state == "COMPLETED" for run, state in runs.items() if run not in before)

    wait_for(ended, lambda: f"{_state_of(served)['runs']}")
    page.open(f"{served.root}/v2/runs")
    page.wait("document.body.innerText.includes('Completed')")
    served.picture(page, "4-started")


def test_a_wrong_paste_stays_outside(served: Served, browser: Browser) -> None:
    page = browser.page()
    page.open(served.root)
    page.wait("document.querySelector('input[type=password]')")
    page.run("document.querySelector('input[type=password]').focus()")
    page.paste("posthorn:guessed")
    page.enter()
    page.wait("document.body.innerText.includes('Invalid credentials')")
    assert page.run("localStorage.getItem('prefect-password')") is None
