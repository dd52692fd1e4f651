"""`posthorn webhooks` as a process: what it says, and that what it has answered outlives it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import httpx
import pytest

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


# How it is started, what a request says, and whether it is taken.
DOORS = {
    "by its address": ({}, {}, 200),
    "by a rebound name": ({}, {"Host": "evil.example"}, 404),
    "by a proxy's name that nobody has set": ({}, {"Host": "mms.example.com"}, 404),
    "by a proxy's name": ({"POSTHORN_HOST_NAMES": "mms.example.com"}, {"Host": "mms.example.com"}, 200),
    "by another name": ({"POSTHORN_HOST_NAMES": "mms.example.com"}, {"Host": "evil.example"}, 404),
    "from a page": ({}, {"Origin": "https://evil.example"}, 404),
    "from a page of another port": ({}, {"Origin": "http://127.0.0.1:3000"}, 404),
    "as a page's picture": ({}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 404),
    "by any name, where others may come": ({"host": "0.0.0.0"}, {"Host": "posthorn"}, 200),
    "from a page, where others may come": ({"host": "0.0.0.0"}, {"Host": "x", "Origin": "https://evil.example"}, 404),
}


@pytest.mark.parametrize("case", DOORS)
def test_a_web_page_that_knows_the_secret_pushes_no_news(case: str, tmp_path: Path) -> None:
    settings, said, status = DOORS[case]
    host = settings.get("host", "127.0.0.1")
    names = {name: value for name, value in settings.items() if name != "host"}
    variables = {"POSTHORN_WEBHOOK_SECRET": SECRET, "POSTHORN_DATABASE_URL": "sqlite:///ledger.db", **names}
    process = Desk(tmp_path, variables).start("webhooks", "--port", "0", "--host", host)
    assert process.stderr is not None
    try:
        url = process.stderr.readline().removeprefix("ready ").partition("/SECRET")[0].replace("0.0.0.0", "127.0.0.1")
        news = f"{url}/{SECRET}/serwersms?id=abc&state=delivered"
        assert {httpx.get(news, headers=said).status_code, httpx.post(news, headers=said).status_code} == {status}
    finally:
        process.kill()
        told = "".join(process.communicate())
    assert ("POSTHORN_HOST_NAMES" in told) is ((host == "127.0.0.1" and not names) or status == 404)
