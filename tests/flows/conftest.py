"""One Prefect server for all flow tests, on a database of its own; flows report to it as in earnest, logs included."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

_home = tempfile.TemporaryDirectory(prefix="posthorn-test-prefect-", ignore_cleanup_errors=True)
os.environ.update(  # before Prefect is imported: it settles its settings then
    PREFECT_HOME=_home.name,
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    DO_NOT_TRACK="1",
    PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE="100",
    PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL="1",
    PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL="0.5",
    PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED="false",
    PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED="false",
    PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED="false",
    PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="ERROR",
)

from prefect.client.orchestration import PrefectClient, get_client  # noqa: E402
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL  # noqa: E402

from deployments.limits import ensure_limits  # noqa: E402
from posthorn.sandbox.server import Sandbox  # noqa: E402
from posthorn.settings import load_settings  # noqa: E402


def pytest_itemcollected(item: pytest.Item) -> None:
    """Prefect's own client leaves sockets for the garbage collector; ours are watched by every other test."""
    if item.path.is_relative_to(Path(__file__).parent):
        item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


@pytest.fixture(autouse=True)
def _collect_the_garbage_of_prefect() -> Iterator[None]:
    """Here, where its warnings are expected, and not in the middle of some later test."""
    yield
    gc.collect()


@pytest.fixture(scope="session", autouse=True)
def prefect_database() -> Iterator[Path]:
    """The server's database file; the server runs for the session."""
    from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415 - seconds, in processes that need no server

    with prefect_test_harness(server_startup_timeout=90):
        asyncio.run(_create_limits())
        yield Path(PREFECT_API_DATABASE_CONNECTION_URL.value().partition("///")[2])


async def _create_limits() -> None:
    async with get_client() as client:
        await ensure_limits(client, load_settings())


@pytest.fixture
async def prefect() -> AsyncIterator[PrefectClient]:
    async with get_client() as client:
        yield client


@pytest.fixture(autouse=True)
def _point_to_the_sandbox(box: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A flow reads its settings from the environment."""
    for name, value in {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'ledger.db'}",
        "STATE_DIR": str(tmp_path / "state"),
        "SERWERSMS__BASE_URL": box.url,
        "SERWERSMS__TOKEN": "sandbox-token",
        "SERWERSMS__CHUNK_SIZE": "50",
        "SERWERSMS__CONCURRENCY": "2",
        "SERWERSMS__TIMEOUT_SECONDS": "2",
    }.items():
        monkeypatch.setenv(f"POSTHORN_{name}", value)
