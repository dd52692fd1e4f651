"""Real processes: a sandbox, a Prefect server, the command line. One server for every test that does not need its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from posthorn.cli.sandbox_process import SandboxProcess, sandbox_process
from posthorn.process.prefect_server import starting_prefect_server
from tests.commands import Desk, order


@pytest.fixture(scope="session")
def prefect_variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a process exports that reports to the server of these tests: where it is, and how to get in."""
    with starting_prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        server.await_health()
        yield server.api.variables()


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[SandboxProcess]:
    with sandbox_process("--speed", "0") as box:
        yield box


@pytest.fixture
def slow_sandbox() -> Iterator[SandboxProcess]:
    """A sandbox whose answers take half a second, so that something is in flight when it matters."""
    with sandbox_process("--speed", "0", "--latency", "0.5") as box:
        yield box


@pytest.fixture
def box_url(running_sandbox: SandboxProcess) -> str:
    order("POST", running_sandbox.url, "reset")
    return running_sandbox.url


@pytest.fixture
def desk(running_sandbox: SandboxProcess, box_url: str, tmp_path: Path) -> Desk:
    """A folder with the sandbox's variables exported, and no Prefect server: each run starts one of its own."""
    return Desk(tmp_path, dict(running_sandbox.variables))


@pytest.fixture
def slow_desk(slow_sandbox: SandboxProcess, tmp_path: Path, prefect_variables: dict[str, str]) -> Desk:
    """A desk at the slow sandbox; four requests at once, so that 2,000 numbers take some seconds."""
    variables = {"POSTHORN_SERWERSMS__CONCURRENCY": "4", "POSTHORN_SERWERSMS__CHUNK_SIZE": "50"}
    return Desk(tmp_path, {**slow_sandbox.variables, **variables, **prefect_variables})


@pytest.fixture
def quick_desk(desk: Desk, prefect_variables: dict[str, str]) -> Desk:
    """The same, with a Prefect server that runs already."""
    desk.variables.update(prefect_variables)
    return desk
