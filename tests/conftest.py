"""What all tests share: no setting of the machine leaks in; each test has a folder, a ledger and a sandbox of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from posthorn.sandbox.server import Sandbox
from posthorn.settings import SerwerSmsSettings, Settings

# The last look at a campaign that is held for 15 minutes is taken two seconds after the request.
LAST_LOOK_SECONDS = 15 * 60 - 2
POSTGRES_URL = "POSTHORN_TEST_POSTGRES_URL"
# What takes minutes begins first, so that no process is left with it at the end.
LONG = ("flows", "system", "drills", "cli", "delivery")
# What these start (browsers, Prefect servers, commands) shares the machine with the other tests and may be starved by them:
# a failure counts if it happens twice. What proves "never twice" without them (ledger, delivery, drills) fails at once.
SECOND_GO = ("flows", "system", "cli", "deployments", "gateways", "sandbox", "webhooks")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def room(item: pytest.Item) -> str:
        return item.path.relative_to(config.rootpath / "tests").parts[0]

    if config.pluginmanager.hasplugin("rerunfailures"):
        for item in items:
            if room(item) in SECOND_GO:
                item.add_marker(pytest.mark.flaky(reruns=1))
    if hasattr(config, "workerinput"):  # one of several processes
        items.sort(key=lambda item: LONG.index(room(item)) if room(item) in LONG else len(LONG))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what a green run says nothing about."""
    if again := terminalreporter.stats.get("rerun", ()):
        terminalreporter.section("Ran a second time, for the first failed", sep="!", yellow=True, bold=True)
        for report in again:
            crash = getattr(report.longrepr, "reprcrash", None)
            terminalreporter.line(f"{report.nodeid}\n    {(crash.message if crash else str(report.longrepr))[:300]}")
    skipped = [report for report in terminalreporter.stats.get("skipped", ()) if POSTGRES_URL in str(report.longrepr)]
    if skipped:
        terminalreporter.section("PostgreSQL was not tested", sep="!", red=True, bold=True)
        terminalreporter.line(
            f"{len(skipped)} tests of the ledger on PostgreSQL were skipped. To have them, name a server where"
        )
        terminalreporter.line("databases may be created; each test has one of its own there, and drops it:")
        terminalreporter.line(f"    {POSTGRES_URL}=postgresql://postgres@127.0.0.1:5432/postgres make test")


class WholeFiles(LoadFileScheduling):
    """A process takes whole files, and all flows if any: they share a Prefect server."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "tests/flows" if file.startswith("tests/flows/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> WholeFiles:
    config.option.loadscopereorder = False  # else by their number, and the long ones last
    return WholeFiles(config, log)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("POSTHORN_") and not name.startswith("POSTHORN_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))  # where claim marks are kept
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=0) as sandbox:
        yield sandbox


@pytest.fixture
def settings(box: Sandbox, tmp_path: Path) -> Settings:
    return sandbox_settings(box.url, tmp_path)


def sandbox_settings(url: str, folder: Path, **serwersms: object) -> Settings:
    """Settings that point to a sandbox and to a ledger in ``folder``; keywords change the gateway's.

    ``settle_seconds`` may be below the timeout, which settings refuse: nobody waits that long in a test.
    """
    settle_seconds = serwersms.pop("settle_seconds", None)
    given = {"chunk_size": 50, "timeout_seconds": 2, "last_look_seconds": LAST_LOOK_SECONDS, **serwersms}
    gateway = SerwerSmsSettings(base_url=url, token="sandbox-token", **given)
    if settle_seconds is not None:
        gateway.settle_seconds = settle_seconds
    return Settings(database_url=f"sqlite:///{folder / 'ledger.db'}", state_dir=folder, serwersms=gateway)
