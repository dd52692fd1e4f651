"""What all tests share: no setting of the machine leaks in; each test has a folder, a ledger and a sandbox of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from posthorn.sandbox.server import Sandbox
from posthorn.settings import SerwerSmsSettings, Settings


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("POSTHORN_") and not name.startswith("POSTHORN_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=0) as sandbox:
        yield sandbox


@pytest.fixture
def settings(box: Sandbox, tmp_path: Path) -> Settings:
    return sandbox_settings(box.url, tmp_path)


def sandbox_settings(url: str, folder: Path, **serwersms: object) -> Settings:
    """Settings that point to a sandbox and to a ledger in ``folder``; keywords change the gateway's."""
    gateway = SerwerSmsSettings(base_url=url, token="sandbox-token", chunk_size=50, timeout_seconds=2, **serwersms)
    return Settings(database_url=f"sqlite:///{folder / 'ledger.db'}", state_dir=folder, serwersms=gateway)
