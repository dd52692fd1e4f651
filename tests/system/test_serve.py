"""`make serve` as a user has it: server, schedules, worker; a campaign by hand, an event by its schedule, a clean end.

It also notices when a new version of a dependency breaks Prefect's server again: then nothing is deployed, or scheduled.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from posthorn.cli.sandbox_process import SandboxProcess
from posthorn.process.prefect_login import recorded_api
from tests.commands import Desk, told
from tests.delivery.journey import numbers, write_campaign

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 120.0
DEPLOYED = {
    "approve/approve",
    "cancel/cancel",
    "continue-due/continue-due",
    "delivery-reports/delivery-reports",
    "delivery-reports/report-now",
    "find/find",
    "housekeeping/housekeeping",
    "notify/notify",
    "opt-outs/opt-outs",
    "reconcile/reconcile",
    "resend-failed/resend-failed",
    "send-campaign/campaign",
    "send-rest/rest",
    "send-share/share",
    "send-tickets/tickets",
    "settle/settle",
    "suppress/suppress",
}


@dataclass(frozen=True, slots=True)
class Served:
    """A running `make serve`: its desk, its Prefect API, its process."""

    desk: Desk
    api: httpx.Client
    process: subprocess.Popen[bytes]
    log: Path

    def runs(self, **states: object) -> list[dict[str, Any]]:
        try:
            answer = self.api.post("/flow_runs/filter", json={"flow_runs": states})
        except httpx.TransportError:
            return []  # it is being started again
        return list(answer.json()) if answer.is_success else []

    def start(self, deployment: str, file: Path) -> None:
        """Ask for a run as Prefect's client does: its server on SQLite says 503 when two write at once."""
        parameters = {"parameters": {"campaign_file": str(file)}}
        wait_for(lambda: self.api.post(f"/deployments/{deployment}/create_flow_run", json=parameters).is_success)

    def ended(self, name: str) -> str:
        """How the run of that name ends, waited for; with what the server and the worker said when it does not."""
        final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            for run in self.runs(name={"any_": [name]}):
                if run["state_type"] in final:
                    return f"{run['state_name']} {run['state']['message'] or ''}".strip()
            time.sleep(0.2)
        states = [(run["name"], run["state_name"], run["state"]["message"]) for run in self.runs()]
        raise AssertionError(f"{name} has not ended: {states}\n{self.log.read_text()}")


@pytest.fixture
def served(slow_sandbox: SandboxProcess, tmp_path: Path) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {
        "POSTHORN_DATABASE_URL": f"sqlite:///{tmp_path / 'ledger.db'}",
        "POSTHORN_STATE_DIR": str(tmp_path / "state"),
        "POSTHORN_SERWERSMS__CHUNK_SIZE": "50",
        "PREFECT_SERVER_API_PORT": str(port),
        **slow_sandbox.variables,
    }
    desk = Desk(tmp_path, variables)
    log = tmp_path / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "deployments.serve"],
            cwd=ROOT,
            env=desk.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: "ready: " in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        record = recorded_api(tmp_path / "state" / "prefect")
        assert record is not None
        assert record.url == f"http://127.0.0.1:{port}/api"
        with httpx.Client(base_url=record.url, headers=record.headers(), timeout=30) as api:
            yield Served(desk, api, process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


@pytest.mark.timeout(400)
def test_one_command_serves_everything(served: Served, slow_sandbox: SandboxProcess, tmp_path: Path) -> None:
    api = served.api
    flows = {flow["id"]: flow["name"] for flow in api.post("/flows/filter", json={}).json()}
    deployments = {f"{flows[one['flow_id']]}/{one['name']}": one for one in api.post("/deployments/filter", json={}).json()}
    assert set(deployments) == DEPLOYED
    limits = {one["name"]: one["limit"] for one in api.post("/v2/concurrency_limits/filter", json={}).json()}
    assert (limits["posthorn-serwersms"], limits["posthorn-skycore"]) == (32, 16)
    assert [one["name"] for one in api.post("/automations/filter", json={}).json()] == [
        "posthorn: runs whose process is gone"
    ]

    soon = datetime.now(UTC) + timedelta(seconds=30)  # the command that plans it takes some of them
    write_event(tmp_path)
    ended = served.desk.run("tickets", "deploy", "jazz.toml", "--at", f"{soon:%Y-%m-%dT%H:%M:%S}", "--timezone", "UTC")
    assert "send-tickets/jazz-night: 3 tickets; starts once" in ended.err, ended.err

    file = write_campaign(tmp_path, [*numbers(100), "12"])
    campaign = deployments["send-campaign/campaign"]["id"]
    served.start(campaign, file)
    assert served.ended("campaign sale.toml") == "Completed all 101 rows accounted for"
    assert told(slow_sandbox.url, "truth")["serwersms"]["accepted"] == 100

    assert served.ended("tickets jazz.toml") == "Completed all 3 rows accounted for"
    assert told(slow_sandbox.url, "truth")["skycore"]["accepted"] == 3
    scheduled = served.runs(state={"type": {"any_": ["SCHEDULED"]}})
    assert {run["auto_scheduled"] for run in scheduled} == {True}
    for often in ("delivery-reports/delivery-reports", "reconcile/reconcile", "housekeeping/housekeeping"):
        assert any(run["deployment_id"] == deployments[often]["id"] for run in scheduled)

    findings = {one["what"]: one for one in served.desk.run("doctor", "--json").json["findings"]}
    assert f"{len(DEPLOYED) + 1} deployments, 1 workers online" in findings["Prefect"]["seen"]

    beside = write_campaign(tmp_path, numbers(200)[100:], name="beside")
    assert served.desk.run("campaign", "send", str(beside)).code == 0
    assert served.ended("campaign beside.toml").startswith("Completed"), "a run of the command line is shown there, too"

    the_login_is_written_nowhere_else(served, tmp_path)
    a_server_that_dies_is_started_again(served, campaign, slow_sandbox, tmp_path)
    stopping_finishes_what_is_under_way(served, campaign, slow_sandbox, tmp_path)


def the_login_is_written_nowhere_else(served: Served, tmp_path: Path) -> None:
    """Not in a log, nor Prefect's database, nor on a command line: other accounts see those."""
    record = recorded_api(tmp_path / "state" / "prefect")
    assert record is not None
    assert record.login is not None
    secret = record.login.partition(":")[2].encode()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.name for path in files if secret in held_by(path)] == ["served-at"]
    assert [path for path in Path("/proc").glob("[0-9]*/cmdline") if secret in held_by(path)] == []
    environment = {**served.desk.environment(), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "deployments.serve", "--login"]
    shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.splitlines() == [record.url.removesuffix("/api"), record.login]


