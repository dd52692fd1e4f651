"""`posthorn webhooks` as a process: what it says, and that what it has answered outlives it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import httpx
import pytest

from posthorn.ledger.news import take_news
from posthorn.ledger.parked import News
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MessageState, Phone
from tests.commands import Desk
from tests.ledger.test_tickets import gala, sent
from tests.webhooks.receiver import SECRET


def test_both_urls_are_said_and_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"POSTHORN_WEBHOOK_SECRET": SECRET, "POSTHORN_DATABASE_URL": "sqlite:///ledger.db"})
    process = desk.start("webhooks", "--port", "0")
    assert process.stderr is not None
    ready = [process.stderr.readline() for _ in range(2)]
    try:
        url = ready[0].removeprefix("ready ").partition("/SECRET")[0]
        assert ready == [
            f"ready {url}/SECRET/serwersms?id=#SMSID#&state=#STAN#&date=#DATA#&reason=#PRZYCZYNA#\n",
            f"ready {url}/SECRET/skycore\n",
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
        process.terminate()  # kindly: what it says after "ready" is said before it ends
        told = process.stderr.read()  # not communicate(): it would miss what came together with the first line
        process.communicate()
    assert ("POSTHORN_HOST_NAMES" in told) is ((host == "127.0.0.1" and not names) or status == 404)


def test_parked_news_is_listed_with_masked_numbers(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"POSTHORN_DATABASE_URL": "sqlite:///ledger.db"})
    empty = desk.run("webhooks", "--parked")
    assert (empty.code, empty.out) == (0, "no news is parked\n")
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    try:
        event = gala(ledger, 2)
        sent(ledger, event, (MessageState.ACCEPTED, "known"))
        phone = Phone(48_555_666_777)
        take_news(ledger, [News("nobody", MessageState.ACCEPTED, phone), News("known", MessageState.DELIVERED, phone)])
    finally:
        ledger.close()
    shown = desk.run("webhooks", "--parked")
    assert shown.code == 0
    assert "contradicts gala: another number" in shown.out.splitlines()[3]
    assert "no message has this id (yet)" in shown.out
    assert "contradictory news: 1 of 2 parked" in shown.out
    told = desk.run("webhooks", "--parked", "--json").json
    assert (told["parked"], told["contradictory"]) == (2, 1)
    first = {key: told["news"][0][key] for key in ("id", "number", "says", "contradicts", "campaign")}
    assert first == {
        "id": "known",
        "number": "+48 *** *** 777",
        "says": "delivered",
        "contradicts": "another number",
        "campaign": "gala",
    }
    status = desk.run("tickets", "status", "gala")
    assert "contradictory news: 1 (not applied, because it contradicts the messages it names;" in status.out
    assert "555666" not in shown.out + json.dumps(told) + status.out
