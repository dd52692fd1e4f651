"""Everything on one machine: Prefect's server with its UI, all deployments and schedules, and a worker that runs them.

``python -m deployments.serve`` is `make serve`. Ctrl-C lets running flows finish the requests that are under way, and stops.
With ``--login`` (`make login`) it shows the login of the server that is running.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from posthorn.process.crash import run_to_exit_code
from posthorn.process.prefect_login import PrefectApi
from posthorn.process.prefect_server import (
    SERVER_ENVIRONMENT,
    PrefectServerError,
    bound_command,
    served_api,
    serving_prefect_server,
    settle_prefect,
    stop,
)
from posthorn.process.proxies import spare_loopback
from posthorn.process.surroundings import settle
from posthorn.process.terminal import fail, say
from posthorn.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from prefect.client.schemas.filters import FlowRunFilter

_FINISH_SECONDS = 120.0
_PORTS = 65_536
_POLL_SECONDS = 0.5
_WORKER_ENVIRONMENT = {
    "PREFECT_WORKER_QUERY_SECONDS": "2",  # how soon a requested run starts
    "PREFECT_LOGGING_LEVEL": "WARNING",
}


def main() -> int:
    """Serve until stopped; returns the exit code."""
    host = os.environ.get("PREFECT_SERVER_API_HOST", "127.0.0.1")
    spare_loopback(host)
    stopped = _signals()
    try:
        port = _port()
        settings = load_settings()
        say("starting the Prefect server …")
        with serving_prefect_server(settings.state_dir, host, port) as server:
            os.environ.update(server.api.variables())
            settle_prefect(settings.state_dir)
            overview = _set_up(settings)
            with _worker() as worker:
                say(f"ready: {_page(server.api)} (UI, schedules and a worker; Ctrl-C stops)")
                _say_login(server.api)
                say(f"all deliveries: {_page(server.api)}{overview}")
                while not stopped.wait(_POLL_SECONDS) and worker.poll() is None:
                    if server.has_ended:
                        say(f"the Prefect server ended unexpectedly (its log: {server.log}); it is started again")
                        server.start_again()
                if worker.poll() is not None:
                    say("the worker ended unexpectedly; its output is above")
                    return 1
                asyncio.run(_finish_runs())
    except SettingsError as error:
        return fail(error, 2)
    except (PrefectServerError, subprocess.CalledProcessError) as error:
        return fail(error, 1)
    except KeyboardInterrupt:
        say("stopped at once; `posthorn campaign status` shows what is unknown; run the campaign again to go on")
        return 130
    return 0


def show_login() -> int:
    """Print the login of the running server's UI on standard output; returns the exit code."""
    try:
        api = served_api(load_settings().state_dir)
    except SettingsError as error:
        return fail(error, 2)
    if api is None:
        return fail(PrefectServerError("`make serve` is not running in this folder; start it, then run this again"), 2)
    print(f"{_page(api)}\n{api.login}")
    return 0


def _page(api: PrefectApi) -> str:
    return api.url.removesuffix("/api")


def _say_login(api: PrefectApi) -> None:
    """Show the login at a terminal only: a log file must not hold it."""
    if sys.stderr.isatty():
        say(f"the page asks for a password; paste this once: {api.login}")
    else:
        say("the page asks for a password: `make login` prints it")


def _port() -> int:
    said = os.environ.get("PREFECT_SERVER_API_PORT", "4200")
    if not said.isdigit() or not 0 < int(said) < _PORTS:
        raise SettingsError(f"PREFECT_SERVER_API_PORT: {said!r} is not a port; expected a number from 1 to {_PORTS - 1}")
    return int(said)


def _signals() -> threading.Event:
    """An event that Ctrl-C or SIGTERM sets; a second signal ends this process at once."""
    stopped = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stopped


def _set_up(settings: Settings) -> str:
    """Update the server's pool, limits and deployments; returns the UI address of the page of all deliveries."""
    from deployments.setup import (  # Prefect fixes its server's address when it is imported
        deploy_all,
        overview_address,
        prepare,
        switch_notices_on,
    )

    asyncio.run(prepare(settings))
    deploy_all()
    asyncio.run(switch_notices_on(settings))
    return asyncio.run(overview_address())


@contextmanager
def _worker() -> Iterator[subprocess.Popen[bytes]]:
    worker = subprocess.Popen(  # noqa: S603 - our own command
        bound_command("-m", "prefect", "worker", "start", "--pool", "posthorn", "--type", "process"),
        env={**SERVER_ENVIRONMENT, **_WORKER_ENVIRONMENT, **os.environ},
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # we handle Ctrl-C: runs finish what is under way
    )
    try:
        yield worker
    finally:
        stop(worker)


async def _finish_runs() -> None:
    """Cancel all runs: each flow finishes and records the requests that are under way, and sends nothing more."""
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    async with get_client() as client:
        running = await client.read_flow_runs(flow_run_filter=_at_work())
        for run in running:
            await client.set_flow_run_state(run.id, Cancelling(message="Posthorn is being stopped"))
        if running:
            say(
                f"stopping {len(running)} flow runs: requests under way are finished; run them again to go on"
                " (Ctrl-C: stop at once)"
            )
        deadline = time.monotonic() + _FINISH_SECONDS
        while running and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
            running = await client.read_flow_runs(flow_run_filter=_at_work())


def _at_work() -> FlowRunFilter:
    from prefect.client.schemas.filters import FlowRunFilter

    return FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "PAUSED", "PENDING", "CANCELLING"]}}})


if __name__ == "__main__":
    settle()
    sys.exit(run_to_exit_code(show_login if sys.argv[1:] == ["--login"] else main))
