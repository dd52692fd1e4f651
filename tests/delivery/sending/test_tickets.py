"""An event's tickets: each pair of number and code once by the sandbox's truth, whatever goes wrong."""

from __future__ import annotations

import asyncio
import csv
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from posthorn.delivery.deciding.meant import looked_after
from posthorn.delivery.deciding.resend import resend_all, resend_named
from posthorn.delivery.deciding.resolve import resolve
from posthorn.delivery.planning import check
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.planning.preview import preview
from posthorn.delivery.running.pace import Pace
from posthorn.delivery.running.run import TicketRun
from posthorn.delivery.sending.exchange import TicketExchange
from posthorn.errors import CreditExhausted, InputError, OutcomeUnknown, SlowDown
from posthorn.gateways.skycore.client import Skycore
from posthorn.ledger.claims import Claim
from posthorn.models import Answer, Kind, MessageState, Phone, Receipt
from posthorn.sandbox.server import Sandbox
from posthorn.views.export import export_csv
from tests.delivery.event_journey import attendees, send_event, ticket_settings, tickets_of, write_event
from tests.delivery.journey import counted, status_of
from tests.ledger.ledgers import delivery, event_content

SEND = "sendMMSBarcode"


async def test_everybody_gets_one_ticket_and_a_second_run_sends_nothing(box: Sandbox, tmp_path: Path) -> None:
    rows = attendees(300)
    rows[10] = "call me,T00010"
    rows[20] = rows[20].replace("T00020", "T00005")
    settings = ticket_settings(box.url, tmp_path)
    status = await send_event(write_event(tmp_path, rows), settings)
    assert counted(status) == {"invalid": 2, "accepted": 298}
    truth = box.truth()
    assert (truth["skycore"]["accepted"], truth["skycore"]["pairs"], truth["skycore"]["twice"]) == (298, 298, 0)
    assert truth["max_in_flight"] <= settings.skycore.concurrency
    sent = tickets_of(settings)
    assert len({ticket.provider_id for ticket in sent}) == 298
    assert None not in {ticket.provider_id for ticket in sent}
    rejects = (tmp_path / "gala.rejects.csv").read_text(encoding="utf-8")
    assert "not a number" in rejects
    assert "the barcode id is used in line 7 already" in rejects
    again = await send_event(tmp_path / "gala.toml", settings)
    assert box.truth()["send_requests"] == truth["send_requests"]
    assert again["totals"] == status["totals"]


async def test_one_number_with_two_codes_gets_both_one_after_the_other(box: Sandbox, tmp_path: Path) -> None:
    rows = ["+16502530000,A1", "+16502530000,A2", "+16502530000,A3", "+16502530001,B1"]
    settings = ticket_settings(box.url, tmp_path)
    status = await send_event(write_event(tmp_path, rows), settings)
    assert counted(status) == {"accepted": 4}
    assert box.truth()["skycore"]["pairs"] == 4


async def test_missing_codes_are_generated_once_and_kept(box: Sandbox, tmp_path: Path) -> None:
    settings = ticket_settings(box.url, tmp_path)
    file = write_event(tmp_path, ["+16502530000,", "+16502530001,MINE", "+16502530002,"], barcode='"generate"')
    await send_event(file, settings)
    codes = [ticket.barcode for ticket in tickets_of(settings)]
    assert codes[1] == "MINE"
    assert len(set(codes)) == 3
    assert all(len(code) >= 12 for code in (codes[0], codes[2]))
    await send_event(file, settings)
    assert [ticket.barcode for ticket in tickets_of(settings)] == codes


LOST = {
    "reset before": ({"fault": "reset_before"}, 99),
    "reset after": ({"fault": "reset_after"}, 100),
    "hang after": ({"fault": "hang_after"}, 100),
    "500 before": ({"fault": "status_before", "status": 500}, 99),
    "500 after": ({"fault": "status_after", "status": 500}, 100),
    "429 before": ({"fault": "status_before", "status": 429, "retry_after": "0"}, 99),
    "429 after": ({"fault": "status_after", "status": 429, "retry_after": "0"}, 100),
    "truncated": ({"fault": "truncated"}, 100),
    "empty": ({"fault": "empty"}, 100),
    "HTML": ({"fault": "html"}, 100),
    "success without a tracking id": ({"fault": "success_without_trackingid"}, 100),
    "internal error E503": ({"fault": "error_code", "code": "E503"}, 99),
}


