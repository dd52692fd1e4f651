"""`posthorn webhooks` as a process: what it says, and that what it has answered outlives it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import httpx

from tests.commands import Desk
from tests.webhooks.receiver import SECRET


def test_both_urls_are_said_and_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"POSTHORN_WEBHOOK_SECRET": SECRET, "POSTHORN_DATABASE_URL": "sqlite:///ledger.db"})
    process = desk.start("webhooks", "--port", "0")
    assert process.stderr is not None
    ready = [process.stderr.readline() for _ in range(2)]
    try:
        url = ready[0].removeprefix("ready ").partition("/SECRET")[0]
        assert ready == [
            f"ready {url}/SECRET/skycore\n",
            f"ready {url}/SECRET/serwersms?id=#SMSID#&state=#STAN#&date=#DATA#&reason=#PRZYCZYNA#\n",
        ]
        assert httpx.get(f"{url}/{SECRET}/serwersms?id=abc&state=delivered").status_code == 200
    finally:
        process.kill()
        said = "".join(ready) + "".join(process.communicate())
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        assert ledger.execute("SELECT provider_id FROM parked_report").fetchall() == [("abc",)]
    assert SECRET not in said
