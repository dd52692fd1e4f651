"""One sandbox process for all commands, and a desk for every test: a folder with the sandbox's variables exported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from posthorn.cli.sandbox_process import SandboxProcess, sandbox_process
from tests.commands import Desk, order


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[SandboxProcess]:
    with sandbox_process("--speed", "0") as box:
        yield box


@pytest.fixture
def box_url(running_sandbox: SandboxProcess) -> str:
    order("POST", running_sandbox.url, "reset")
    return running_sandbox.url


@pytest.fixture
def desk(running_sandbox: SandboxProcess, box_url: str, tmp_path: Path) -> Desk:
    """No Prefect answers at its desk: a command that needs none must not look for it."""
    return Desk(tmp_path, {**running_sandbox.variables, "PREFECT_API_URL": "http://127.0.0.1:9/api"})
