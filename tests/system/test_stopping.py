"""Stopping `posthorn campaign send` from outside: cancelled in Prefect, or by two signals while something hangs."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from posthorn.cli.sandbox_process import SandboxProcess
from tests.commands import PATIENCE_SECONDS, Desk, order, told
from tests.delivery.journey import numbers, write_campaign
from tests.system.test_campaign_send import SEND, assert_the_next_run_finishes

pytestmark = pytest.mark.timeout(400)
WAITING = "waiting until "


@pytest.mark.parametrize("server", ["a standing server", "a server of its own"])
def test_a_run_in_a_terminal_that_is_cancelled_in_prefect_stops_kindly(
    server: str, slow_desk: Desk, slow_sandbox: SandboxProcess
) -> None:
    write_campaign(slow_desk.folder, numbers(4_000))
    variables = dict(slow_desk.variables)
    if server == "a server of its own":
        slow_desk.variables.update(PREFECT_API_URL="", PREFECT_API_AUTH_STRING="")
    process = slow_desk.start("campaign", "send", "sale.toml", "--json")
    wait_until(lambda: told(slow_sandbox.url, "truth")["send_requests"] >= 3, process)
    with client(variables if server == "a standing server" else own_server(slow_desk)) as api:
        run = newest_run(api)
        set_state(api, run, {"type": "CANCELLING", "name": "Cancelling"})
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 4, err
        assert "Traceback" not in err
        assert "the run was cancelled" in err
        if server == "a standing server":
            assert newest_run(api)["state_type"] == "CANCELLED"
    truth, status = told(slow_sandbox.url, "truth"), json.loads(out)
    assert (status["state"], status["because"]) == ("stopped", "the run was cancelled")
    assert (truth["in_flight"], truth["accepted"] < 4_000) == (0, True)
    assert {name: count for name, count in status["totals"].items() if count} == {
        "input": 4_000,
        "accepted": truth["accepted"],
        "pending": 4_000 - truth["accepted"],
    }


def test_a_run_that_waits_says_for_what_and_until_when(quick_desk: Desk, box_url: str) -> None:
    order("PUT", box_url, "faults", [{"call": SEND, "at": [1], "fault": "reset_before"}])
    write_campaign(quick_desk.folder, numbers(100), resend_unconfirmed="true")
    process = quick_desk.start("campaign", "send", "sale.toml", "--json", POSTHORN_SERWERSMS__SETTLE_SECONDS="600")
    assert process.stderr is not None
    while not (line := process.stderr.readline()).startswith(WAITING):
        assert line, "it ended without a word"
    with client(quick_desk.variables) as api:
        wait_until(lambda: (newest_run(api)["state"]["message"] or "").startswith(WAITING), process)
        assert newest_run(api)["state_type"] == "RUNNING"
        set_state(api, newest_run(api), {"type": "CANCELLING", "name": "Cancelling"})
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert newest_run(api)["state_type"] == "CANCELLED"
    assert (process.returncode, "Traceback" in err) == (3, False), err
    assert json.loads(out)["totals"]["unknown"] == 100


def test_a_second_signal_ends_a_send_whose_ledger_hangs(slow_desk: Desk, slow_sandbox: SandboxProcess) -> None:
    write_campaign(slow_desk.folder, numbers(1_600))
    process = slow_desk.start("campaign", "send", "sale.toml")
    wait_until(lambda: told(slow_sandbox.url, "truth")["send_requests"] >= 3, process)
    with locked(slow_desk.folder / ".posthorn" / "ledger.db"):
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "stopping" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=25)  # while the ledger is still locked, for it waits 30 s
        assert (process.returncode, "Traceback" in err) == (130, False), err
    assert_the_next_run_finishes(slow_desk, slow_sandbox.url)


def test_two_signals_end_a_send_that_has_not_begun(desk: Desk) -> None:
    write_campaign(desk.folder, numbers(100))
    process = desk.start("campaign", "send", "sale.toml")
    wait_until(lambda: servers_of(desk) != [], process)
    (server,) = servers_of(desk)
    os.kill(server, signal.SIGSTOP)  # so that stopping it kindly takes its time
    try:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=14)
        assert process.returncode == 130
    finally:
        os.kill(server, signal.SIGKILL)


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def newest_run(api: httpx.Client) -> Any:
    runs = api.post("/flow_runs/filter", json={"sort": "START_TIME_DESC", "limit": 1})
    return runs.raise_for_status().json()[0]


def set_state(api: httpx.Client, run: Any, state: dict[str, str]) -> None:
    answer = api.post(f"/flow_runs/{run['id']}/set_state", json={"state": state})
    assert answer.raise_for_status().json()["status"] == "ACCEPT"


def client(variables: Mapping[str, str]) -> httpx.Client:
    """A client of the Prefect API that a process with these variables reports to."""
    user, _, password = variables["PREFECT_API_AUTH_STRING"].partition(":")
    return httpx.Client(base_url=variables["PREFECT_API_URL"], auth=(user, password))


def own_server(desk: Desk) -> dict[str, str]:
    """The variables for the Prefect server that a run in this folder has started for itself."""
    (server,) = servers_of(desk)
    entries = read(Path(f"/proc/{server}/environ")).decode().split("\0")
    variables = dict(entry.partition("=")[::2] for entry in entries)
    return {
        "PREFECT_API_URL": f"http://127.0.0.1:{variables['PREFECT_SERVER_API_PORT']}/api",
        "PREFECT_API_AUTH_STRING": variables["PREFECT_SERVER_API_AUTH_STRING"],
    }


def servers_of(desk: Desk) -> list[int]:
    return [
        int(entry.name)
        for entry in Path("/proc").glob("[0-9]*")
        if str(desk.folder).encode() in read(entry / "environ") and b"deployments.server" in read(entry / "cmdline")
    ]


def read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Nobody else may write to the ledger inside the block, as with a database that does not answer."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=30)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()
