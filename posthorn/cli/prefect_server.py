"""A Prefect server of our own: for the length of one run where none is configured, or for as long as `make serve` runs.

Both keep their history in ``<state dir>/prefect``, so what ran before is shown, and a run beside `make serve` reports there.
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from posthorn.cli.proxies import UnusableProxy, settle_for
from posthorn.settings import is_loopback
from posthorn.statefolder import check_writable

START_SECONDS = 90.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 10.0
_SERVED_AT = "served-at"

SERVER_ENVIRONMENT = {
    # Task runs are recorded in batches: one by one they cost the server four times as much, and it loses some.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    # Leases on disk: with those in memory a restarted server never gives the slots back.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "DO_NOT_TRACK": "1",
}
"""What every Prefect server that Posthorn starts is given; an operator's own environment wins."""


class PrefectServerError(Exception):
    """The Prefect server does not answer; the message says what to look at."""


def configured_api_url() -> str | None:
    """The Prefect API that the operator configured: PREFECT_API_URL, or the active profile; None where there is none.

    Read without importing Prefect, which takes a second and settles its settings for good.
    """
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    path = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    active = os.environ.get("PREFECT_PROFILE", profiles.get("active", ""))
    url = profiles.get("profiles", {}).get(active, {}).get("PREFECT_API_URL")
    return str(url) if url else None


def await_configured_api(url: str) -> None:
    """Be sure that something answers there, whatever it says; before a flow tries for minutes.

    Raises:
        PrefectServerError: nothing does.
    """
    import httpx  # noqa: PLC0415 - see the package

    try:
        settle_for(url)
    except UnusableProxy as error:
        raise PrefectServerError(f"{error}. Nothing was sent") from None
    try:
        httpx.get(f"{url}/health", timeout=_ANSWER_SECONDS, trust_env=not is_loopback(url))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise PrefectServerError(
            f"the configured Prefect server {url} does not answer ({error}). Nothing was sent. Start it, or unset"
            " PREFECT_API_URL to have one started for the run"
        ) from error


@contextmanager
def local_prefect_server(state_dir: Path) -> Iterator[str]:
    """A private Prefect server on loopback; yields its API URL once it answers, and stops it at the end.

    Raises:
        PrefectServerError: it did not answer within ``START_SECONDS``.
    """
    with _home(state_dir) as home:
        # A run needs a record, not schedules: those belong to the server that the deployments run on.
        unscheduled = {
            "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
            "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
        }
        with _running_server(home, "127.0.0.1", _free_port(), unscheduled) as server:
            yield server.url


@contextmanager
def serving_prefect_server(state_dir: Path, host: str, port: int) -> Iterator[PrefectServer]:
    """The Prefect server of `make serve`, with UI and schedules; yields it once it answers, stops it at the end.

    Raises:
        PrefectServerError: it did not answer in time, or another server uses the state folder.
    """
    home = _shared_home(state_dir)
    with (home / "in-use.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PrefectServerError(
                f"{home} is in use: a run or another `make serve` has its server there; start again when it has ended"
            ) from None
        with _running_server(home, host, port, {}) as server:
            (home / _SERVED_AT).write_text(server.url)
            try:
                yield server
            finally:
                (home / _SERVED_AT).unlink(missing_ok=True)


def served_api_url(state_dir: Path) -> str | None:
    """The API of `make serve` for the same state folder, if it is running on this machine."""
    import httpx  # noqa: PLC0415 - see the package

    try:
        url = (state_dir / "prefect" / _SERVED_AT).read_text()
        return url if httpx.get(f"{url}/health", timeout=_ANSWER_SECONDS, trust_env=False).is_success else None
    except (OSError, httpx.HTTPError):
        return None


def _shared_home(state_dir: Path) -> Path:
    shared = (state_dir / "prefect").absolute()
    check_writable(shared.parent)
    check_writable(shared)
    return shared


@contextmanager
def _home(state_dir: Path) -> Iterator[Path]:
    """The shared home, or one for this run alone while another run's server uses the shared one."""
    shared = _shared_home(state_dir)
    with (shared / "in-use.lock").open("w") as lock, tempfile.TemporaryDirectory(prefix="posthorn-prefect-") as own:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield Path(own)
        else:
            yield shared


def _environment(home: Path, host: str, port: int) -> dict[str, str]:
    return {
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{quote(str(home / 'prefect.db'))}",
        **SERVER_ENVIRONMENT,
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_HOST": host,
        "PREFECT_SERVER_API_PORT": str(port),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PrefectServer:
    """A Prefect server of ours on one address: ``url`` is its API, ``log`` the file with what it says."""

    def __init__(self, home: Path, host: str, port: int, variables: Mapping[str, str]) -> None:
        self.url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/api"  # noqa: S104 - compared, not bound
        self.log = home / "server.log"
        self._environment = {**_environment(home, host, port), **variables}
        self.log.unlink(missing_ok=True)
        self.process = self._process()

    @property
    def has_ended(self) -> bool:
        """Whether its process is gone."""
        return self.process.poll() is not None

    def start_again(self) -> None:
        """Put another process in the place of one that has ended; flows that run meanwhile find it by themselves.

        Raises:
            PrefectServerError: it did not answer in time.
        """
        self.process = self._process()
        self.await_health()

    def await_health(self) -> None:
        """Wait until it answers.

        Raises:
            PrefectServerError: it did not in time, or has ended.
        """
        import httpx  # noqa: PLC0415 - see the package

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
        with self.log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - our own command
                bound_command("-m", "prefect", "server", "start"),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the run, which needs its server to the end
            )


@contextmanager
def _running_server(home: Path, host: str, port: int, variables: Mapping[str, str]) -> Iterator[PrefectServer]:
    server = PrefectServer(home, host, port, variables)
    try:
        server.await_health()
        yield server
    finally:
        stop(server.process)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours, kindly at first."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def bound_command(*args: str) -> list[str]:
    """The command for ``python args`` that ends with this process, even when this one is killed (Linux)."""
    return [sys.executable, str(Path(__file__).with_name("bound.py")), str(os.getpid()), *args]
