"""The Prefect server dies in the middle of a run and comes back: the run goes on, for the ledger alone says what to send."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from posthorn.cli.prefect_server import serving_prefect_server
from posthorn.cli.sandbox_process import SandboxProcess
from tests.commands import PATIENCE_SECONDS, Desk, told
from tests.delivery.journey import numbers, write_campaign


def test_a_run_outlives_a_restart_of_the_prefect_server(slow_sandbox: SandboxProcess, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {"POSTHORN_SERWERSMS__CONCURRENCY": "4", "POSTHORN_SERWERSMS__CHUNK_SIZE": "50", **slow_sandbox.variables}
    write_campaign(tmp_path, numbers(2_000))
    with serving_prefect_server(tmp_path / "server", "127.0.0.1", port) as server:
        desk = Desk(tmp_path, {**variables, "PREFECT_API_URL": server.url})
        sending = desk.start("campaign", "send", "sale.toml", "--json")
        wait_for(lambda: accepted(slow_sandbox) > 0)
        server.process.kill()
        server.process.wait()
        at_its_death = accepted(slow_sandbox)
        wait_for(lambda: accepted(slow_sandbox) > at_its_death + 200)  # more than was under way: it claims and sends on
    with serving_prefect_server(tmp_path / "server", "127.0.0.1", port) as server:
        out, err = sending.communicate(timeout=PATIENCE_SECONDS)
        assert (sending.returncode, json.loads(out)["totals"]["accepted"]) == (0, 2_000), err
        runs = httpx.post(f"{server.url}/flow_runs/filter", json={}).json()
        assert [(run["name"], run["state_name"]) for run in runs] == [("campaign sale.toml", "Completed")]
    assert (accepted(slow_sandbox), told(slow_sandbox.url, "truth")["twice"]) == (2_000, 0)


def accepted(box: SandboxProcess) -> int:
    count: int = told(box.url, "truth")["serwersms"]["accepted"]
    return count


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
