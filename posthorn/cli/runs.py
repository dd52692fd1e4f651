"""The only place in the core that starts flows: with the configured Prefect server, or with our own for the run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

from posthorn.cli.interrupts import run_interruptibly
from posthorn.models import Kind
from posthorn.process.prefect_login import PrefectApi
from posthorn.process.prefect_server import (
    PrefectServer,
    PrefectServerError,
    configured_api,
    required_api,
    settle_prefect,
    standing_api,
    starting_prefect_server,
)
from posthorn.settings import Settings

_RECORD_SECONDS = 5.0
_PAUSE_SECONDS = 15.0
_POLL_SECONDS = 0.2
_RECORDED_POLL_SECONDS = 0.05

_IN_THE_FIRST_FLOW = ("flows.campaign", "flows.tickets", "prefect.flow_engine", "prefect.task_engine", "fastapi.encoders")
"""What a run imports: Prefect takes a second, and imports the last three in the middle of its first flow."""


@contextmanager
def prefect_api(settings: Settings) -> Iterator[Callable[[], None]]:
    """The Prefect API that this process's flows report to. Enter it before Prefect is imported.

    A server of our own starts while the block goes on: call what is yielded before the first flow, to await it.

    Raises:
        PrefectServerError: the configured server does not answer, or our own does not start; mostly when it is awaited.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # the CLI shows progress and problems itself
    settle_prefect(settings.state_dir)
    with ExitStack() as until_the_end:

        def own() -> PrefectServer:
            return until_the_end.enter_context(starting_prefect_server(settings.state_dir))

        started = own() if configured_api() is None and standing_api(settings.state_dir) is None else None

        def await_api() -> None:
            if started is None and (standing := standing_api(settings.state_dir)):
                until_the_end.enter_context(_exported(standing))
            else:
                server = started or own()
                until_the_end.enter_context(_exported(server.api))
                for name in _IN_THE_FIRST_FLOW:  # while the server starts
                    import_module(name)
                server.await_health()
            _ensure_limits(settings)

        yield await_api


@contextmanager
def _exported(api: PrefectApi) -> Iterator[None]:
    """Set the server's variables in this process's environment inside the block; restore the old values afterwards."""
    before = {name: os.environ.get(name) for name in api.variables()}
    os.environ.update(api.variables())
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _ensure_limits(settings: Settings) -> None:
    from prefect.client.orchestration import get_client  # Prefect takes a second to import

    from deployments.limits import ensure_limits

    async def ensure() -> None:
        async with get_client() as client:
            await ensure_limits(client, settings)

    asyncio.run(ensure())


def send(kind: Kind, file: Path, *, accept_missing: bool = False, late: bool = False) -> None:
    """Run the flow that sends the file here, to its end. The outcome is in the ledger. Only campaigns can be late.

    Raises:
        PosthornError, SettingsError: as the flow's tasks raised it.
        AlreadyRunning: another process sends it; nothing was done here.
        Stopped: somebody cancelled the run in Prefect; what was in flight is finished and recorded.
        KeyboardInterrupt: stopped by a signal; what was in flight is finished and recorded.
    """
    from flows.campaign import send_campaign  # Prefect takes a second to import
    from flows.tickets import send_tickets

    path = str(file.absolute())

    def flow() -> Awaitable[Any]:
        if kind is Kind.EVENT:
            return send_tickets(path, accept_missing=accept_missing, return_state=True)
        return send_campaign(path, accept_missing=accept_missing, late=late, return_state=True)

    run_interruptibly(lambda: _let_in(_recorded(flow, "posthorn", "tickets" if kind is Kind.EVENT else "campaign")))


def deploy(
    kind: Kind, settings: Settings, name: str, file: Path, *, cron: str | None, at: datetime | None, timezone: str
) -> str:
    """Add a deployment for one campaign or event to the configured Prefect server, or `make serve`'s; returns its name.

    Raises:
        PrefectServerError: there is no server.
        InputError: the schedule cannot be read, or the name is that of the deployment for any file.
    """
    os.environ.update(required_api(settings.state_dir).variables())
    settle_prefect(settings.state_dir)
    from deployments.own import deploy as put  # Prefect takes a second to import

    return asyncio.run(put(kind, name, file, cron=cron, at=at, timezone=timezone))


def switch_notices_on(settings: Settings) -> str:
    """Create the automation that notifies people, on the configured server or that of `make serve`; returns what it did."""
    api = standing_api(settings.state_dir)
    if api is None:
        return "no Prefect server is running: the next `make serve` (or `make deploy`) switches the automation on"
    os.environ.update(api.variables())
    settle_prefect(settings.state_dir)
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    from deployments.automations import ensure_notices

    async def switch() -> None:
        async with get_client() as client:
            await ensure_notices(client)

    try:
        asyncio.run(switch())
    except ObjectNotFound:
        return "the server has no deployment `notify` yet: run `make deploy`, which switches the automation on, too"
    return "the automation is switched on: people are notified when a delivery needs them"


