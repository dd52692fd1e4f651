"""Lists that live, through the commands: rows come late, leave, are corrected; a moment passes; a picture is refused."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Desk, Ended, order, told
from tests.delivery.event_journey import attendees, write_event
from tests.delivery.journey import PNG, numbers, write_campaign

pytestmark = pytest.mark.timeout(400)
SEND = "messages/send_mms"
SEND_TICKET = "sendMMSBarcode"


def stop_after(url: str, requests: int, call: str = SEND) -> None:
    """Have the provider refuse the account after so many requests, so that a run stops with the rest pending."""
    refusal = {"fault": "error_code", "code": "E713"} if call == SEND_TICKET else {"fault": "status_before", "status": 401}
    order("PUT", url, "faults", [{"call": call, "at": list(range(requests + 1, requests + 100)), **refusal}])


def go_on(url: str) -> None:
    order("PUT", url, "faults", [])


def send(desk: Desk, *more: str, code: int = 0, kind: str = "campaign", file: str = "sale.toml") -> Ended:
    ended = desk.run(kind, "send", file, "--json", *more)
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    return ended


def states(ended: Ended) -> dict[str, int]:
    """What the ledger says, without the input; it adds up."""
    assert ended.json["balanced"]
    return {state: count for state, count in ended.json["totals"].items() if count and state != "input"}


def write_list(desk: Desk, phones: Sequence[str]) -> None:
    (desk.folder / "recipients.csv").write_text("phone\n" + "\n".join(phones) + "\n")


def once(url: str, phones: Sequence[str]) -> None:
    """These had it once, nobody else had it, and nobody had it twice."""
    assert told(url, "counts") == dict.fromkeys(phones, 1)
    assert told(url, "truth")["twice"] == 0


@pytest.fixture
def small_chunks(quick_desk: Desk) -> Desk:
    """One request of ten numbers at a time."""
    quick_desk.variables.update(POSTHORN_SERWERSMS__CHUNK_SIZE="10", POSTHORN_SERWERSMS__CONCURRENCY="1")
    return quick_desk


def tickets(url: str) -> dict[str, list[str]]:
    """Which numbers each code was sent to."""
    found: dict[str, list[str]] = {}
    for one in told(url, "tickets")["items"]:
        found.setdefault(one["barcode"], []).append(one["to"])
    return found


def test_late_registrations_go_out_by_the_same_command_and_a_corrected_number_gets_the_ticket(
    quick_desk: Desk, box_url: str
) -> None:
    quick_desk.variables["POSTHORN_SKYCORE__CONCURRENCY"] = "1"
    rows = attendees(8)
    file = write_event(quick_desk.folder, rows)
    stop_after(box_url, 4, SEND_TICKET)
    stopped = send(quick_desk, kind="tickets", file=file.name, code=4)
    assert states(stopped) == {"accepted": 4, "pending": 4}
    go_on(box_url)
    corrected = "+16502539999,T00007"
    file = write_event(quick_desk.folder, [*attendees(11)[8:], *rows[:7], corrected])  # late ones stand at the top
    assert states(send(quick_desk, kind="tickets", file=file.name)) == {"accepted": 11}
    expected = dict(row.split(",")[::-1] for row in [*attendees(11), corrected])
    assert tickets(box_url) == {code: [phone.removeprefix("+")] for code, phone in expected.items()}


def test_a_row_that_left_is_refused_without_a_word_and_taken_out_with_it_for_good(small_chunks: Desk, box_url: str) -> None:
    write_campaign(small_chunks.folder, [*numbers(39), "50000"])
    stop_after(box_url, 2)
    assert states(send(small_chunks, code=4)) == {"accepted": 20, "pending": 19, "invalid": 1}
    go_on(box_url)
    out = numbers(39)[25:28]
    kept = [phone for phone in numbers(39) if phone not in out]
    write_list(small_chunks, [*kept, numbers(40)[39]])  # the last row is corrected, too
    for command in ("check", "send"):
        refused = small_chunks.run("campaign", command, "sale.toml")
        assert refused.code == 2, refused.err
        said = " ".join((refused.out + refused.err).split())
        assert "3 rows that are planned are missing from the list (3 pending): lines 27, 28, 29" in said
        assert "--accept-missing" in said
    assert told(box_url, "truth")["accepted"] == 20
    sent = [*kept, numbers(40)[39]]
    assert states(send(small_chunks, "--accept-missing")) == {"accepted": 37, "cancelled": 3}
    once(box_url, sent)
    write_list(small_chunks, numbers(40))
    assert states(send(small_chunks)) == {"accepted": 37, "cancelled": 3}
    once(box_url, sent)


def test_a_moment_that_passed_while_it_was_interrupted_is_no_dead_end(small_chunks: Desk, box_url: str) -> None:
    file = write_campaign(small_chunks.folder, numbers(30), send_at=moment(hours=1))
    stop_after(box_url, 1)
    assert states(send(small_chunks, code=4)) == {"scheduled": 10, "pending": 20}
    go_on(box_url)
    past = moment(minutes=-10)
    let_pass(small_chunks.folder / ".posthorn" / "ledger.db", past)
    write_campaign(small_chunks.folder, numbers(30), send_at=past)
    for command, code in (("check", 2), ("send", 4)):
        refused = small_chunks.run("campaign", command, file.name)
        assert refused.code == code, refused.err
        assert "its moment passed 10 min ago, 10 of 30 have left" in " ".join((refused.out + refused.err).split())
    assert states(send(small_chunks, "--late")) == {"scheduled": 10, "accepted": 20}
    once(box_url, numbers(30))


def moment(**delta: float) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat(timespec="seconds")


def let_pass(ledger: Path, past: str) -> None:
    """Have what is still to be sent lie at that moment, as waiting for it would."""
    with sqlite3.connect(ledger) as connection:
        ((definition,),) = connection.execute("SELECT definition FROM campaign").fetchall()
        connection.execute("UPDATE campaign SET definition = ?", [json.dumps({**json.loads(definition), "send_at": past})])
    connection.close()


def test_a_picture_that_the_provider_refuses_after_the_first_have_left_is_replaced(small_chunks: Desk, box_url: str) -> None:
    write_campaign(small_chunks.folder, numbers(30))
    stop_after(box_url, 1)
    assert states(send(small_chunks, code=4)) == {"accepted": 10, "pending": 20}
    (stored,) = files(small_chunks)
    assert small_chunks.run("files", "delete", stored["id"], "--yes").code == 0
    order("PUT", box_url, "faults", [{"call": "files/add", "fault": "error_code", "code": 4002}])
    refused = send(small_chunks, code=4)
    assert "poster.png" in refused.json["because"]
    assert states(refused) == {"accepted": 10, "pending": 20}
    go_on(box_url)
    (small_chunks.folder / "poster.png").write_bytes(PNG + b"\0")
    assert states(send(small_chunks)) == {"accepted": 30}
    once(box_url, numbers(30))


def files(desk: Desk) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = desk.run("files", "list", "--json").json
    return listed


def test_the_same_list_under_another_name_is_refused_and_then_left_out(small_chunks: Desk, box_url: str) -> None:
    write_campaign(small_chunks.folder, numbers(20))
    send(small_chunks)
    write_campaign(small_chunks.folder, numbers(25), name="again")
    refused = small_chunks.run("campaign", "send", "again.toml")
    assert refused.code == 2, refused.err
    said = " ".join((refused.out + refused.err).split())
    assert "sale" in said
    assert 'on_repeat = "skip"' in said
    assert told(box_url, "truth")["accepted"] == 20
    write_campaign(small_chunks.folder, numbers(25), name="again", on_repeat='"skip"')
    assert states(send(small_chunks, file="again.toml")) == {"suppressed": 20, "accepted": 5}
    once(box_url, numbers(25))
