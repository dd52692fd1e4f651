"""A headless Chromium, steered over its DevTools protocol: open pages, run scripts in them, type, look at them."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_SECONDS = 150.0
LEFT = "Inspected target navigated or closed"


class PageLeft(AssertionError):
    """The page was left for the next one while a script ran in it."""


@dataclass(slots=True)
class Page:
    """One page (a target of its own); its storage is that of the browser."""

    socket: ClientConnection
    session: str
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def call(self, method: str, **params: object) -> dict[str, Any]:
        return _call(self.socket, next(self.numbers), method, params, self.session)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The value of an expression; of a promise, what it resolves to."""
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until the expression is true; a page that is just being left is asked again once the next one is there."""

        def met() -> bool:
            try:
                return bool(self.run(f"!!({condition})"))
            except PageLeft:
                return False

        wait_for(met, lambda: f"{condition}\n{self.text()}")

    def text(self) -> str:
        return str(self.run("document.body ? document.body.innerText : ''"))

    def paste(self, text: str) -> None:
        """Into what has the focus, as a person pastes."""
        self.call("Input.insertText", text=text)

    def enter(self) -> None:
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        self.call("Input.dispatchKeyEvent", type="keyDown", **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def click(self, selector: str, label: str) -> None:
        """With the mouse, on the element of that label, once it is there."""
        found = f"[...document.querySelectorAll({selector!r})].find((one) => one.innerText.trim() === {label!r})"
        self.wait(f"!!{found}")
        self.run(f"{found}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        # A page that is still being built moves: it is clicked once the element lies where the mouse would be.
        self.wait(
            f"(({{x, y, width, height}}, point) => (point = [x + width / 2, y + height / 2],"
            f" {found}.contains(document.elementFromPoint(...point)) && (window.aim = point)))"
            f"({found}.getBoundingClientRect())"
        )
        box = self.run("window.aim")
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@dataclass(slots=True)
class Browser:
    """A running Chromium with a profile of its own."""

    socket: ClientConnection
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1_000_000))

    def page(self) -> Page:
        target = _call(self.socket, next(self.numbers), "Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = _call(self.socket, next(self.numbers), "Target.attachToTarget", {"targetId": target, "flatten": True})
        # One socket carries every page's calls, so their numbers must differ.
        page = Page(self.socket, attached["sessionId"], self.numbers)
        page.call("Page.enable")
        return page


@contextmanager
def chromium(profile: Path, *options: str) -> Iterator[Browser]:
    """Start it, and stop it when the block ends."""
    assert CHROMIUM is not None
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    own = [f"--user-data-dir={profile}", "--remote-debugging-port=0", "--window-size=1200,800", "--no-proxy-server"]
    with (profile.parent / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [CHROMIUM, *flags, *own, *options, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(profile.parent)},
        )
    try:
        port = profile / "DevToolsActivePort"
        wait_for(lambda: port.exists() and port.read_text().count("\n") >= 1, lambda: "Chromium did not start")
        number, path = port.read_text().splitlines()
        with connect(f"ws://127.0.0.1:{number}{path}", max_size=None, proxy=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        process.wait(30)


def wait_for(happened: Callable[[], bool], told: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, f"waited too long: {told()}"
        time.sleep(0.1)


def _call(
    socket: ClientConnection, number: int, method: str, params: dict[str, object], session: str | None = None
) -> dict[str, Any]:
    asked = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
    socket.send(json.dumps(asked))
    while True:
        told = json.loads(socket.recv(timeout=PATIENCE_SECONDS))
        if told.get("id") == number:
            if LEFT in str(told.get("error")):
                raise PageLeft(method)
            assert "error" not in told, (method, told["error"])
            return dict(told["result"])