@pytest.mark.parametrize("case", LOST)
async def test_a_lost_answer_leaves_one_ticket_unknown_and_never_sends_it_again(
    case: str, box: Sandbox, tmp_path: Path
) -> None:
    rule, taken = LOST[case]
    box.faults.replace([{"call": SEND, "at": [5], **rule}])
    settings = ticket_settings(box.url, tmp_path)
    file = write_event(tmp_path, attendees(100))
    status = await send_event(file, settings)
    assert counted(status) == {"accepted": 99, "unknown": 1}
    assert status["state"] == "needs_attention"
    await send_event(file, settings)
    truth = box.truth()["skycore"]
    assert (truth["accepted"], truth["twice"]) == (taken, 0)


# code, how the rest of the event goes on: accepted, and what the concerned ticket is
EACH_CODE = {
    # this attendee only
    "E110": ({"rejected": 1, "accepted": 9}, "needs_attention"),
    "E628": ({"rejected": 1, "accepted": 9}, "needs_attention"),
    "E715": ({"rejected": 1, "accepted": 9}, "needs_attention"),
    # account, template or shortcode: stops after the first
    **{
        code: ({"accepted": 2, "pending": 8}, "stopped")
        for code in ("E111", "E241", "E620", "E623", "E629", "E630", "E632", "E633", "E713", "E714")
    },
    # a row's own gap
    "E621": ({"rejected": 1, "accepted": 9}, "needs_attention"),
    "E631": ({"rejected": 1, "accepted": 9}, "needs_attention"),
    # unheard of: nobody knows what it means for the ticket, so nothing more is sent
    "E999": ({"accepted": 2, "unknown": 1, "pending": 7}, "stopped"),
}


@pytest.mark.parametrize("code", EACH_CODE)
async def test_each_code_of_the_page(code: str, box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "at": [3], "fault": "error_code", "code": code}])
    settings = ticket_settings(box.url, tmp_path, concurrency=1)
    status = await send_event(write_event(tmp_path, attendees(10)), settings)
    expected, state = EACH_CODE[code]
    assert (counted(status), status["state"]) == (expected, state)
    if state == "stopped":
        assert code in status["because"], "the operator reads which code it was"
    else:
        assert status["errors"] == {code: 1}
    again = await send_event(tmp_path / "gala.toml", settings)
    assert again["totals"]["pending"] == 0
    assert box.truth()["skycore"]["twice"] == 0


async def test_the_shortest_interval_is_kept_by_all_requests_together(box: Sandbox, tmp_path: Path) -> None:
    settings = ticket_settings(box.url, tmp_path, concurrency=4, min_interval_seconds=0.1)
    begun = time.monotonic()
    status = await send_event(write_event(tmp_path, attendees(12)), settings)
    assert time.monotonic() - begun >= 11 * 0.1, "a busy machine is slower than that, and none is faster"
    assert counted(status) == {"accepted": 12}


async def test_a_refusal_for_speed_is_tried_again_after_the_time_it_asks_for(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "at": [2], "fault": "error_code", "code": "E113"}])
    settings = ticket_settings(box.url, tmp_path, concurrency=1)
    status = await send_event(write_event(tmp_path, attendees(5)), settings)
    assert counted(status) == {"accepted": 5}
    assert box.truth()["send_requests"] == 6
    assert {ticket.state for ticket in tickets_of(settings)} == {MessageState.ACCEPTED}


