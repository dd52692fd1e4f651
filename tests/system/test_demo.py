"""The first thing that a new person runs: the demo says where its sandbox is, and with --keep it stays to be looked at."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import httpx

from tests.commands import Desk
from tests.terminal import Terminal


def test_the_demo_names_its_sandbox_and_stays_until_it_is_interrupted(tmp_path: Path) -> None:
    terminal = Terminal(Desk(tmp_path), "demo", "--recipients", "20", "--attendees", "10", "--keep", "kept")
    terminal.read_until("It stays until you press Ctrl-C.")
    assert "campaign demo-autumn-sale: \x1b[32mfinished" in terminal.shown
    assert "event demo-jazz-night: \x1b[32mfinished" in terminal.shown
    url = re.findall(r"See what would have arrived: (http://127\.0\.0\.1:\d+)/", terminal.shown)[0]
    assert f"stands in for the providers at {url}" in terminal.shown
    assert httpx.get(f"{url}/_sandbox/truth", timeout=30, trust_env=False).json()["twice"] == 0
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 0
    assert "To see the messages again" in terminal.shown
    assert {"ledger.db", "inbox.jsonl", "recipients.csv"} <= {path.name for path in (tmp_path / "kept").iterdir()}
