"""What cannot be settled by looking it up: it is said where people look, and a person settles it with one command."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthorn.cli.sandbox_process import SandboxProcess, sandbox_process
from posthorn.delivery.running.run import open_run
from posthorn.ledger import deliveries
from posthorn.ledger.store.engine import Ledger
from posthorn.settings import Settings
from tests.cli.test_status import settings_of
from tests.commands import Desk, order, told
from tests.delivery.journey import counted, deliver, numbers, write_campaign

LOST = "reset_after@messages/send_mms:3"
WORDS = 'its title differs: "Autumn sal" instead of "Autumn sale"'


@pytest.fixture(scope="module")
def cutting_sandbox() -> Iterator[SandboxProcess]:
    with sandbox_process("--speed", "0", "--titles", "cut") as box:
        yield box


@pytest.fixture
def desk(cutting_sandbox: SandboxProcess, tmp_path: Path) -> Desk:
    """A desk whose campaign of 200 has 50 messages of unknown outcome: the provider took them and cuts their title."""
    order("POST", cutting_sandbox.url, "reset")
    order("PUT", cutting_sandbox.url, "faults", [LOST])
    desk = Desk(tmp_path, {**cutting_sandbox.variables, "PREFECT_API_URL": "http://127.0.0.1:9/api"})
    asyncio.run(deliver(write_campaign(tmp_path, numbers(200)), ours(desk)))
    return desk


def ours(desk: Desk) -> Settings:
    settings = settings_of(desk, desk.variables["POSTHORN_SERWERSMS__BASE_URL"])
    settings.serwersms.token = type(settings.serwersms.token)(desk.variables["POSTHORN_SERWERSMS__TOKEN"])
    settings.serwersms.concurrency, settings.serwersms.breaker_after = 1, 3
    return settings


def counts(desk: Desk) -> dict[str, int]:
    return counted(desk.run("campaign", "status", "sale", "--json").json)


def unknown_numbers(desk: Desk) -> list[str]:
    exported = desk.folder / "all.jsonl"
    assert desk.run("campaign", "export", "sale", "--jsonl", str(exported)).code == 0
    rows = [json.loads(line) for line in exported.read_text().splitlines()]
    return [
        f"+{row['phone']}" if not str(row["phone"]).startswith("+") else row["phone"]
        for row in rows
        if row["state"] == "unknown"
    ]


def test_what_differs_is_said_by_report_reconcile_and_doctor(desk: Desk) -> None:
    for command in ("report", "reconcile"):
        ended = desk.run("campaign", command, "sale")
        assert "50 unknown messages of sale cannot be settled" in ended.err
        assert WORDS in ended.err
        assert ended.code == 3
    findings = {one["what"]: one for one in desk.run("doctor", "--json").json["findings"]}
    assert WORDS in findings["lookups"]["seen"]
    assert not findings["lookups"]["well"]
    assert "POSTHORN_SERWERSMS__TIMEZONE" in findings["lookups"]["advice"]


def test_the_unknown_are_listed_one_line_each(desk: Desk) -> None:
    said = desk.run("campaign", "reconcile", "sale").out
    rows = re.findall(r"^│ +(\d+) │ \+48 \*\*\* \*\*\* \d{3} .* │$", said, flags=re.MULTILINE)
    assert len(rows) == 50
    assert len(set(rows)) == 50


def test_the_doctor_needs_no_provider_to_say_it(desk: Desk) -> None:
    ended = desk.run("doctor", "--json", POSTHORN_SERWERSMS__BASE_URL="http://127.0.0.1:9")
    assert WORDS in {one["what"]: one["seen"] for one in ended.json["findings"]}["lookups"]


def test_a_persons_word_settles_what_went_out(desk: Desk) -> None:
    first, second, *rest = unknown_numbers(desk)
    ended = desk.run(
        "campaign", "resolve", "sale", "--phone", first, "--phone", second, "--sent", "--why", "seen in the panel", "--json"
    )
    assert ended.code == 0
    told_so = ended.json
    assert (told_so["resolved"], told_so["state"], told_so["unknown"]) == (2, "accepted", 48)
    assert (told_so["by"], told_so["why"]) == ("operator", "seen in the panel")
    assert counts(desk) == {"accepted": 152, "unknown": 48}
    ended = desk.run("campaign", "resolve", "sale", "--all", "--sent", "--why", "the panel has all of them")
    assert "48 settled as accepted by operator; 0 still unknown" in ended.err
    assert "next: " in ended.err
    status = desk.run("campaign", "status", "sale", "--json")
    assert (status.json["state"], status.code) == ("finished", 0)
    assert all(number not in ended.err + ended.out for number in rest)


def test_what_a_person_calls_not_sent_is_sent_by_the_next_run(desk: Desk) -> None:
    ended = desk.run("campaign", "resolve", "sale", "--all", "--not-sent", "--why", "nobody has it")
    assert "50 settled as pending" in ended.err
    assert "`posthorn campaign send`" in ended.err
    assert counts(desk) == {"accepted": 150, "pending": 50}
    order("PUT", desk.variables["POSTHORN_SERWERSMS__BASE_URL"], "faults", [])
    assert counted(asyncio.run(deliver(desk.folder / "sale.toml", ours(desk)))) == {"accepted": 200}


def test_of_a_cancelled_campaign_it_is_cancelled_and_never_sent(desk: Desk) -> None:
    assert desk.run("campaign", "cancel", "sale").code in (0, 3)
    ended = desk.run("campaign", "resolve", "sale", "--all", "--not-sent", "--why", "nobody has it", "--json")
    assert ended.json["state"] == "cancelled"
    assert counts(desk) == {"accepted": 150, "cancelled": 50}


def test_one_number_that_is_not_unknown_and_nothing_is_settled(desk: Desk) -> None:
    unknown = unknown_numbers(desk)
    other = next(number for number in numbers(200) if number not in unknown)
    ended = desk.run("campaign", "resolve", "sale", "--phone", unknown[0], "--phone", other, "--sent", "--why", "seen")
    assert ended.code == 2
    assert f"*** *** {other[-3:]}: no unknown message of sale; nothing was settled" in ended.err
    assert other not in ended.err
    assert "posthorn campaign reconcile sale" in ended.err
    assert counts(desk) == {"accepted": 150, "unknown": 50}


REFUSALS = {
    "neither numbers nor all": (["--sent", "--why", "seen"], "--phone NUMBER"),
    "both": (["--all", "--phone", "+48500000100", "--sent", "--why", "seen"], "--phone NUMBER"),
    "no number": (["--phone", "abc", "--sent", "--why", "seen"], "expected a number"),
    "no reason": (["--all", "--sent", "--why", "  "], "say how you know"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_not_said_clearly_is_refused(case: str, desk: Desk) -> None:
    args, words = REFUSALS[case]
    ended = desk.run("campaign", "resolve", "sale", *args)
    assert (ended.code, words in ended.err) == (2, True)
    assert counts(desk) == {"accepted": 150, "unknown": 50}


def test_nobodys_word_is_taken_while_it_is_being_sent(desk: Desk) -> None:
    async def while_it_runs() -> None:
        async with open_run("sale", settings=ours(desk)):
            ended = await asyncio.to_thread(desk.run, "campaign", "resolve", "sale", "--all", "--sent", "--why", "seen")
            assert ended.code == 3
            assert "already running" in ended.err
            assert "nothing was settled" in ended.err

    asyncio.run(while_it_runs())
    assert counts(desk) == {"accepted": 150, "unknown": 50}


def test_the_word_is_kept_with_who_and_why(desk: Desk) -> None:
    from posthorn.ledger.store import tables  # noqa: PLC0415

    desk.run("campaign", "resolve", "sale", "--all", "--sent", "--why", "the panel", "--by", "Ada")
    ledger = Ledger(ours(desk).database_url)
    settlement = tables.settlement.c
    with ledger.read() as connection:
        kept = connection.execute(tables.settlement.select().where(settlement.decision == "resolved")).all()
    assert deliveries.get(ledger, "sale").id == kept[0].campaign_id
    assert {(row.by, row.evidence, row.state) for row in kept} == {("Ada", "the panel", 1)}
    assert len(kept) == 50
    assert told(desk.variables["POSTHORN_SERWERSMS__BASE_URL"], "truth")["twice"] == 0
    ledger.close()


def test_marks_that_cannot_be_kept_are_named_with_the_setting(desk: Desk) -> None:
    (desk.folder / "no-folder").touch()
    ended = desk.run("campaign", "reconcile", "sale", "--pending", POSTHORN_GUARD_DIR=str(desk.folder / "no-folder"))
    assert (ended.code, "unexpected error" in ended.err) == (4, False)
    assert "POSTHORN_GUARD_DIR" in ended.err
