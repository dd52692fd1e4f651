"""Whoever says no, by whatever way, is skipped by the next send; and by the run that is under way, if it is not too late."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.running.run import open_delivery
from posthorn.delivery.settling.report import pull_reports
from posthorn.delivery.suppression.optouts import pull_opt_outs
from posthorn.errors import AlreadyRunning
from posthorn.ledger import refusals, suppression
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import OptOut, Phone, Scope
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.delivery.event_journey import attendees, send_event, ticket_settings, write_event
from tests.delivery.journey import counted, deliver, numbers, write_campaign
from tests.ledger.suppressed import codes
from tests.webhooks.receiver import SECRET, receiving

NUMBERS = numbers(4)
FLAT = """<?xml version='1.0'?><POSTBACK><ORIGIN>SUB</ORIGIN><CODE>N302</CODE><MOBILE>{number}</MOBILE>
<CAMPAIGNID>7</CAMPAIGNID><TIMESTAMP>2026-08-02T07:20:44-04:00</TIMESTAMP><SOURCE>MO</SOURCE></POSTBACK>"""
BATCH = """<POSTBACK><NOTIFICATION ID="1" CREATED="2026-08-02 07:20:52.332193-04"><ORIGIN>SUB</ORIGIN><CODE>N302</CODE>
<BODY><MOBILE>{number}</MOBILE><CAMPAIGNID>7</CAMPAIGNID></BODY></NOTIFICATION></POSTBACK>"""
FLAT_STOP = """<POSTBACK><ORIGIN>SMS_MO</ORIGIN><CODE>N211</CODE><FROM>{number}</FROM><TO>60856</TO><BODY>Stop</BODY>
</POSTBACK>"""
BATCH_STOP = """<POSTBACK><NOTIFICATION ID="2" CREATED="2026-08-02 07:20:52-04"><ORIGIN>SMS_MO</ORIGIN><CODE>N211</CODE>
<BODY><FROM>{number}</FROM><TO>60856</TO><MESSAGE>STOP</MESSAGE></BODY></NOTIFICATION></POSTBACK>"""
SHAPES = {
    "unsubscribed, flat": (FLAT, "unsubscribed"),
    "unsubscribed, batch": (BATCH, "unsubscribed"),
    "a stop word, flat": (FLAT_STOP, "reply"),
    "a stop word, batch": (BATCH_STOP, "reply"),
}


@pytest.fixture
async def hook(settings: Settings) -> AsyncIterator[str]:
    async with receiving(settings.database_url) as url:
        yield f"{url}/{SECRET}/skycore"


async def push(hook: str, body: str) -> int:
    async with httpx.AsyncClient() as client:
        return (await client.post(hook, content=body, headers={"Content-Type": "text/xml"})).status_code


async def skipped(settings: Settings, folder: Path) -> dict[str, str]:
    """Whom the next campaign skips, and why; everybody else gets it."""
    status = await deliver(write_campaign(folder, NUMBERS, name="next", text='"new"'), settings)
    with open_ledger(settings) as ledger:
        found = codes(ledger, "next")
    assert counted(status).get("suppressed", 0) == len(found)
    assert status["state"] == "finished" or status["totals"]["accepted"] == len(NUMBERS) - len(found)
    return found


def sent_to(box: Sandbox) -> set[str]:
    return {phone for batch in box.serwersms.account.messages.batches for phone in batch.phones}


# -- Each source ----------------------------------------------------------------------------------------------------------


async def test_the_providers_blacklist_is_heard(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    box.serwersms.account.block(NUMBERS[1])
    pulled = await pull_opt_outs(settings)
    assert (pulled.asked, pulled.new, pulled.problems) == (["serwersms"], 1, [])
    assert await skipped(settings, tmp_path) == {NUMBERS[1]: "opt-out:blacklist"}


async def test_an_answer_that_is_a_stop_word_is_heard(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    box.serwersms.account.answer(NUMBERS[2], "Wypisz", "1")
    box.serwersms.account.answer(NUMBERS[3], "Thank you", "2")
    assert (await pull_opt_outs(settings)).new == 1
    assert (await pull_opt_outs(settings)).new == 0
    assert await skipped(settings, tmp_path) == {NUMBERS[2]: "opt-out:reply"}


async def test_a_report_that_says_blacklisted_is_heard(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    planned_before = write_campaign(tmp_path, NUMBERS, name="before", text='"other"')
    plan_file(planned_before, settings)
    box.serwersms.account.block(NUMBERS[0])
    await deliver(write_campaign(tmp_path, NUMBERS, name="first"), settings)
    box.clock.advance(3_600.0)
    async with open_delivery("first", settings=settings) as desk:
        await pull_reports(desk)
    await deliver(planned_before, settings)
    with open_ledger(settings) as ledger:
        assert codes(ledger, "before") == {NUMBERS[0]: "opt-out:refusal"}, "planned before it was known"
        suppression.erase(ledger, Phone(int(NUMBERS[0])))
        plan_file(write_campaign(tmp_path, NUMBERS, name="after", text='"another"'), settings)
        assert codes(ledger, "after") == {NUMBERS[0]: "opt-out:refusal"}, "an approval counts without them"


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_postback_is_heard(shape: str, hook: str, settings: Settings, tmp_path: Path) -> None:
    body, source = SHAPES[shape]
    assert await push(hook, body.format(number=NUMBERS[1].removeprefix("+"))) == 200
    assert await skipped(settings, tmp_path) == {NUMBERS[1]: f"opt-out:{source}"}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_postback_that_was_pushed_before_a_removal_changes_nothing(
    shape: str, hook: str, settings: Settings
) -> None:
    """It has a time in one way or the other; without one it counts as of now."""
    body = SHAPES[shape][0].format(number="48500000001")
    await push(hook, body)
    with open_ledger(settings) as ledger:
        suppression.remove(ledger, Phone(48500000001), list(Scope), by="ann", why="asked to be back")
        assert await push(hook, body) == 200
        held = [one for one in suppression.of(ledger, Phone(48500000001)) if one.removed_at is None]
        assert bool(held) == (shape == "a stop word, flat")


async def test_news_of_other_kinds_is_taken_and_opts_nobody_out(hook: str, settings: Settings) -> None:
    for body in (FLAT.replace("N302", "N301"), FLAT_STOP.replace("Stop", "Hello"), BATCH.replace("N302", "N303")):
        assert await push(hook, body.format(number="48500000001")) == 200
    with open_ledger(settings) as ledger:
        assert suppression.of(ledger, Phone(48500000001)) == []


@pytest.mark.parametrize("body", [FLAT.format(number=""), FLAT_STOP.format(number="60856")])
async def test_an_opt_out_without_a_number_is_not_taken_for_heard(body: str, hook: str) -> None:
    assert await push(hook, body) == 400


async def test_a_ticket_that_is_refused_as_blacklisted_is_heard(box: Sandbox, tmp_path: Path) -> None:
    account = box.skycore.account
    account.options = replace(account.options, blacklist=frozenset({"16502530001"}))
    settings = ticket_settings(box.url, tmp_path)
    await send_event(write_event(tmp_path, attendees(3)), settings)
    (tmp_path / "next").mkdir()
    file = write_event(tmp_path / "next", attendees(3), allow_repeat="true")
    file.write_text(file.read_text(encoding="utf-8").replace("gala", "finale"), encoding="utf-8")
    status = await send_event(file, settings)
    assert status["totals"]["suppressed"] == 1
    with open_ledger(settings) as ledger:
        assert codes(ledger, "finale") == {"+16502530001": "opt-out:refusal"}


# -- Pulling --------------------------------------------------------------------------------------------------------------


async def test_a_provider_that_cannot_be_asked_is_a_problem_and_is_asked_from_there_again(
    box: Sandbox, settings: Settings
) -> None:
    box.serwersms.account.block(NUMBERS[0])
    box.serwersms.account.answer(NUMBERS[1], "KONIEC", "1")
    box.faults.replace([{"call": "messages/recived", "fault": "error_code", "code": 1005}])
    pulled = await pull_opt_outs(settings)
    assert (pulled.new, len(pulled.problems)) == (1, 1), "what was told before the refusal stands"
    with open_ledger(settings) as ledger:
        assert refusals.pulled_at(ledger) == {}
        box.faults.replace([])
        assert (await pull_opt_outs(settings, clock=lambda: 5.0)).new == 1
        assert refusals.pulled_at(ledger) == {"serwersms": 5.0}


async def test_one_pull_at_a_time(settings: Settings) -> None:
    with open_ledger(settings) as ledger, ledger.locks.hold("opt-outs"), pytest.raises(AlreadyRunning):
        await pull_opt_outs(settings)


async def test_whoever_is_removed_stays_removed_although_the_answer_is_read_again(box: Sandbox, settings: Settings) -> None:
    box.serwersms.account.answer(NUMBERS[1], "KONIEC", "1")
    await pull_opt_outs(settings)
    with open_ledger(settings) as ledger:
        await asyncio.sleep(1.1)  # the provider's times are whole seconds
        suppression.remove(ledger, Phone(int(NUMBERS[1])), list(Scope), by="ann", why="asked to be back")
        assert (await pull_opt_outs(settings)).new == 0
        assert list(suppression.entries(ledger)) == []


# -- While it runs --------------------------------------------------------------------------------------------------------


async def test_nobody_gets_it_who_was_heard_before_their_claim_began(
    box: Sandbox, hook: str, settings: Settings, tmp_path: Path
) -> None:
    """At random moments of a run, numbers are pushed as unsubscribed; the provider's own list says who got it."""
    people = numbers(3_000)
    heard_at: dict[str, float] = {}
    shuffled = people[500:]
    random.Random(11).shuffle(shuffled)
    box.latency_seconds = 0.02

    async def opt_out_some(client: httpx.AsyncClient) -> None:
        for number in shuffled:
            body = FLAT.format(number=number.removeprefix("+"))
            assert (await client.post(hook, content=body, headers={"Content-Type": "text/xml"})).status_code == 200
            heard_at[number] = time.time()

    async with httpx.AsyncClient() as client:
        pushing = asyncio.create_task(opt_out_some(client))
        status = await deliver(write_campaign(tmp_path, people), settings)
        pushing.cancel()
    with open_ledger(settings) as ledger:
        suppressed, claimed_at = codes(ledger, "sale"), moments(ledger)
    got = sent_to(box)
    assert [number for number in got if heard_at.get(number, claimed_at[number]) < claimed_at[number]] == []
    assert got == set(people) - set(suppressed)
    assert suppressed, "nobody was heard in time, so nothing was proven"
    assert status["balanced"]


def moments(ledger: Ledger) -> dict[str, float]:
    """When each number's claim began."""
    with ledger.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT m.phone, k.claimed_at FROM message m JOIN chunk k ON k.id = m.chunk_id"
        ).all()
    return {f"+{phone}": at for phone, at in rows}


async def test_a_stop_between_two_runs_is_heard_by_the_second(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    box.faults.replace([{"call": "messages/send_mms", "at": [2], "fault": "error_code", "code": 1001}])
    file = write_campaign(tmp_path, numbers(1_500))
    await deliver(file, settings)
    with open_ledger(settings) as ledger:
        assert suppression.add(ledger, [OptOut(Phone(48500001499), Scope.MARKETING, "person")], by="ann") == 1
    box.faults.replace([])
    status = await deliver(file, settings)
    assert status["totals"]["suppressed"] == 1
    assert "+48500001499" not in sent_to(box)
