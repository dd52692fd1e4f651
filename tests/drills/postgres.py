"""A PostgreSQL server of a drill's own, which may be killed, and a database there for each round."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.05
_OPTIONS = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "max_connections=60",
    "log_min_messages=fatal",
)
"""Without fsync, for processes are killed here and not the machine: what was written stays in the system's memory."""


def binaries() -> Path | None:
    """Where this machine has PostgreSQL's programs, or None. Debian keeps them out of PATH."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(found) if (folder / "postgres").exists()), None)


class OwnServer:
    """A server on a free port, with a folder of its own; ``close`` removes it."""

    def __init__(self) -> None:
        programs = binaries()
        if programs is None:
            raise FileNotFoundError("initdb and postgres are not on this machine; apt-get install postgresql, or see PATH")
        self._programs = programs
        self._account = _account()
        self.folder = Path(tempfile.mkdtemp(prefix="posthorn-postgres-"))
        if self._account:
            shutil.chown(self.folder, self._account["user"], self._account["group"])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{self._port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb",
            "-D",
            str(self.folder / "data"),
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
            "--no-locale",
            "-E",
            "UTF8",
        )
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._answers():
            if self._process is None or self._process.poll() is not None:
                self._process = self._begin()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server in {self.folder} does not come up; see its log")
            time.sleep(_PAUSE_SECONDS)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it without a goodbye: SIGKILL to all its processes, or SIGQUIT, its own way to end at once."""
        if self._process is None:
            return
        children = _children(self._process.pid)
        self._process.send_signal(how)
        if how == signal.SIGKILL:
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        self._process.wait(_PATIENCE_SECONDS)
        self._process = None

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self) -> subprocess.Popen[bytes]:
        options = [word for option in (*_OPTIONS, f"port={self._port}") for word in ("-c", option)]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self.folder / "data"), *options],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._account,
            )  # fmt: skip

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=2):
            return True
        return False

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, **self._account)


class Database:
    """A database of its own, dropped by ``drop``. ``url`` is the ledger's."""

    def __init__(self, server_url: str, prefix: str = "posthorn_drill") -> None:
        url = make_url(server_url)
        self._server = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._name = f"{prefix}_{secrets.token_hex(5)}"
        self._tell(f"CREATE DATABASE {self._name}")
        self.url = url.set(drivername="postgresql+psycopg", database=self._name).render_as_string(hide_password=False)

    def through(self, port: int) -> str:
        """The ledger's URL by way of a proxy on that port of this machine."""
        return make_url(self.url).set(host="127.0.0.1", port=port).render_as_string(hide_password=False)

    def end_sessions(self) -> None:
        """End every session of the database."""
        self._tell(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._name}'")

    def drop(self) -> None:
        """Drop it, whoever uses it."""
        self._tell(f"DROP DATABASE IF EXISTS {self._name} WITH (FORCE)")

    def _tell(self, statement: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(statement)


def _account() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it is the account that its package has made."""
    if os.geteuid():
        return {}
    known = pwd.getpwnam("postgres")
    return {"user": known.pw_uid, "group": known.pw_gid, "extra_groups": []}


def _children(pid: int) -> list[int]:
    """The server's own processes: each is a session of its own, so a signal to a group would not reach them."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(word) for word in listed.split()]