def held_by(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it is gone by now, or its process is
        return b""


def a_server_that_dies_is_started_again(served: Served, campaign: str, box: SandboxProcess, tmp_path: Path) -> None:
    already = told(box.url, "truth")["serwersms"]["accepted"]
    served.start(campaign, write_campaign(tmp_path, numbers(2200)[200:], name="outlives"))
    wait_for(lambda: told(box.url, "truth")["serwersms"]["accepted"] > already)
    os.kill(next(pid for pid, command in processes_of(tmp_path).items() if "deployments.server" in command), signal.SIGKILL)
    wait_for(lambda: "it is started again" in served.log.read_text())
    assert served.ended("campaign outlives.toml") == "Completed all 2,000 rows accounted for"
    assert told(box.url, "truth")["serwersms"]["accepted"] == already + 2000


def stopping_finishes_what_is_under_way(served: Served, campaign: str, box: SandboxProcess, tmp_path: Path) -> None:
    already = told(box.url, "truth")["serwersms"]["accepted"]
    file = write_campaign(tmp_path, numbers(7200)[2200:], name="stopped")
    served.start(campaign, file)
    wait_for(lambda: told(box.url, "truth")["serwersms"]["accepted"] > already)
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(WAIT_SECONDS) == 0
    status = served.desk.run("campaign", "status", "stopped", "--json").json
    assert status["because"] == "the run was cancelled"
    totals = {state: count for state, count in status["totals"].items() if count and state != "input"}
    assert set(totals) == {"pending", "accepted"}, "nothing is unknown"
    assert totals["accepted"] == told(box.url, "truth")["serwersms"]["accepted"] - already
    with pytest.raises(httpx.ConnectError):
        served.api.get("/health")
    assert processes_of(tmp_path) == {}, "nobody is left behind"


def write_event(folder: Path) -> None:
    (folder / "jazz.toml").write_text('name = "jazz-night"\nmms_id = 35674\nfrom = 60856\nattendees = "attendees.csv"\n')
    rows = "".join(f"+1 650 253 {number:04},CODE-{number}\n" for number in range(3))
    (folder / "attendees.csv").write_text(f"phone,barcode_id\n{rows}")


def processes_of(folder: Path) -> dict[int, str]:
    """The processes whose environment names that folder, by their ids, with their command lines (Linux)."""
    found = {}
    for process in Path("/proc").iterdir():
        if re.fullmatch(r"\d+", process.name) and process.name != str(os.getpid()):
            try:
                if str(folder).encode() in (process / "environ").read_bytes():
                    found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
    return {pid: command for pid, command in found.items() if command and "sandbox" not in command}


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not happened():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)
