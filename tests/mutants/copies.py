"""Scratch copies of the checkout, each with an interpreter that imports the copy's code, in every process it starts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.mutants.catalogue import ROOT, Fault


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run of tests ended: pytest's exit code (None: it did not end in time) and what it printed."""

    code: int | None
    said: str

    @property
    def failed(self) -> list[str]:
        """The tests that failed, as pytest names them."""
        return [line.split()[1] for line in self.said.splitlines() if line.startswith("FAILED ")]


@dataclass(slots=True)
class Copy:
    """One copy in ``folder``; it runs one thing at a time."""

    folder: Path
    _running: subprocess.Popen[str] | None = field(default=None, init=False)

    @classmethod
    def make(cls, folder: Path) -> Copy:
        """Copy what Git would, uncommitted changes included, and make the copy an environment."""
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        for name in filter(None, names):
            if (source := ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, folder / name)
        _make_environment(folder)
        return cls(folder)

    def with_fault(self, fault: Fault, seconds: float) -> Ran:
        """Run the fault's tests with the fault in the code, up to the first that fails, and take it out again."""
        path = self.folder / fault.file
        text = path.read_text(encoding="utf-8")
        try:
            self._write(path, fault.applied(text))
            return self.tests([*fault.tests, "-x"], seconds)
        finally:
            self._write(path, text)

    def tests(self, arguments: Sequence[str], seconds: float | None = None) -> Ran:
        """Run pytest here; whatever it started and left is ended with it."""
        command = [
            self._python,
            "-m",
            "pytest",
            "-p",
            "no:rerunfailures",
            "-rf",
            "--no-header",
            "--tb=short",
            f"--basetemp={self.folder / '.tmp'}",
        ]
        self._running = subprocess.Popen(
            [*command, *arguments],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = self._running.communicate(timeout=seconds)
            return Ran(self._running.returncode, said)
        except subprocess.TimeoutExpired:
            self.end()
            return Ran(None, self._running.communicate()[0])
        finally:
            self.end()

    def end(self) -> None:
        """End whatever still runs."""
        if self._running:
            with suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()

    @property
    def _python(self) -> str:
        return str(self.folder / ".venv" / "bin" / "python")

    def _environment(self) -> dict[str, str]:
        path = f"{self.folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "VIRTUAL_ENV": str(self.folder / ".venv")}

    @staticmethod
    def _write(path: Path, text: str) -> None:
        """A change within the same second and of the same length would not be seen beside the compiled file."""
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".py":
            Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)


def _make_environment(folder: Path) -> None:
    """An environment that finds the copy's packages first and the libraries of this one; its commands run the copy."""
    own = folder / ".venv"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(own)
    site = sysconfig.get_path("purelib", "venv", vars={"base": str(own), "platbase": str(own)})
    # Plain entries, so that the .pth files of this environment (which lead to this checkout) are not read.
    (Path(site) / "copy.pth").write_text(f"{folder}\n{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    for script in Path(sys.executable).parent.iterdir():
        _bring(script, own / "bin" / script.name)


def _bring(script: Path, here: Path) -> None:
    if here.exists() or not script.is_file():
        return
    content = script.read_bytes()
    shebang = f"#!{script.parent}".encode()
    if content.startswith(shebang):
        here.write_bytes(content.replace(shebang, f"#!{here.parent}".encode(), 1))
        here.chmod(0o755)
    else:
        here.symlink_to(script)
