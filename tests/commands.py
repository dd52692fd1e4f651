"""`posthorn` as a user runs it: a process in a folder of its own, with nothing of this machine's settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

COMMAND = Path(sys.executable).with_name("posthorn")
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(slots=True)
class Desk:
    """Somebody's folder, and the variables they have exported."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, *args: str, **more: str) -> Ended:
        """Run ``posthorn args``; ``more`` are further variables, an empty one unsets."""
        process = self.start(*args, **more)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return Ended(process.returncode, out, err)

    def start(self, *args: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(COMMAND), *args],
            cwd=self.folder,
            env=self.environment(more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8", "USER": "operator"}
        given = {**own, "PREFECT_HOME": str(self.folder / "prefect-home"), **self.variables, **(more or {})}
        return {name: value for name, value in given.items() if value}


def told(url: str, path: str, **query: str) -> Any:
    """What the sandbox there says under ``/_sandbox/``."""
    return httpx.get(f"{url}/_sandbox/{path}", params=query, timeout=30).json()


def order(method: str, url: str, path: str, body: object = None) -> None:
    httpx.request(method, f"{url}/_sandbox/{path}", json=body, timeout=30).raise_for_status()
