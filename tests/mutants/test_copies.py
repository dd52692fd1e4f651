"""A copy runs its own code, in every process; a fault is in it only while its tests run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.mutants.catalogue import ROOT, Fault
from tests.mutants.copies import Copy

WHERE = (
    "import deployments, flows, posthorn, tasks; print(*(it.__path__[0] for it in (deployments, flows, posthorn, tasks)))"
)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy.make(tmp_path / "copy")


def a_fault(test: str) -> Fault:
    """The command cannot even be imported."""
    text = (ROOT / "posthorn" / "cli" / "app.py").read_text(encoding="utf-8")
    first = text[: text.index('"""', 3)]
    return Fault(
        name="a broken command", kind="lesser", file="posthorn/cli/app.py", old=first, new="1 / 0\n" + first, tests=(test,)
    )


def test_processes_of_a_copy_import_the_copy_wherever_they_are_started(copy: Copy, tmp_path: Path) -> None:
    python = copy.folder / ".venv" / "bin" / "python"
    said = subprocess.run([python, "-c", WHERE], cwd=tmp_path, env={}, capture_output=True, text=True, check=True).stdout
    assert said.split() == [str(copy.folder / name) for name in ("deployments", "flows", "posthorn", "tasks")]


def test_a_fault_breaks_the_command_that_a_test_starts_and_is_taken_out_again(copy: Copy, tmp_path: Path) -> None:
    test = tmp_path / "copy" / "tests" / "test_it.py"
    test.write_text(
        "import subprocess, sys, pathlib\n"
        "def test_the_command_works(tmp_path):\n"
        "    command = pathlib.Path(sys.executable).with_name('posthorn')\n"
        "    subprocess.run([command, '--help'], cwd=tmp_path, env={'HOME': str(tmp_path)}, check=True)\n",
        encoding="utf-8",
    )
    fault = a_fault("tests/test_it.py")
    ran = copy.with_fault(fault, 100)
    assert (ran.code, ran.failed) == (1, ["tests/test_it.py::test_the_command_works"])
    assert copy.tests(["tests/test_it.py"]).code == 0


def test_tests_that_do_not_end_are_ended_and_are_no_failure(copy: Copy) -> None:
    (copy.folder / "tests" / "test_it.py").write_text("def test_it():\n    while True: ...\n", encoding="utf-8")
    ran = copy.with_fault(a_fault("tests/test_it.py"), 0.1)
    assert (ran.code, ran.failed) == (None, [])
