"""The one place of the core that starts flows: with the configured Prefect server, or with one of our own for the run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from posthorn.cli.interrupts import run_interruptibly
from posthorn.cli.prefect_server import SERVER_ENVIRONMENT, await_configured_api, configured_api_url, local_prefect_server
from posthorn.settings import Settings

_RECORD_SECONDS = 5.0
_POLL_SECONDS = 0.2


@contextmanager
def prefect_api(settings: Settings) -> Iterator[str]:
    """The Prefect API that this process's flows report to; must be entered before Prefect is imported.

    Raises:
        PrefectServerError: the configured server does not answer, or one of our own does not come up.
    """
    for name, value in {
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the CLI shows progress and problems itself
        "PREFECT_CLI_PROMPT": "false",
        **SERVER_ENVIRONMENT,
    }.items():
        os.environ.setdefault(name, value)
    if configured := configured_api_url():
        await_configured_api(configured)
        yield configured
        return
    with local_prefect_server(settings.state_dir) as url:
        os.environ["PREFECT_API_URL"] = url
        try:
            yield url
        finally:
            del os.environ["PREFECT_API_URL"]


def send_campaign(campaign_file: str) -> None:
    """Run the campaign flow here, to its end. What came of it is in the ledger.

    Raises:
        PosthornError, SettingsError: as the flow's tasks raised it.
        AlreadyRunning: another process sends it; nothing was done here.
        KeyboardInterrupt: stopped by a signal; what was in flight is finished and recorded.
    """
    from flows.campaign import send_campaign as flow  # noqa: PLC0415  # Prefect takes a second to import

    run_interruptibly(lambda: _recorded(lambda: flow(campaign_file, return_state=True)))


def send_tickets(event_file: str) -> None:
    """Run the tickets flow here, to its end. What came of it is in the ledger.

    Raises:
        PosthornError, SettingsError, AlreadyRunning, KeyboardInterrupt: as ``send_campaign``.
    """
    from flows.tickets import send_tickets as flow  # noqa: PLC0415  # Prefect takes a second to import

    run_interruptibly(lambda: _recorded(lambda: flow(event_file, return_state=True)))


async def _recorded(start: Callable[[], Awaitable[Any]]) -> None:
    """Run a flow, wait until the server has recorded its task runs, and raise what it raised."""
    from prefect.logging.handlers import APILogHandler  # noqa: PLC0415

    from posthorn.errors import AlreadyRunning, PosthornError  # noqa: PLC0415
    from posthorn.settings import SettingsError  # noqa: PLC0415

    state = await start()
    await _await_recorded(state)
    await APILogHandler.aflush()  # the last lines, before a server of our own is stopped
    if state.name == "AlreadyRunning":
        raise AlreadyRunning(state.message)
    error = await state.aresult(raise_on_failure=False)
    if isinstance(error, (PosthornError, SettingsError)):
        raise error
    if isinstance(error, BaseException) and state.name not in ("Stopped", "Cancelled"):
        raise error


async def _await_recorded(state: Any) -> None:
    """Wait (a little) until no task run of the flow run is open: a server stopped too early shows them running for ever."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId  # noqa: PLC0415

    flow_run_id = state.state_details.flow_run_id
    deadline = asyncio.get_running_loop().time() + _RECORD_SECONDS
    async with get_client() as client:
        while asyncio.get_running_loop().time() < deadline:
            runs = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])))
            if runs and all(run.state is not None and run.state.is_final() for run in runs):
                return
            await asyncio.sleep(_POLL_SECONDS)
