"""The short form of ``make drill``: a few rounds in every test run, each repeatable by its seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.drills.postgres import binaries

ROOT = Path(__file__).parents[2]


def drill(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: the rounds fork, and pytest's process may have threads."""
    command = [sys.executable, "-W", "error", "-m", "tests.drills.runner", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.drill
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("database", "rounds", "seed"), [("sqlite", 6, 1), ("postgresql", 3, 11)])
def test_killed_anywhere_and_started_again_nobody_is_sent_to_twice_or_forgotten(
    database: str, rounds: int, seed: int
) -> None:
    if database == "postgresql" and not (os.environ.get("POSTHORN_TEST_POSTGRES_URL") or binaries()):
        assert os.environ.get("CI") != "true", "POSTHORN_TEST_POSTGRES_URL is not set: nothing was drilled on PostgreSQL"
        pytest.skip("POSTHORN_TEST_POSTGRES_URL is not set: nothing was drilled on PostgreSQL")
    done = drill("--rounds", str(rounds), "--recipients", "600", "--seed", str(seed), "--jobs", "2", "--database", database)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert f"{rounds} rounds of 600 recipients" in done.stdout
