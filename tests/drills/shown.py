"""How soon what Prefect shows of a campaign is true again, once its run was cancelled, interrupted or killed.

``python -m tests.drills.shown`` is part of `make drill`: `make serve`, the sandbox, real signals. It prints the seconds of
each way to end a run, and fails where one is above its bound.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from posthorn.cli.sandbox_process import SandboxProcess, sandbox_process
from posthorn.ledger.store.engine import Ledger
from posthorn.settings import Settings
from posthorn.views.cards import card
from tests.commands import told
from tests.delivery.journey import numbers, write_campaign
from tests.system.browser import wait_for
from tests.system.serving import Served, serving

ROWS = 20_000
BOUNDS = {"Cancel in the UI": 5, "Ctrl-C in a terminal": 5, "SIGKILL of the flow": 120, "SIGKILL of the worker": 240}
VARIABLES = {"POSTHORN_SERWERSMS__CHUNK_SIZE": "50"}


@dataclass(frozen=True, slots=True)
class Scene:
    """A folder, the sandbox, and `make serve` in it."""

    folder: Path
    box: SandboxProcess
    served: Served

    def under_way(self, name: str) -> Path:
        """A campaign file; nothing of it is sent yet."""
        own = self.folder / name
        own.mkdir()
        return write_campaign(own, numbers(ROWS), name=name, on_repeat='"send"')

    def started(self, name: str) -> str:
        """A run of a new campaign under the worker, once it sends and its card says so; its id."""
        before, file = self.accepted(), self.under_way(name)
        asked = f"/deployments/{self.served.deployment('campaign')}/create_flow_run"
        wait_for(lambda: self.served.api.post(asked, json={"parameters": {"campaign_file": str(file)}}).is_success, str)
        self.is_sending(name, before)
        runs = self.served.all("flow_runs", flow_runs={"name": {"any_": [f"campaign {name}.toml"]}})
        return str(runs[0]["id"])

    def accepted(self) -> int:
        """How many messages the sandbox has taken."""
        return int(told(self.box.url, "truth")["serwersms"]["accepted"])

    def is_sending(self, name: str, before: int) -> None:
        """Wait until requests are under way, and the card says that it runs."""
        wait_for(lambda: self.accepted() > before and self.shown(name).startswith("running"), lambda: self.shown(name))

    def shown(self, name: str) -> str:
        """The headline of the card; empty where there is none, or the server does not answer."""
        try:
            answer = self.served.api.get(f"/artifacts/campaign-{name}/latest")
        except httpx.TransportError:
            return ""
        return str(answer.json()["description"]) if answer.is_success else ""

    def true_after(self, name: str, end: Callable[[], object]) -> float:
        """Seconds from the end of a run until its card says what the ledger says, and that is no more that it runs."""
        began = time.monotonic()
        end()
        wait_for(lambda: self.is_true(name), lambda: f"{name} is shown as {self.shown(name)!r}")
        return time.monotonic() - began

    def is_true(self, name: str) -> bool:
        """Whether the card shows how it stands, and it does not run any more."""
        ledger = Ledger(f"sqlite:///{self.folder / 'ledger.db'}")
        try:
            now = card(ledger, name, Settings())
        finally:
            ledger.close()
        return now.status["state"] != "running" and self.shown(name) == now.headline


def cancelled(scene: Scene) -> float:
    """A person presses Cancel: the run is Cancelling."""
    run = scene.started("cancelled")
    state = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    return scene.true_after("cancelled", lambda: scene.served.api.post(f"/flow_runs/{run}/set_state", json=state))


def interrupted(scene: Scene) -> float:
    """Ctrl-C at `posthorn campaign send`."""
    before, file = scene.accepted(), scene.under_way("interrupted")
    process = scene.served.desk.start("campaign", "send", str(file))
    scene.is_sending("interrupted", before)
    seconds = scene.true_after("interrupted", lambda: process.send_signal(signal.SIGINT))
    process.communicate(timeout=60)
    return seconds


def flow_killed(scene: Scene) -> float:
    """The process of the flow is gone; its worker lives."""
    scene.started("killed")
    return scene.true_after("killed", lambda: [os.kill(pid, signal.SIGKILL) for pid in processes(scene, "prefect.engine")])


def worker_killed(scene: Scene) -> float:
    """Worker and flow are gone at once, as their machine is; `make serve` ends, and is started again as systemd would."""
    scene.started("lost")
    variables = {**VARIABLES, **scene.box.variables, **database(scene.folder)}
    began = time.monotonic()
    for pid in [*processes(scene, "worker start"), *processes(scene, "prefect.engine")]:
        os.kill(pid, signal.SIGKILL)
    scene.served.process.wait(60)
    with serving(scene.folder, variables) as again:
        Scene(scene.folder, scene.box, again).true_after("lost", lambda: None)
        return time.monotonic() - began


def processes(scene: Scene, words: str) -> list[int]:
    """The processes of this folder whose command line has these words (Linux)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = str(scene.folder).encode() in (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if is_ours and words in command:
            found.append(int(process.name))
    return found


def database(folder: Path) -> dict[str, str]:
    """Where the ledger is."""
    return {"POSTHORN_DATABASE_URL": f"sqlite:///{folder / 'ledger.db'}"}


def main() -> int:
    """Measure every way; 0 if each is within its bound."""
    seconds: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory(prefix="posthorn-shown-") as made,
        sandbox_process("--speed", "0", "--latency", "1") as box,
    ):
        folder = Path(made)
        try:
            with serving(folder, {**VARIABLES, **box.variables, **database(folder)}) as served:
                scene = Scene(folder, box, served)
                for way, measured in zip(BOUNDS, (cancelled, interrupted, flow_killed, worker_killed), strict=True):
                    seconds[way] = measured(scene)
                    print(f"{way}: true after {seconds[way]:.1f} s (at most {BOUNDS[way]})", flush=True)
        except subprocess.TimeoutExpired as error:
            print(f"it did not end: {error}", file=sys.stderr)
            return 1
    return int(any(seconds[way] > BOUNDS[way] for way in BOUNDS))


if __name__ == "__main__":
    sys.exit(main())
