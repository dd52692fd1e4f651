"""The short form of the large campaign in little memory: `make drill` has a million rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.drill
@pytest.mark.timeout(400)
def test_a_hundred_thousand_rows_are_planned_and_exported_in_little_memory() -> None:
    command = [sys.executable, "-m", "tests.drills.million", "--rows", "100000", "--send", "10000", "--megabytes", "384"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    for line in ("planned 100,000 in", "exported 100,000 in", "sent 10,000 in"):
        assert line in done.stdout
