"""A Prefect server of our own: for the length of one run where none is configured, or for as long as `make serve` runs.

Both keep their history in ``<state dir>/prefect``, so what ran before is shown, and a run beside `make serve` reports there.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from posthorn.process.prefect_database import database_from_template, fold_log
from posthorn.process.prefect_login import PrefectApi, new_login, recorded, recorded_api
from posthorn.process.proxies import UnusableProxy, settle_for, spare_loopback
from posthorn.settings import is_loopback
from posthorn.statefolder import check_writable

DATABASE = "prefect.db"
START_SECONDS = 90.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 10.0
_BACKLOG = 2048
# Where somebody else's server is and how to get in there is not this server's business.
_NOT_FOR_THE_SERVER = frozenset({"PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_PROFILES_PATH"})

SERVER_ENVIRONMENT = {
    # Task runs are recorded in batches: one by one they cost the server four times as much, and it loses some.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    # Whole seconds, for a server that Prefect starts by itself: it cuts the rest off, and with 0 it burns a core.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    # Leases on disk: with those in memory a restarted server never gives the slots back.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "DO_NOT_TRACK": "1",
}
"""What every Prefect server that Posthorn starts is given; an operator's own environment wins."""


def settle_prefect(state_dir: Path) -> None:
    """Make Prefect keep its files in the state folder and send no telemetry. Call it before importing Prefect.

    The profiles in the operator's home still count, and so does the environment.
    """
    profiles = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser() / "profiles.toml"
    if os.path.isfile(profiles):  # noqa: PTH113 - false, too, where nobody may look
        os.environ.setdefault("PREFECT_PROFILES_PATH", str(profiles))
    for name, value in {**SERVER_ENVIRONMENT, "PREFECT_HOME": str((state_dir / "prefect").absolute())}.items():
        os.environ.setdefault(name, value)


class PrefectServerError(Exception):
    """The Prefect server does not answer, or does not let us in; the message says what to look at."""


def configured_api() -> PrefectApi | None:
    """The Prefect API that the operator configured: PREFECT_API_URL, or the active profile; None if there is none.

    Read without importing Prefect, which takes a second and settles its settings for good.
    """
    profile = {} if os.environ.get("PREFECT_API_URL") else _active_profile()
    url = os.environ.get("PREFECT_API_URL") or profile.get("PREFECT_API_URL")
    login = os.environ.get("PREFECT_API_AUTH_STRING") or profile.get("PREFECT_API_AUTH_STRING")
    return PrefectApi(str(url), str(login) if login else None) if url else None


def _active_profile() -> dict[str, Any]:
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    path = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    active = os.environ.get("PREFECT_PROFILE", profiles.get("active", ""))
    found = profiles.get("profiles", {}).get(active, {})
    return found if isinstance(found, dict) else {}


def standing_api(state_dir: Path) -> PrefectApi | None:
    """The server that outlives a run: the configured one, or that of `make serve`.

    The login of `make serve` is given to no other address, even if another is configured.

    Raises:
        PrefectServerError: the configured server does not answer, or wants a login that is not set.
    """
    served, configured = served_api(state_dir), configured_api()
    if configured is None or (served is not None and _is_same_address(configured.url, served.url)):
        spare_loopback()
        return served
    _await_configured(configured)
    return configured


def required_api(state_dir: Path) -> PrefectApi:
    """The standing server.

    Raises:
        PrefectServerError: there is none, or as ``standing_api``.
    """
    if (api := standing_api(state_dir)) is None:
        raise PrefectServerError("no Prefect server to deploy to: start `make serve`, or set PREFECT_API_URL")
    return api


def _is_same_address(one: str, other: str) -> bool:
    """Whether both mean the same port of this machine. ``localhost`` counts, because the address itself is then used."""
    first, second = urlsplit(one), urlsplit(other)
    try:
        is_port = first.port == second.port
    except ValueError:
        return False
    return is_port and first.scheme == "http" and first.hostname in (second.hostname, "localhost")


def _await_configured(api: PrefectApi) -> None:
    """Make sure that something answers there and lets us in, before a flow tries for minutes."""
    import httpx  # see the package

    try:
        settle_for(api.url)
    except UnusableProxy as error:
        raise PrefectServerError(f"{error}. Nothing was sent") from None
    trusts = not is_loopback(api.url)
    try:
        answer = httpx.get(f"{api.url}/version", timeout=_ANSWER_SECONDS, headers=api.headers(), trust_env=trusts)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise PrefectServerError(
            f"the configured Prefect server {api.url} does not answer ({error}). Nothing was sent. Start it, or unset"
            " PREFECT_API_URL to have one started for the run"
        ) from error
    if answer.status_code == HTTPStatus.UNAUTHORIZED and not os.environ.get("PREFECT_API_KEY"):
        raise PrefectServerError(
            f"the configured Prefect server {api.url} does not let us in. Nothing was sent. Set PREFECT_API_AUTH_STRING"
            " to its PREFECT_SERVER_API_AUTH_STRING (of a `make serve` in another folder: to what `make login` prints there)"
        )


_FOR_A_RUN = {
    # A run needs a record, not schedules: those belong to the server that the deployments run on.
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    # Nobody knows the login of this server, so nobody opens its pages, or makes a block there.
    "PREFECT_UI_ENABLED": "false",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",  # else it reads all collections, to find that nothing is to be done
    # The run waits until its task runs are recorded. deployments/server.py has the recorder take the fraction.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "0.2",
}


@contextmanager
def starting_prefect_server(state_dir: Path) -> Iterator[PrefectServer]:
    """A private Prefect server on loopback that is being started, and is stopped at the end.

    Its address is known at once. Call ``await_health`` when there is nothing else left to do.
    """
    with _home(state_dir) as home:
        database_from_template(home / DATABASE)
        with _started_server(home, ("127.0.0.1", 0), new_login({}), _FOR_A_RUN) as server:
            yield server


