"""A page of another origin, in real Chromium, against `make serve`: it lists, starts, resumes and runs nothing.

The operator's own browser gets in with one paste of what the terminal shows, and starts a run.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.system.browser import CHROMIUM, Browser, chromium, wait_for
from tests.system.serving import Served, serving

# What a hostile page does with what it has: fetch, forms, websockets. It tells what it could read.
ATTACK = (Path(__file__).parent / "hostile.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if CHROMIUM is None:
        pytest.skip("NO CHROMIUM: no hostile page was tried against `make serve` (apt-get install chromium)")
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


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
    served.log_in(browser)  # in the same browser, as an operator has it open
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
    _answered(lambda: served.api.delete(f"/flow_runs/{paused}"))  # or stopping waits for somebody to end it


def _paused_run(served: Served) -> str:
    """A run that waits for an answer, with nobody behind it."""
    flow = next(one["id"] for one in served.all("flows") if one["name"] == "send-campaign")
    asked = {"flow_id": flow, "state": {"type": "PAUSED", "name": "Paused"}}
    return str(_answered(lambda: served.api.post("/flow_runs/", json=asked)).json()["id"])


def _answered(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The server's answer. While its SQLite is locked, Prefect says 503: then it is asked again."""
    deadline = time.monotonic() + 60
    while (answer := ask()).status_code == 503 and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer.raise_for_status()


def _state_of(served: Served) -> dict[str, object]:
    """What a page could have changed; runs that the schedules make count for nothing."""
    runs = {one["id"]: one["state_type"] for one in served.all("flow_runs") if not one["auto_scheduled"]}
    pools = {one["name"]: (one["is_paused"], one["base_job_template"]) for one in served.all("work_pools")}
    deployed = {one["id"]: (one["paused"], one["job_variables"]) for one in served.all("deployments")}
    return {"runs": runs, "pools": pools, "deployments": deployed, "variables": served.all("variables")}


@pytest.mark.timeout(400)
def test_the_operators_browser_is_in_after_one_paste_and_starts_a_run(served: Served, browser: Browser) -> None:
    page = served.log_in(browser)
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
