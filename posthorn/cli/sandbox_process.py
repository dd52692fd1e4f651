"""The sandbox in its own process, for the demo."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from posthorn.errors import InputError
from posthorn.process.prefect_server import bound_command

_TOKEN = "demo-token"  # noqa: S105 - the sandbox's own


@dataclass(frozen=True, slots=True)
class SandboxProcess:
    """A running sandbox: where it is, and the variables that point Posthorn to it."""

    url: str
    variables: dict[str, str]


@contextmanager
def sandbox_process(*options: str) -> Iterator[SandboxProcess]:
    """Run ``posthorn sandbox`` with ``options`` on a free port until the block ends."""
    command = bound_command(
        "-m", "posthorn", "sandbox", "--quiet", "--port", "0", "--token", _TOKEN, "--api-key", _TOKEN, *options
    )
    process = subprocess.Popen(  # noqa: S603 - our own command
        command,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("ready "):
            raise InputError("sandbox", "it did not start; its output is above")
        url = line.split()[1]
        yield SandboxProcess(url, _variables(url))
    finally:
        process.terminate()
        process.communicate()


def _variables(url: str) -> dict[str, str]:
    return {
        "POSTHORN_SERWERSMS__BASE_URL": url,
        "POSTHORN_SERWERSMS__TOKEN": _TOKEN,
        "POSTHORN_SKYCORE__BASE_URL": f"{url}/API/wxml/1.3/index.php",
        "POSTHORN_SKYCORE__API_KEY": _TOKEN,
    }
