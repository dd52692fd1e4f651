"""`posthorn webhooks` as a process: what it says, and that what it has answered outlives it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import httpx

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
    assert "contradicts gala: another number" in shown.out.splitlines()[2]
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
    assert "contradictory news: 1 (not applied, for it contradicts the messages it names;" in status.out
    assert "555666" not in shown.out + json.dumps(told) + status.out
