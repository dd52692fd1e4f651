"""What a person decides at the terminal: approving, refusing, sending tickets again, settling them. No Prefect answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthorn.delivery.planning.plan import plan_file
from posthorn.ledger import deliveries, sending, tickets
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Answer, Kind, MessageState, Receipt
from posthorn.settings import load_settings
from tests.commands import Desk, told
from tests.delivery.event_journey import attendees, write_event
from tests.delivery.journey import numbers, question_of, write_campaign
from tests.ledger.ledgers import LATEST, claim_one
from tests.terminal import Terminal


@pytest.fixture
def sale(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A planned campaign that asks for approval; this process has the desk's settings and folder."""
    for name, value in desk.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(desk.folder)
    file = write_campaign(desk.folder, numbers(60), approve="true")
    plan_file(file, load_settings())
    return file


def waits() -> bool:
    return question_of("sale") is not None


def switch_an_option(file: Path) -> None:
    file.write_text(f"{file.read_text(encoding='utf-8')}resend_unconfirmed = true\n", encoding="utf-8")
    plan_file(file, load_settings())


def test_what_is_approved_is_approved(sale: Path, desk: Desk) -> None:
    ended = desk.run("campaign", "approve", "sale", "--yes", "--by", "Ada")
    assert (ended.code, "sale: approved by Ada" in ended.err) == (0, True), ended.err
    assert not waits()


def test_what_is_refused_waits(sale: Path, desk: Desk) -> None:
    desk.run("campaign", "approve", "sale", "--yes", "--by", "Ada")
    ended = desk.run("campaign", "approve", "sale", "--refuse", "--yes", "--by", "Bo", "--note", "wrong day")
    assert (ended.code, "sale: refused by Bo" in ended.err) == (0, True), ended.err
    assert "not approved by Bo: wrong day" in desk.run("campaign", "status", "sale", "--json").out
    assert waits()


def test_without_a_terminal_nobody_has_said_yes(sale: Path, desk: Desk, box_url: str) -> None:
    ended = desk.run("campaign", "approve", "sale")
    assert (ended.code, "there is no terminal to ask at" in ended.err) == (2, True), ended.err
    ended = desk.run("campaign", "send", "sale.toml")
    assert (ended.code, "nothing was sent: sale waits for approval" in ended.err) == (3, True), ended.err
    assert waits()
    assert told(box_url, "truth")["send_requests"] == 0


@pytest.mark.parametrize(("typed", "code", "still_waits"), [("y", 0, False), ("n", 1, True), ("", 1, True)])
def test_at_a_terminal_the_person_is_asked(typed: str, code: int, still_waits: bool, sale: Path, desk: Desk) -> None:
    terminal = Terminal(desk, "campaign", "approve", "sale")
    terminal.read_until("Send this?")
    assert "60 of 60 rows" in terminal.shown
    terminal.type(typed)
    assert terminal.end() == code
    assert waits() == still_waits


def test_a_word_on_what_was_not_shown_is_refused(sale: Path, desk: Desk) -> None:
    """An option is switched while the person reads: their yes is not for that."""
    terminal = Terminal(desk, "campaign", "approve", "sale")
    terminal.read_until("Send this?")
    switch_an_option(sale)
    terminal.type("y")
    assert terminal.end() == 2
    assert "it has changed since it was shown" in terminal.shown
    assert waits()


def test_a_yes_to_send_is_not_for_what_was_switched_meanwhile(sale: Path, desk: Desk, box_url: str) -> None:
    terminal = Terminal(desk, "campaign", "send", "sale.toml")
    terminal.read_until("Send this?")
    switch_an_option(sale)
    terminal.type("y")
    assert terminal.end() == 2
    assert "it has changed since it was shown" in terminal.shown
    assert waits()
    assert told(box_url, "truth")["send_requests"] == 0


# What became of the three tickets of the event.
ENDS = (
    Receipt(MessageState.ACCEPTED, "trk-1"),
    Receipt(MessageState.REJECTED, error="E110"),
    Receipt(MessageState.UNKNOWN),
)


