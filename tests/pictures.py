"""``python -m tests.pictures``: the pictures of docs/operations.md, of the real pages in a real Chromium, with the sandbox.

It takes some minutes. Each picture is a PNG of few colours, small enough for a repository. Look at them first.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from posthorn.cli.samples import write_campaign, write_event
from posthorn.cli.sandbox_process import SandboxProcess, sandbox_process
from posthorn.process.prefect_login import PrefectApi, recorded_api
from tests.commands import Desk, order
from tests.system.browser import Browser, Page, chromium

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "pictures"
WIDTH, HEIGHT = 1200, 820
COLOURS = 96
MOST_BYTES = 150_000
PATIENCE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class House:
    """A running `make serve` with a sandbox behind it, a desk in its folder, and a page that is let in."""

    api: PrefectApi
    client: httpx.Client
    desk: Desk
    box: SandboxProcess
    page: Page
    missed: list[str] = field(default_factory=list)

    @property
    def root(self) -> str:
        return self.api.url.removesuffix("/api")

    def all(self, what: str, **filters: object) -> list[dict[str, Any]]:
        answer = self.client.post(f"/{what}/filter", json=filters)
        answer.raise_for_status()
        return list(answer.json())

    def deployment(self, name: str) -> str:
        return next(str(one["id"]) for one in self.all("deployments") if one["name"] == name)

    def artifact(self, key: str) -> str:
        """The address of what is shown under a key, once there is something."""

        def latest() -> list[dict[str, Any]]:
            return self.all("artifacts/latest", artifacts={"key": {"any_": [key]}})

        patiently(lambda: bool(latest()), f"the artifact {key}")
        return f"/v2/artifacts/artifact/{latest()[0]['latest_id']}"

    def start(self, deployment: str, **parameters: object) -> None:
        asked = {"parameters": parameters}
        patiently(
            lambda: self.client.post(f"/deployments/{self.deployment(deployment)}/create_flow_run", json=asked).is_success,
            f"a run of {deployment}",
        )

    def shoot(self, name: str, path: str, *words: str) -> None:
        """Open a page, wait until it shows these words, and keep a picture of it; the next ones are taken whatever comes."""
        try:
            self.page.open(path if path.startswith("http") else self.root + path)
            for one in words:
                self.page.wait(f"document.body.innerText.replaceAll('\\n', ' ').includes({one!r})")
            self.keep(name)
        except AssertionError as error:
            self.missed.append(f"{name}: {error}")

    def keep(self, name: str) -> None:
        time.sleep(1.5)  # what fades in has no event to offer
        taken = b64decode(self.page.call("Page.captureScreenshot", format="png")["data"])
        with Image.open(io.BytesIO(taken)) as picture:
            few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            few.save(FOLDER / f"{name}.png", optimize=True)
        size = (FOLDER / f"{name}.png").stat().st_size
        print(f"{name}.png: {size / 1000:.0f} kB", flush=True)
        assert size < MOST_BYTES


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with house() as at:
        folder = at.desk.folder
        at.shoot("form", f"/v2/deployments/deployment/{at.deployment('campaign')}/run?parameters=%7B%7D", "campaign_file")
        campaign = write_campaign(folder, 600)
        asking = folder / "winter.toml"
        own = campaign.read_text(encoding="utf-8").replace("demo-autumn-sale", "winter-sale").replace("Autumn", "Winter")
        asking.write_text(f"{own}approve = true\n", encoding="utf-8")
        order("PUT", at.box.url, "faults", [{"call": "sendMMSBarcode", "at": [2], "fault": "reset_after"}])
        at.desk.run("tickets", "send", str(write_event(folder, 24)))
        at.start("campaign", campaign_file=str(asking))
        at.desk.run("campaign", "send", str(campaign))
        at.shoot("card", at.artifact("campaign-demo-autumn-sale"), "demo-autumn-sale", "delivered")
        at.shoot("unknown", at.artifact("unknown-demo-jazz-night"), "unknown")
        at.shoot("approval", at.artifact("approval-winter-sale"), "To decide")
        paused = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}}
        patiently(lambda: bool(at.all("flow_runs", **paused)), "the run that waits")
        at.page.open(f"{at.root}/v2/runs/flow-run/{at.all('flow_runs', **paused)[0]['id']}")
        at.page.click("button[aria-haspopup=menu]", "Open menu")
        at.page.click("[role=menuitem]", "Resume")
        at.page.wait("document.querySelector('[role=dialog] label')")
        at.keep("resume")
        at.shoot("overview", at.artifact("posthorn-overview"), "Deliveries", "demo-jazz-night")
        at.shoot("deployments", "/v2/deployments", "delivery-reports", "reconcile")  # by now the worker is ready for them
        at.shoot("inbox", f"{at.box.url}/", "Autumn")
        assert at.missed == [], at.missed


@contextmanager
def house() -> Iterator[House]:
    with (
        tempfile.TemporaryDirectory(prefix="posthorn-pictures-") as temporary,
        sandbox_process("--speed", "100000", "--undelivered", "0.03") as box,
    ):
        folder = Path(temporary) / "posthorn"
        folder.mkdir()
        prices = {"POSTHORN_SERWERSMS__PRICE_PER_MESSAGE": "0.07", "POSTHORN_SERWERSMS__CHUNK_SIZE": "50"}
        # In words of their own: the worker's runs take place in the repository's folder, the commands in this one.
        own = {
            "POSTHORN_STATE_DIR": f"{folder}/.posthorn",
            "POSTHORN_DATABASE_URL": f"sqlite:///{folder}/.posthorn/ledger.db",
        }
        desk = Desk(folder, {**box.variables, **prices, **own, "PREFECT_SERVER_API_PORT": "4200"})
        with (Path(temporary) / "serve.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "deployments.serve"],
                cwd=folder,
                env={**desk.environment(), "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            said = Path(temporary) / "serve.log"
            patiently(lambda: b"ready: " in said.read_bytes() or process.poll() is not None, "make serve")
            api = recorded_api(folder / ".posthorn" / "prefect")
            assert api is not None, said.read_text()
            with (
                httpx.Client(base_url=api.url, headers=api.headers(), timeout=120) as client,
                chromium(Path(temporary) / "profile", f"--window-size={WIDTH},{HEIGHT}") as browser,
            ):
                yield House(api, client, desk, box, let_in(browser, api))
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def let_in(browser: Browser, api: PrefectApi) -> Page:
    """A page after the login was pasted."""
    page = browser.page()
    page.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)
    page.open(api.url.removesuffix("/api"))
    page.wait("document.querySelector('input[type=password]')")
    page.run("document.querySelector('input[type=password]').focus()")
    page.paste(api.login or "")
    page.enter()
    page.wait("document.body.innerText.includes('Flow Runs')")
    return page


def patiently(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.5)


if __name__ == "__main__":
    os.umask(0o022)
    main()
