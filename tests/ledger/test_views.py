"""Views over several campaigns: one number's history, the same message under another name, and the views for dashboards."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from posthorn.ledger import deliveries, sending, totals, waves
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.history import history
from posthorn.ledger.repeats import Asked, Repeats, note_cleared
from posthorn.ledger.store.engine import Ledger
from posthorn.models import TOTALS, Phone, Receipt
from tests.ledger.ledgers import FIRST_PHONE, REJECTED, UNKNOWN, answer, claimed, planned


def test_one_number_is_found_in_every_campaign_with_where_it_stands(ledger: Ledger) -> None:
    first, second = planned(ledger, 10, name="first"), planned(ledger, 10, name="second", first=5)
    claim = claimed(ledger, first)
    sending.record(ledger, claim, answer(claim, REJECTED))
    claimed(ledger, second)
    both = history(ledger, Phone(FIRST_PHONE + 9))
    assert [(entry.name, entry.state) for entry in both] == [("first", "rejected"), ("second", "sending")]
    assert [entry.name for entry in history(ledger, Phone(FIRST_PHONE + 1))] == ["first"]
    assert history(ledger, Phone(FIRST_PHONE - 1)) == []


# What became of the first campaign, and how many numbers of a second with the same content it has, or will have, reached.
REACHED: dict[str, tuple[tuple[Receipt, ...] | None, bool, int]] = {
    "nothing yet, and nobody runs it": (None, False, 0),
    "nothing yet, but somebody runs it": (None, True, 5),
    "two of them refused": ((REJECTED, REJECTED), False, 3),
}


@pytest.mark.parametrize("case", REACHED)
def test_the_same_message_to_numbers_in_common_is_a_repeat(case: str, ledger: Ledger) -> None:
    said, is_run, numbers = REACHED[case]
    first = planned(ledger, 10, name="first")
    if said is not None:
        claim = claimed(ledger, first)
        sending.record(ledger, claim, answer(claim, *said))
    if is_run:
        ledger.locks.acquire(first.lock_key)
        note_cleared(ledger, first, time.time())

    def repeated(name: str, start: int, since: float = 0) -> list[tuple[str, int]]:
        asked = Repeats(ledger, name, first.content, since=since)
        asked.add(
            [
                Asked(line, Phone(phone))
                for line, phone in enumerate(range(FIRST_PHONE + start, FIRST_PHONE + start + 10), start=2)
            ]
        )
        return [(repeat.name, repeat.numbers) for repeat in asked.found()]

    assert repeated("second", 5) == ([("first", numbers)] if numbers else [])
    assert repeated("second", 5, since=2e10) == ([("first", 5)] if is_run else []), "what will leave counts whenever"
    assert repeated("third", 100) == []


VIEWS = {
    "v_campaign_totals": "campaign",
    "v_error_codes": "code",
    "v_hourly": "hour",
}


def view(ledger: Ledger, name: str) -> list[dict[str, Any]]:
    with ledger.read() as connection:
        rows = connection.execute(sa.text(f"SELECT * FROM {name} ORDER BY {VIEWS[name]}")).mappings()
        return [dict(row) for row in rows]


def half_sent(ledger: Ledger) -> Delivery:
    """30 messages: a chunk answered with one refused and one unknown, a chunk in flight, a chunk that nobody took yet."""
    campaign = planned(ledger, 30)
    first, _ = claimed(ledger, campaign), claimed(ledger, campaign)
    sending.record(ledger, first, answer(first, REJECTED, UNKNOWN))
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE message SET error = '3103' WHERE state = 3"))
    return campaign


def test_the_view_of_totals_says_what_the_status_says(ledger: Ledger) -> None:
    campaign = half_sent(ledger)
    (row,) = view(ledger, "v_campaign_totals")
    assert {name: row[name] for name in TOTALS} == totals.totals(ledger, campaign)
    assert (row["pending"], row["sending"], row["accepted"], row["rejected"], row["unknown"]) == (10, 10, 8, 1, 1)
    assert (row["campaign"], row["kind"], bool(row["test"]), bool(row["balanced"])) == ("sale", "campaign", False, True)
    assert row["state"] == "stopped"
    assert seconds_of(row["created_at"]) == int(campaign.created_at)
    assert row["run_started_at"] is None
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE campaign SET input = input + 1"))
    assert [bool(row["balanced"]) for row in view(ledger, "v_campaign_totals")] == [False], "counted, never assumed"


def test_the_view_of_totals_knows_what_waits_and_what_was_halted(ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    started = deliveries.start_run(ledger, campaign, by="the test")
    deliveries.end_run(ledger, campaign, started, goes_on_for="hours", goes_on_at=4e9)
    assert [row["state"] for row in view(ledger, "v_campaign_totals")] == ["waiting"]
    waves.halt(ledger, campaign, "too much went wrong")
    assert [row["state"] for row in view(ledger, "v_campaign_totals")] == ["needs_attention"]


def test_the_views_of_codes_and_hours_count_messages_and_requests_once(ledger: Ledger) -> None:
    campaign = half_sent(ledger)
    assert [(row["campaign"], row["code"], row["messages"]) for row in view(ledger, "v_error_codes")] == [
        ("sale", "3103", 1)
    ]
    third = claimed(ledger, campaign)
    sending.release(ledger, third)
    again = claimed(ledger, campaign)
    sending.record(ledger, again, answer(again))
    with ledger.write() as connection:  # all of it in one hour, however late in an hour the test runs
        connection.execute(sa.text("UPDATE attempt SET started_at = 7200.5"))
        connection.execute(sa.text("UPDATE chunk SET finished_at = 10799.5 WHERE finished_at IS NOT NULL"))
    (row,) = view(ledger, "v_hourly")
    assert (seconds_of(row["hour"]), row["campaign"]) == (7200, "sale")
    assert {name: row[name] for name in ("requests", "answered", "not_taken", "sending", "unknown")} == {
        "requests": 4,
        "answered": 2,
        "not_taken": 1,
        "sending": 1,
        "unknown": 0,
    }
    assert row["messages_accepted"] == 18


def test_no_view_shows_a_number(ledger: Ledger) -> None:
    half_sent(ledger)
    shown = "".join(str(row) for name in VIEWS for row in view(ledger, name))
    assert "sale" in shown
    assert str(FIRST_PHONE)[:-3] not in shown


def seconds_of(moment: Any) -> int:
    """The view's time, text on SQLite and a datetime on PostgreSQL, as seconds since 1970."""
    parsed = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    assert parsed.tzinfo is not None
    return int(parsed.timestamp())
