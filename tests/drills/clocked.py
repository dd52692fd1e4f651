"""A sender whose clocks a test moves: the drills' worker in a process of its own, under libfaketime.

``python -m tests.drills.clocked FILE SETTINGS`` is that process. Nothing but tests needs libfaketime.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from posthorn.settings import Settings

ROOT = Path(__file__).parents[2]
_PATIENCE_SECONDS = 90.0


def library() -> Path | None:
    """Where libfaketime is, or None."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


class Clocked:
    """The sender of one campaign, all of whose clocks (or its wall clock only) are off by what ``set_clock`` says."""

    def __init__(self, file: Path, settings: Settings, *, only_wall_clock: bool) -> None:
        self._file, self._settings = file, settings
        self._only_wall_clock = only_wall_clock
        self._offset = settings.state_dir / "clock"
        self.set_clock(0)
        self._process: asyncio.subprocess.Process | None = None

    def set_clock(self, seconds: int) -> None:
        """Have the clocks differ from the machine's by so much, from now on."""
        new = self._offset.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n", encoding="ascii")
        new.replace(self._offset)  # it is read at every question for the time

    async def start(self) -> None:
        """Start it."""
        arguments = [str(self._file), self._settings.model_dump_json()]
        secret = self._settings.serwersms.token
        assert secret is not None
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.drills.clocked", *arguments,
            cwd=ROOT, stderr=asyncio.subprocess.STDOUT, stdout=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                "LD_PRELOAD": str(library()),
                "FAKETIME_TIMESTAMP_FILE": str(self._offset),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_RESET": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": str(int(self._only_wall_clock)),
                "TOKEN": secret.get_secret_value(),
            },
        )  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        """Stop it, wake it, end it."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code (``tests.drills.worker``); anything else is raised with what it said."""
        assert self._process is not None
        async with asyncio.timeout(_PATIENCE_SECONDS):
            said, _ = await self._process.communicate()
        code = self._process.returncode
        assert code in (0, 10, 11), f"exit code {code}: {said.decode()}"
        return code

    async def end(self) -> None:
        """End it, whatever it is doing."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()


def main() -> int:
    """Deliver once."""
    from tests.drills.worker import deliver  # noqa: PLC0415 - not in the tests' own process

    settings = Settings.model_validate_json(sys.argv[2])
    gateway = settings.serwersms.model_copy(update={"token": os.environ["TOKEN"]})
    return deliver(Path(sys.argv[1]), Settings.model_validate({**settings.model_dump(), "serwersms": gateway.model_dump()}))


if __name__ == "__main__":
    sys.exit(main())
