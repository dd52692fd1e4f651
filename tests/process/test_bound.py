"""A process that is bound to ours starts in any installation: its own modules do not stand in for those of Python."""

from __future__ import annotations

import subprocess

from posthorn.process.prefect_server import bound_command


def test_a_bound_process_starts_where_no_installation_has_loaded_anything_before() -> None:
    """An editable installation loads much of Python at its start, and would hide it."""
    python, *rest = bound_command("-S", "-c", "import operator; print(operator.add(1, 2))")
    done = subprocess.run([python, "-S", *rest], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