@contextmanager
def serving_prefect_server(state_dir: Path, host: str, port: int) -> Iterator[PrefectServer]:
    """The Prefect server of `make serve`, with UI and schedules; yields it once it answers, stops it at the end.

    Raises:
        PrefectServerError: it did not answer in time, or another server uses the state folder or the address.
    """
    home = _shared_home(state_dir)
    with (home / "in-use.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PrefectServerError(
                f"{home} is in use: a run or another `make serve` has its server there; start again when it has ended"
            ) from None
        database_from_template(home / DATABASE)
        with _started_server(home, (host, port), new_login(), {}) as server:
            server.await_health()
            with recorded(home, server.api):
                yield server


def served_api(state_dir: Path) -> PrefectApi | None:
    """The API of `make serve` for the same state folder, if it is running on this machine."""
    api = recorded_api(state_dir / "prefect")
    if api is None:
        return None
    import httpx  # see the package

    try:
        return api if httpx.get(f"{api.url}/health", timeout=_ANSWER_SECONDS, trust_env=False).is_success else None
    except httpx.HTTPError:
        return None


def _shared_home(state_dir: Path) -> Path:
    shared = (state_dir / "prefect").absolute()
    check_writable(shared.parent)
    check_writable(shared)
    shared.chmod(0o700)  # the way in lies there, and Prefect's database
    return shared


@contextmanager
def _home(state_dir: Path) -> Iterator[Path]:
    """The shared home, or a separate one for this run while another run's server uses the shared one."""
    shared = _shared_home(state_dir)
    with (shared / "in-use.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with tempfile.TemporaryDirectory(prefix="posthorn-prefect-") as own:
                yield Path(own)
        else:
            yield shared


def _environment(home: Path, host: str, port: int, login: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_THE_SERVER}
    return {
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{quote(str(home / DATABASE))}",
        **SERVER_ENVIRONMENT,
        **inherited,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_HOST": host,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_AUTH_STRING": login,
    }


def _listening(host: str, port: int) -> socket.socket:
    """The server's socket, kept open here, so that nobody can take the port while the server starts (again).

    Raises:
        PrefectServerError: another program has the address, or it is not an address of this machine.
    """
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_BACKLOG
        )
    except OSError as error:
        raise PrefectServerError(
            f"cannot listen on {host}:{port} ({error.strerror or error}); stop what uses it, or set"
            " PREFECT_SERVER_API_PORT to another port"
        ) from None


class PrefectServer:
    """A Prefect server of ours on one address. ``api`` is how to reach it, ``log`` its log file."""

    def __init__(self, home: Path, listening: socket.socket, login: str, variables: Mapping[str, str]) -> None:
        host, port = listening.getsockname()[:2]  # its address, for a name the server may not know as its own
        self.url = f"http://{_reached_at(host)}:{port}/api"
        self.api = PrefectApi(self.url, login, is_ours=True)
        self.log = home / "server.log"
        self._listening = listening
        self._environment = {**_environment(home, host, port, login), **variables}
        self.log.unlink(missing_ok=True)
        self.process = self._process()

    @property
    def has_ended(self) -> bool:
        """Whether its process is gone."""
        return self.process.poll() is not None

    def start_again(self) -> None:
        """Start another process in place of one that has ended. Flows that run meanwhile find it by themselves.

        Raises:
            PrefectServerError: it did not answer in time.
        """
        self.process = self._process()
        self.await_health()

    def await_health(self) -> None:
        """Wait until it answers.

        Raises:
            PrefectServerError: it did not answer in time, or has ended.
        """
        import httpx  # see the package

        deadline = time.monotonic() + START_SECONDS
        with httpx.Client(timeout=2, trust_env=False) as client:
            while time.monotonic() < deadline:
                if self.has_ended:
                    raise PrefectServerError(
                        f"the local Prefect server ended at once: {_last_line(self.log)} (all of it: {self.log})"
                    )
                try:
                    if client.get(f"{self.url}/health").is_success:
                        return
                except httpx.HTTPError:
                    pass
                time.sleep(_POLL_SECONDS)
        raise PrefectServerError(
            f"the local Prefect server did not answer within {START_SECONDS:.0f} s; its log: {self.log}"
        )

    def _process(self) -> subprocess.Popen[bytes]:
        number = self._listening.fileno()
        with self.log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - our own command
                # -P: or else an operator's folder with the name of one of ours would be imported instead
                bound_command("-P", "-m", "deployments.server", "--socket", str(number)),
                env=self._environment,
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the run, which needs its server to the end
            )


def _reached_at(host: str) -> str:
    """The host that a client uses in an address for a server that listens there."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
    host = anywhere.get(host, host)
    return f"[{host}]" if ":" in host else host


@contextmanager
def _started_server(
    home: Path, address: tuple[str, int], login: str, variables: Mapping[str, str]
) -> Iterator[PrefectServer]:
    with _listening(*address) as listening:
        server = PrefectServer(home, listening, login, variables)
        try:
            yield server
        finally:
            stop(server.process)
            # A server that is killed leaves its log, which still holds what people typed and it has deleted.
            if (database := home / DATABASE).is_file():
                with suppress(sqlite3.Error):
                    fold_log(database)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours: politely first, then by force."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def bound_command(*args: str) -> list[str]:
    """The command for ``python args`` that ends with this process, even if this one is killed (Linux).

    -P: or else a module beside bound.py would replace one of Python's that has the same name.
    """
    return [sys.executable, "-P", str(Path(__file__).with_name("bound.py")), str(os.getpid()), *args]
