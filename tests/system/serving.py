"""`make serve` as an operator has it: run at a terminal, which shows the login; its pages in a browser.

POSTHORN_TEST_PICTURES names a folder to keep pictures of its pages in.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from posthorn.process.prefect_login import PrefectApi
from tests.commands import Desk
from tests.system.browser import Browser, Page, wait_for

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Served:
    """A running `make serve`: its address and API, the login and all else that its terminal showed, its process."""

    root: str
    port: int
    api: httpx.Client
    login: str
    folder: Path
    desk: Desk
    process: subprocess.Popen[bytes]
    shown: list[bytes]

    def all(self, what: str, **filters: object) -> list[dict[str, Any]]:
        answer = self.api.post(f"/{what}/filter", json=filters)
        answer.raise_for_status()
        return list(answer.json())

    def deployment(self, name: str) -> str:
        return next(str(one["id"]) for one in self.all("deployments") if one["name"] == name)

    def picture(self, page: Page, name: str) -> None:
        if folder := os.environ.get("POSTHORN_TEST_PICTURES"):
            page.picture(Path(folder) / f"{name}.png")

    def log_in(self, browser: Browser) -> Page:
        """A page of the operator's browser, in after one paste of what the terminal shows."""
        page = browser.page()
        page.open(self.root)
        page.wait("document.querySelector('input[type=password]')")
        self.picture(page, "1-asked")
        page.run("document.querySelector('input[type=password]').focus()")
        page.paste(self.login)
        page.enter()
        page.wait("document.body.innerText.includes('Flow Runs')")
        self.picture(page, "2-in")
        return page


@contextlib.contextmanager
def serving(folder: Path, variables: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Run it with its state in that folder, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"POSTHORN_STATE_DIR": str(folder / "state"), "PREFECT_SERVER_API_PORT": str(port)}
    desk = Desk(folder, {**own, **(variables or {})})
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
            wait_for(lambda: "paste this once: " in text(shown) or process.poll() is not None, lambda: text(shown))
            assert process.poll() is None, text(shown)
            login = re.findall(r"paste this once: (\S+)", text(shown))[0]
            api = PrefectApi(f"http://127.0.0.1:{port}/api", login)
            with httpx.Client(base_url=api.url, headers=api.headers(), timeout=120) as client:
                served = Served(f"http://127.0.0.1:{port}", port, client, login, folder, desk, process, shown)
                # The worker writes the pool's template when it comes up: what is compared later must not count that.
                wait_for(lambda: all(pool["base_job_template"] for pool in served.all("work_pools")), lambda: text(shown))
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


def text(shown: list[bytes]) -> str:
    """What a terminal has shown so far."""
    return b"".join(shown).decode(errors="replace")