@pytest.fixture
def gala(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk with an event of three tickets: taken, rejected, unknown."""

    for name, value in desk.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(desk.folder)
    event = plan_file(write_event(desk.folder, attendees(3)), load_settings(), kind=Kind.EVENT)
    ledger = Ledger(load_settings().database_url)
    try:
        for receipt in ENDS:
            claim = claim_one(ledger, event, "host-1-aaaaaaaaaaaa", 1, LATEST)
            assert claim is not None
            sending.record(ledger, claim, Answer([receipt]))
    finally:
        ledger.close()
    return desk


def states() -> list[str]:
    ledger = Ledger(load_settings().database_url)
    try:
        return [one.state.name.lower() for one in tickets.all_tickets(ledger, deliveries.get(ledger, "gala"))]
    finally:
        ledger.close()


REASON = ("--why", "they called", "--by", "Ada")


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (("--failed",), ["accepted", "pending", "unknown"]),
        (("--all",), ["pending", "pending", "unknown"]),
        (("--phone", "+16502530000"), ["pending", "rejected", "unknown"]),
        (("T00000", "T00001"), ["pending", "pending", "unknown"]),
    ],
)
def test_only_the_tickets_that_are_named_are_sent_again(which: tuple[str, ...], expected: list[str], gala: Desk) -> None:
    ended = gala.run("tickets", "resend", "gala", *which, *REASON)
    assert ended.code == 0, ended.err
    assert states() == expected


@pytest.mark.parametrize(
    ("which", "words"),
    [
        (("--phone", "+16502530002"), "`posthorn tickets resolve gala` settles that first"),
        (("T00000", "T00002"), "`posthorn tickets resolve gala` settles that first"),
        (("NOBODYS",), "NOBODYS: no ticket that can be sent again of gala; nothing was changed"),
    ],
)
def test_what_cannot_be_sent_again_is_refused_whole(which: tuple[str, ...], words: str, gala: Desk) -> None:
    ended = gala.run("tickets", "resend", "gala", *which, *REASON)
    assert (ended.code, words in ended.err) == (2, True), ended.err
    assert states() == ["accepted", "rejected", "unknown"]


@pytest.mark.parametrize("which", [(), ("--failed", "--all"), ("--all", "--phone", "+16502530000")])
def test_which_tickets_must_be_said_once(which: tuple[str, ...], gala: Desk) -> None:
    ended = gala.run("tickets", "resend", "gala", *which, *REASON)
    assert (ended.code, "say which tickets" in ended.err) == (2, True), ended.err
    assert states() == ["accepted", "rejected", "unknown"]


@pytest.mark.parametrize(("word", "state"), [("--sent", "accepted"), ("--not-sent", "pending")])
def test_a_persons_word_settles_an_unknown_ticket_and_no_other(word: str, state: str, gala: Desk) -> None:
    refused = gala.run("tickets", "resolve", "gala", "T00002", "T00000", word, *REASON)
    assert (refused.code, "T00000: no unknown ticket of gala" in refused.err) == (2, True), refused.err
    assert states() == ["accepted", "rejected", "unknown"]
    ended = gala.run("tickets", "resolve", "gala", "T00002", word, *REASON)
    assert ended.code == 0, ended.err
    assert states() == ["accepted", "rejected", state]


@pytest.mark.parametrize("missing", ["--why", "--by"])
def test_a_word_is_kept_with_who_and_why(missing: str, gala: Desk) -> None:
    given = [word for pair in zip(REASON[::2], REASON[1::2], strict=True) if pair[0] != missing for word in pair]
    ended = gala.run("tickets", "resend", "gala", "--all", *given)
    assert ended.code == (2 if missing == "--why" else 0), ended.err


def test_what_is_unknown_is_shown_by_its_code_and_no_whole_number(gala: Desk) -> None:
    ended = gala.run("tickets", "status", "gala")
    assert ended.code == 3
    assert "T00002" in ended.out
    assert "+1 *** *** 002" in ended.out
    assert "6502530002" not in ended.out