async def test_resolve_and_resend_are_kept_with_who_and_why(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ticket_settings(box.url, tmp_path, concurrency=1)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    box.faults.replace([{"call": SEND, "at": [2, 3], "fault": "reset_before"}])
    file = write_event(tmp_path, attendees(5))
    assert counted(await send_event(file, settings)) == {"accepted": 3, "unknown": 2}

    first, second = [one.barcode for one in tickets_of(settings) if one.state == MessageState.UNKNOWN]
    with pytest.raises(InputError, match="no unknown ticket"):
        resolve(Kind.EVENT, "gala", codes=["T00000"], taken=True, by="Ada", why="wrong one")
    settled = resolve(Kind.EVENT, "gala", codes=[first], taken=True, by="Ada", why="she showed it at the door")
    assert (settled.resolved, settled.unknown) == (1, 1)
    assert resolve(Kind.EVENT, "gala", codes=[second], taken=False, by="Ada", why="the provider says no").resolved == 1
    assert counted(status_of("gala", settings)) == {"accepted": 4, "pending": 1}
    assert counted(await send_event(file, settings)) == {"accepted": 5}

    number = ["+1 650 253 0004"]
    done = resend_named(Kind.EVENT, "gala", numbers=number, although_taken=True, by="Bob", why="lost her phone")
    assert done.resent == 1
    assert counted(await send_event(file, settings)) == {"accepted": 5}
    truth = box.truth()["skycore"]
    assert (truth["accepted"], truth["twice"]) == (5, 1), "the one that Bob asked for, and no other"
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        kept = ledger.execute("SELECT decision, by, evidence FROM settlement ORDER BY id").fetchall()
    assert [(decision, by) for decision, by, _ in kept] == [("resolved", "Ada"), ("resolved", "Ada"), ("resend", "Bob")]
    assert "she showed it at the door" in kept[0][2]
    assert "lost her phone; was accepted as" in kept[2][2]


async def test_a_refused_ticket_whose_row_has_left_the_list_is_not_sent_again_until_it_is_back(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ticket_settings(box.url, tmp_path, concurrency=1)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    box.faults.replace([{"call": SEND, "at": [1], "fault": "error_code", "code": "E110"}])
    assert counted(await send_event(write_event(tmp_path, attendees(3)), settings)) == {"rejected": 1, "accepted": 2}
    plan_file(write_event(tmp_path, attendees(3)[1:]), settings, kind=Kind.EVENT)
    again: dict[str, Any] = {"although_taken": True, "by": "Bob", "why": "the template was wrong"}
    with pytest.raises(InputError, match="Its row has left the list"):
        resend_named(Kind.EVENT, "gala", codes=["T00000"], **again)
    assert resend_all(Kind.EVENT, "gala", by="Bob", why="the template was wrong").resent == 2
    plan_file(write_event(tmp_path, attendees(3)), settings, kind=Kind.EVENT)
    assert resend_named(Kind.EVENT, "gala", codes=["T00000"], **again).resent == 1


async def test_an_attendees_own_words_reach_the_provider(box: Sandbox, tmp_path: Path) -> None:
    keys = {
        "custom_subject": '"For {name} & friends"',
        "custom_texts": '{ "1" = "Seat <{seat}>" }',
        "data": '{ FIRST_NAME = "name" }',
    }
    row = f"Łucja,+16502530000,T1,{'x' * 500}"
    settings = ticket_settings(box.url, tmp_path)
    await send_event(write_event(tmp_path, [row], header="name,phone,barcode_id,seat", **keys), settings)
    (sent,) = box.traffic.log(SEND)
    text = str(sent)
    assert "For Łucja & friends" in text
    assert f"Seat <{'x' * 500}>" in text


async def test_a_row_that_no_xml_can_hold_is_rejected_and_stops_nobody_else(box: Sandbox, tmp_path: Path) -> None:
    rows = [f"{row},Ann,A" for row in attendees(20)]
    rows[3] = rows[3].replace("Ann", "An\x0bn")
    rows[5] += "\x0b"  # in a column that is not sent
    file = write_event(
        tmp_path, rows, header="phone,barcode_id,first_name,seat", custom_texts='{ "1" = "Hello {first_name}" }'
    )
    status = await send_event(file, ticket_settings(box.url, tmp_path))
    assert counted(status) == {"invalid": 1, "accepted": 19}
    assert "control character" in (tmp_path / "gala.rejects.csv").read_text()


@pytest.mark.parametrize("name", ["x" * 65, "MMS_\x001"])
async def test_a_ticket_taken_under_an_id_that_cannot_be_kept_is_taken(
    name: str, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(*_: object, **__: object) -> Answer:
        return Answer([Receipt(MessageState.ACCEPTED, name)])

    monkeypatch.setattr(Skycore, "send", send)
    settings = ticket_settings(box.url, tmp_path)
    assert counted(await send_event(write_event(tmp_path, attendees(1)), settings)) == {"accepted": 1}
    assert [ticket.provider_id for ticket in tickets_of(settings)] == [None]


async def test_a_late_registration_under_a_new_name_sends_nobody_a_second_ticket(box: Sandbox, tmp_path: Path) -> None:
    settings = ticket_settings(box.url, tmp_path)
    await send_event(write_event(tmp_path, attendees(3)), settings)
    file = write_event(tmp_path, attendees(4))
    file.write_text(file.read_text().replace('"gala"', '"late"'))
    with pytest.raises(InputError, match="3 of them in gala"):
        plan_file(file, settings, kind=Kind.EVENT)
    (tmp_path / "attendees.csv").write_text(f"phone,barcode_id\n{attendees(4)[3]}\n")
    assert counted(await send_event(file, settings)) == {"accepted": 1}
    file.write_text(f"{file.read_text()}allow_repeat = true\n")
    assert counted(await send_event(file, settings)) == {"accepted": 1}, "the same event: a key that says nothing of content"
    assert (box.truth()["skycore"]["accepted"], box.truth()["skycore"]["twice"]) == (4, 0)


# What the first answer is, and after how many requests nothing more leaves for a number with many tickets.
HALTS = {"credit": (CreditExhausted("E713"), 1), "breaker": (OutcomeUnknown("lost"), 3)}


@pytest.mark.parametrize("case", HALTS)
async def test_tickets_of_one_number_heed_a_reason_to_stop(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, most = HALTS[case]
    calls = []

    async def send(*_: object, **__: object) -> Answer:
        calls.append(1)
        await asyncio.sleep(0.01)
        raise error

    async def preflight(*_: object) -> list[str]:
        return []

    monkeypatch.setattr(Skycore, "send", send)
    monkeypatch.setattr(Skycore, "preflight", preflight)
    settings = ticket_settings("http://127.0.0.1:1", tmp_path, concurrency=16, breaker_after=3)
    status = await send_event(write_event(tmp_path, [f"+16502530000,A{number}" for number in range(30)]), settings)
    assert len(calls) == most
    assert counted(status) == ({"pending": 30} if case == "credit" else {"unknown": 3, "pending": 27})


class OneCall:
    """A gateway whose first request is the reason to stop, and ends just as a further ticket of its number comes."""

    def __init__(self, comes: Callable[[], None]) -> None:
        self.calls = 0
        self._comes = comes

    async def send(self, *_: object, **__: object) -> Answer:
        self.calls += 1
        await asyncio.sleep(0)  # the second one waits by now
        if self.calls == 1:
            self._comes()
        raise OutcomeUnknown("lost")


async def test_a_ticket_that_comes_in_the_instant_in_which_the_one_before_it_ends_heeds_a_reason_to_stop() -> None:
    """The lock is free already, and the next in line has not taken it yet."""
    tasks: list[asyncio.Task[None]] = []
    gateway = OneCall(lambda: tasks.append(asyncio.create_task(send(3))))
    stops: list[Exception] = []
    run = SimpleNamespace(
        gateway=gateway, pace=Pace(3), delivery=delivery(content=event_content()), is_stopped=lambda: bool(stops)
    )
    exchange = TicketExchange(cast(TicketRun, run))

    async def send(code: int) -> None:
        try:
            await exchange.send(Claim(code, 1, "me", (0,), (Phone(16502530000),), ((str(code), {}),)), held_by_nothing)
        except (OutcomeUnknown, SlowDown) as error:
            stops.append(error)

    tasks += [asyncio.create_task(send(1)), asyncio.create_task(send(2))]
    while pending := [task for task in tasks if not task.done()]:
        await asyncio.wait(pending)
    assert ([type(one) for one in stops], gateway.calls) == ([OutcomeUnknown, SlowDown, SlowDown], 1)


async def held_by_nothing() -> None:
    """Lets everything leave."""


async def test_one_row_that_cannot_be_sent_stops_nobody_else(box: Sandbox, tmp_path: Path) -> None:
    settings = ticket_settings(box.url, tmp_path, transport="get", concurrency=1)
    rows = [f"{row},{'x' * 9000 if number == 2 else 'Ann'}" for number, row in enumerate(attendees(20))]
    file = write_event(tmp_path, rows, header="phone,barcode_id,name", custom_texts='{ "1" = "{name}" }')
    assert counted(await send_event(file, settings)) == {"accepted": 19, "rejected": 1}


UNSENDABLE: dict[str, dict[str, object]] = {
    "a field's name": {"data": '{ "first name" = "name" }'},
    "a field twice": {"data": '{ "NAME" = "name", "name" = "name" }'},
    "no text for a discovery": {"ddm_title": '"x"', "ddm_text": '""'},
    "too long a wait": {"ddm_text": '"x"', "ddm_timeout": "100000"},
    "an empty campaign": {"campaign_ref": '" "'},
    "a control character": {"custom_subject": '"a\\u0001b"'},
}


@pytest.mark.parametrize("case", UNSENDABLE)
def test_an_event_that_could_never_be_sent_is_refused_before_it_is_planned(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ticket_settings("http://127.0.0.1:1", tmp_path)
    monkeypatch.setattr(check, "load_settings", lambda: settings)
    rows = [f"{row},Ann" for row in attendees(3)]
    file = write_event(tmp_path, rows, header="phone,barcode_id,name", **UNSENDABLE[case])
    with pytest.raises(InputError):
        check.check_event(file)
    with pytest.raises(InputError):
        plan_file(file, settings, kind=Kind.EVENT)


def test_a_preview_shows_the_code_that_is_sent_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ticket_settings("http://127.0.0.1:1", tmp_path)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    file = write_event(tmp_path, ["+16502530001", "+16502530002"], header="phone", barcode='"generate"')
    with pytest.raises(InputError, match="no code yet"):
        preview(file, 2, "png", tmp_path / "code.png")
    plan_file(file, settings, kind=Kind.EVENT)
    assert preview(file, 2, "png", tmp_path / "code.png") == tickets_of(settings)[0].barcode
    write_event(tmp_path, ["+16502539999", "+16502530001"], header="phone", barcode='"generate"')
    assert preview(file, 3, "png", tmp_path / "code.png") == tickets_of(settings)[0].barcode, "it has moved"
    with pytest.raises(InputError, match="no code yet"):
        preview(file, 2, "png", tmp_path / "code.png")


async def test_a_run_waits_for_a_persons_decision_and_then_sends(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ticket_settings(box.url, tmp_path)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    file = write_event(tmp_path, attendees(3))
    plan_file(file, settings, kind=Kind.EVENT)
    with looked_after(Kind.EVENT, "gala"):
        sending = asyncio.create_task(send_event(file, settings))
        done, _ = await asyncio.wait({sending}, timeout=0.7)
        assert not done
    assert counted(await sending) == {"accepted": 3}


async def test_no_cell_of_the_door_list_is_a_formula_and_none_is_cut(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ticket_settings(box.url, tmp_path)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    note = "needs a ramp; " * 20
    rows = [f'"{note}",+16502530000,-1-2,\uff1d1+1']
    await send_event(write_event(tmp_path, rows, header="note,phone,barcode_id,\uff0bseat"), settings)
    out = tmp_path / "door.csv"
    export_csv(Kind.EVENT, "gala", out)
    with out.open(encoding="utf-8-sig", newline="") as file:
        header, row = csv.reader(file)
    begins = [cell for cell in (*header, *row) if cell[:1] in "=+-@\uff1d\uff0b" and cell]
    assert begins == ['="+16502530000"', '="-1-2"'], "texts, and nothing that is calculated"
    assert note.strip() in row[1]
