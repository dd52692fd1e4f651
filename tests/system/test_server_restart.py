"""The Prefect server dies in the middle of a run and comes back: the run goes on, for the ledger alone says what to send."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from posthorn.cli.sandbox_process import SandboxProcess
from posthorn.process.prefect_server import PrefectServer, serving_prefect_server
from tests.commands import PATIENCE_SECONDS, Desk, told
from tests.delivery.journey import numbers, write_campaign


@pytest.fixture
def scene(slow_sandbox: SandboxProcess, tmp_path: Path) -> Scene:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {"POSTHORN_SERWERSMS__CONCURRENCY": "4", "POSTHORN_SERWERSMS__CHUNK_SIZE": "50", **slow_sandbox.variables}
    write_campaign(tmp_path, numbers(2_000))
    return Scene(slow_sandbox, tmp_path, variables, port)


def test_a_run_outlives_a_restart_of_the_prefect_server(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "ops:a-login-that-stays")
    sending = scene.sending_while_its_server_dies()
    with scene.server() as server:
        out, err = sending.communicate(timeout=PATIENCE_SECONDS)
        assert (sending.returncode, json.loads(out)["totals"]["accepted"]) == (0, 2_000), err
        runs = httpx.post(f"{server.url}/flow_runs/filter", json={}, headers=server.api.headers()).json()
        assert [(run["name"], run["state_name"]) for run in runs] == [("campaign sale.toml", "Completed")]
    assert (accepted(scene.box), told(scene.box.url, "truth")["twice"]) == (2_000, 0)


def test_a_run_whose_server_came_back_with_another_login_ends_in_words_and_goes_on(scene: Scene) -> None:
    sending = scene.sending_while_its_server_dies()
    with scene.server() as server:
        _, err = sending.communicate(timeout=PATIENCE_SECONDS)
        assert (sending.returncode, "Traceback" in err) == (1, False), err
        assert "was restarted with a new login and rejects this run" in err
        again = Desk(scene.folder, {**scene.variables, **server.api.variables()}).run(
            "campaign", "send", "sale.toml", "--json"
        )
        assert (again.code, again.json["totals"]["accepted"]) == (0, 2_000), again.err
    assert (accepted(scene.box), told(scene.box.url, "truth")["twice"]) == (2_000, 0)


@dataclass(frozen=True, slots=True)
class Scene:
    """A campaign that takes some seconds, and the address of the server that its run reports to."""

    box: SandboxProcess
    folder: Path
    variables: dict[str, str]
    port: int

    def server(self) -> AbstractContextManager[PrefectServer]:
        return serving_prefect_server(self.folder / "server", "127.0.0.1", self.port)

    def sending_while_its_server_dies(self) -> subprocess.Popen[str]:
        with self.server() as server:
            desk = Desk(self.folder, {**self.variables, **server.api.variables()})
            sending = desk.start("campaign", "send", "sale.toml", "--json")
            wait_for(lambda: accepted(self.box) > 0)
            server.process.kill()
            server.process.wait()
            at_its_death = accepted(self.box)
            wait_for(lambda: accepted(self.box) > at_its_death + 200)  # more than was under way: it claims and sends on
        return sending


def accepted(box: SandboxProcess) -> int:
    count: int = told(box.url, "truth")["serwersms"]["accepted"]
    return count


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