def resume_paused(settings: Settings, flow_run_ids: Sequence[str], *, approve: bool, by: str, note: str) -> int:
    """Let flow runs that wait for an approval go on with this decision; returns how many were waiting.

    Without a server there are none: the next run of the campaign finds the decision in the ledger.
    """
    api = standing_api(settings.state_dir)
    if api is None:
        return 0
    os.environ.update(api.variables())
    settle_prefect(settings.state_dir)
    from prefect.client.orchestration import get_client

    from posthorn.delivery.deciding.approval import REFUSE, SEND

    async def resume() -> int:
        woken = 0
        async with get_client() as client:
            for flow_run_id in flow_run_ids:
                run = await _paused(client, UUID(flow_run_id))
                if run is not None:
                    said = {"decision": SEND if approve else REFUSE, "name": by, "note": note}
                    answer = await client.resume_flow_run(run.id, run_input=said)
                    woken += answer.status.value == "ACCEPT"
        return woken

    return asyncio.run(resume())


async def _paused(client: Any, flow_run_id: UUID) -> Any:
    """The flow run once it is paused, or None. A run that has just asked needs a moment until it is paused."""
    from prefect.exceptions import ObjectNotFound

    deadline = asyncio.get_running_loop().time() + _PAUSE_SECONDS
    while True:
        try:
            run = await client.read_flow_run(flow_run_id)
        except ObjectNotFound:  # deleted, or of another server
            return None
        if run.state is not None and run.state.is_paused():
            return run
        if run.state is None or not run.state.is_running() or asyncio.get_running_loop().time() > deadline:
            return None
        await asyncio.sleep(_POLL_SECONDS)


async def _let_in(run: Awaitable[None]) -> None:
    """Await a run. If `make serve` was restarted meanwhile, its server has another login: say so."""
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        await run
    except PrefectHTTPStatusError as error:
        if error.response.status_code != HTTPStatus.UNAUTHORIZED:
            raise
        raise PrefectServerError(
            "the Prefect server was restarted with a new login and rejects this run. What was sent is recorded; the same"
            " command goes on. To keep one login, set PREFECT_SERVER_API_AUTH_STRING for `make serve`"
        ) from None


async def _recorded(start: Callable[[], Awaitable[Any]], *own_tags: str) -> None:
    """Run a flow with the tags of its deployment, wait until the server has recorded it, and raise what it raised."""
    from prefect import tags
    from prefect.logging.handlers import APILogHandler

    from flows.ending import ALREADY_RUNNING, ENDINGS, HAS_NEWS
    from posthorn.errors import AlreadyRunning, NotMerged, PosthornError, Stopped
    from posthorn.settings import SettingsError

    try:
        with tags(*own_tags):
            state = await start()
        if state.is_cancelling():  # at the instant of its end: no other state was accepted, and nobody else would set one
            state = await _cancelled(state)
        await _await_recorded(state)
    finally:  # send the last lines before our own server stops: Prefect would retry for a minute
        with suppress(TimeoutError):
            async with asyncio.timeout(_RECORD_SECONDS):
                await APILogHandler.aflush()
    error = await state.aresult(raise_on_failure=False)
    if state.name == ALREADY_RUNNING:
        raise (NotMerged if error == HAS_NEWS else AlreadyRunning)(state.message)
    if isinstance(error, (PosthornError, SettingsError)):
        raise error
    if state.name in ENDINGS:
        return
    if state.is_cancelled():
        raise Stopped(state.message or "the run was cancelled")
    if isinstance(error, BaseException):
        raise error


async def _cancelled(state: Any) -> Any:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled

    own = state.state_details.flow_run_id
    async with get_client() as client:
        await client.set_flow_run_state(own, Cancelled(message="the run was cancelled"))
        return (await client.read_flow_run(own)).state


async def _await_recorded(state: Any) -> None:
    """Wait briefly until no task run of the flow run is open: a server that stops too early shows them running for ever."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    flow_run_id = state.state_details.flow_run_id
    deadline = asyncio.get_running_loop().time() + _RECORD_SECONDS
    async with get_client() as client:
        while asyncio.get_running_loop().time() < deadline:
            runs = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])))
            if runs and all(run.state is not None and run.state.is_final() for run in runs):
                return
            await asyncio.sleep(_RECORDED_POLL_SECONDS)
