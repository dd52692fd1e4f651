"""What every measurement needs: a folder, a sandbox in a process of its own, and the measured code in another one."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from sqlalchemy.engine import make_url

from posthorn.cli.sandbox_process import sandbox_process
from posthorn.process.prefect_server import bound_command, stop
from tests.delivery.journey import PNG

CONCURRENCY = 8
CHUNK = 200
PATIENCE_SECONDS = 900
"""No measurement may hang the bench: a child that takes longer is ended, and its line says so."""

POSTGRES_URL = "POSTHORN_TEST_POSTGRES_URL"
_FIRST_PHONE = 48_500_000_000


@dataclass(slots=True)
class Scene:
    """A folder with a ledger in it, and a running sandbox."""

    folder: Path
    url: str
    variables: dict[str, str]
    _others: int = field(default=0, init=False)

    def campaign(self, count: int, name: str = "bench") -> Path:
        """A campaign file and its ``count`` recipients."""
        (self.folder / "poster.png").write_bytes(PNG)
        with (self.folder / f"{name}.csv").open("w", encoding="utf-8") as file:
            file.write("phone\n")
            file.writelines(f"+{phone}\n" for phone in range(_FIRST_PHONE, _FIRST_PHONE + count))
        toml = self.folder / f"{name}.toml"
        toml.write_text(
            f'name = "{name}"\ntitle = "Bench"\ntext = "-30%"\nmedia = ["poster.png"]\nrecipients = "{name}.csv"\n'
            f"chunk_size = {CHUNK}\n",
            encoding="utf-8",
        )
        return toml

    def measure(self, verb: str, *arguments: object, **variables: str) -> dict[str, Any]:
        """What ``tests.bench.child`` measured in a process of its own."""
        return self.finish(self.start(verb, *arguments, **variables))

    def start(self, verb: str, *arguments: object, **variables: str) -> subprocess.Popen[str]:
        """Start a measurement that runs beside others."""
        return self.run("-m", "tests.bench.child", verb, *map(str, arguments), **variables)

    def run(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start ``python arguments`` in the scene's folder and with its variables."""
        return subprocess.Popen(
            bound_command(*arguments),
            cwd=self.folder,
            env={**_ours(), **self.variables, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start_waiting(self, verb: str, *arguments: object) -> subprocess.Popen[str]:
        """Start a measurement that says when it is ready, and waits for ``go``."""
        process = self.start(verb, *arguments)
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            self.finish(process)
            raise RuntimeError("a measurement did not become ready")
        return process

    def go(self, process: subprocess.Popen[str]) -> None:
        """Let it begin."""
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    def finish_quietly(self, process: subprocess.Popen[str]) -> None:
        """Wait for a command whose output does not matter."""
        try:
            process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            stop(process)

    def finish(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """The figures that a measurement printed last."""
        try:
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            stop(process)
        if process.returncode != 0:
            raise RuntimeError(f"a measurement failed with {process.returncode}: {(err or out)[-2000:]}")
        figures: dict[str, Any] = json.loads(out.splitlines()[-1])
        return figures

    def told(self) -> dict[str, Any]:
        """What the sandbox says has really happened."""
        truth: dict[str, Any] = httpx.get(f"{self.url}/_sandbox/truth", timeout=60).json()
        return truth

    def advance(self, seconds: float) -> None:
        """Let the sandbox's messages age."""
        httpx.post(f"{self.url}/_sandbox/clock", json={"advance_seconds": seconds}, timeout=60).raise_for_status()


@contextmanager
def scene(*, latency: float = 0.0, database: str = "sqlite") -> Iterator[Scene]:
    """A fresh scene; ``database`` is ``sqlite`` or ``postgresql``."""
    with (
        tempfile.TemporaryDirectory(prefix="posthorn-bench-") as temporary,
        sandbox_process("--latency", str(latency)) as box,
        _database(Path(temporary), database) as url,
    ):
        variables = {
            **box.variables,
            "POSTHORN_DATABASE_URL": url,
            "POSTHORN_STATE_DIR": temporary,
            "POSTHORN_GUARD_DIR": f"{temporary}/marks",
            "POSTHORN_SERWERSMS__CONCURRENCY": str(CONCURRENCY),
            "POSTHORN_SKYCORE__CONCURRENCY": str(CONCURRENCY),
            "PREFECT_HOME": f"{temporary}/prefect-home",
            "HOME": temporary,
        }
        yield Scene(Path(temporary), box.url, variables)


def has_postgres() -> bool:
    """Whether a PostgreSQL server for tests is named in the environment."""
    return bool(os.environ.get(POSTGRES_URL))


@contextmanager
def _database(folder: Path, kind: str) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'ledger.db'}"
        return
    server = make_url(os.environ[POSTGRES_URL]).set(drivername="postgresql")
    name = f"posthorn_bench_{os.getpid()}_{time.monotonic_ns()}"
    admin = server.render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield server.set(drivername="postgresql+psycopg", database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _ours() -> Mapping[str, str]:
    """This environment without the operator's own settings, and with the repository on Python's path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("POSTHORN_", "PREFECT_"))}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}
