"""The pins of pyproject.toml keep Prefect's server whole: with other versions deploying fails, or nothing is ever scheduled.

This notices when that comes back.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from posthorn.cli.prefect_server import bound_command

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 90.0
DEPLOYMENTS = """\
deployments:
  - name: pins
    entrypoint: flows.campaign.send_campaign
    parameters: {campaign_file: nowhere.toml}
    work_pool: {name: pins}
    schedules:
      - {cron: "0 9 * * 1", timezone: Europe/Warsaw, slug: weekly}
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An empty Prefect home, and a server on a port of its own; nothing of what Posthorn sets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free_port = probe.getsockname()[1]
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "POSTHORN_"))}
    return {
        **own,
        "PREFECT_HOME": str(tmp_path / "home"),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(free_port),
        "PREFECT_API_URL": f"http://127.0.0.1:{free_port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


@pytest.fixture
def api(environment: dict[str, str], tmp_path: Path) -> Iterator[httpx.Client]:
    with (tmp_path / "server.log").open("w+") as log, httpx.Client(base_url=environment["PREFECT_API_URL"]) as client:
        command = bound_command("-m", "prefect", "server", "start")
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: process.poll() is not None or answers(client))
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            yield client
        finally:
            process.terminate()
            process.wait(30)


def test_a_deployed_flow_is_scheduled(api: httpx.Client, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text(DEPLOYMENTS)
    prefect("work-pool", "create", "pins", "--type", "process", environment=environment)
    prefect("deploy", "--prefect-file", str(tmp_path / "prefect.yaml"), "--all", "--no-prompt", environment=environment)
    scheduled = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    wait_for(lambda: api.post("/flow_runs/count", json=scheduled).json() > 0)
    runs = api.post("/flow_runs/filter", json=scheduled).json()
    assert {run["parameters"]["campaign_file"] for run in runs} == {"nowhere.toml"}
    assert all(run["auto_scheduled"] for run in runs)


def prefect(*args: str, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "prefect", *args]
    ended = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.HTTPError:
        return False


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not happened():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)
