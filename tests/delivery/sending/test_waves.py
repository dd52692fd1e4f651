"""A canary goes first: what is bad reaches so many people and not one more, what is good goes on by itself; silence asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from posthorn.content.waves import Halt, Waves, read_halt, read_wait, wave_sizes
from posthorn.delivery.deciding import approval
from posthorn.delivery.limits.halting import LOOK_EVERY_SECONDS, Halting
from posthorn.delivery.planning.check import examine
from posthorn.delivery.planning.load import load_wish
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.sending.waves import judged
from posthorn.delivery.settling.due import going_on
from posthorn.delivery.settling.report import pull_reports_of
from posthorn.delivery.settling.withdraw import cancel_delivery
from posthorn.errors import DeliveryChanged, InputError
from posthorn.ledger import claiming, deliveries, sending, totals, waves
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.sampling import Sampled
from posthorn.ledger.store.engine import Ledger
from posthorn.ledger.waves import Outcomes
from posthorn.models import Answer, Kind, MessageState, Receipt
from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.settings import Settings
from posthorn.views.checked import check_text
from posthorn.views.status import exit_code
from tests.conftest import sandbox_settings
from tests.delivery.journey import counted, deliver, numbers, question_of, status_of, write_campaign
from tests.ledger.ledgers import claim_one

SEND = "messages/send_mms"
HALF_AN_HOUR = 1800.0
WAVES = {"canary": "200", "ramp": "[0.05, 0.25, 1]"}


class Later:
    """A clock that a test puts forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def environment(box: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """For what reads its settings from the environment."""
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__BASE_URL", box.url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__TOKEN", "sandbox-token")
    return settings


@pytest.fixture
async def silent_box() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=0, serwersms=SerwerSmsOptions(silent=1.0)) as sandbox:
        yield sandbox


def record(settings: Settings) -> Delivery:
    ledger = Ledger(settings.database_url)
    try:
        return deliveries.get(ledger, "sale")
    finally:
        ledger.close()


def sizes_of_waves(settings: Settings) -> dict[int, int]:
    ledger = Ledger(settings.database_url)
    try:
        one = deliveries.get(ledger, "sale")
        told = {wave: waves.outcomes(ledger, one, wave) for wave in range(1, waves.last_wave(ledger, one) + 1)}
        return {wave: outcomes.pending + outcomes.sent for wave, outcomes in told.items()}
    finally:
        ledger.close()


async def test_a_bad_picture_reaches_the_canary_and_not_one_more(
    box: Sandbox, environment: Settings, tmp_path: Path
) -> None:
    box.faults.replace([{"call": SEND, "fault": "item_error", "items": 50, "code": 3103}])
    file = write_campaign(tmp_path, numbers(20_000), **WAVES)
    environment.serwersms.chunk_size = 50
    status = await deliver(file, environment)
    assert (status["state"], exit_code(status)) == ("needs_attention", 3)
    assert status["because"].startswith("the canary was halted: ")
    assert "halt_at is 5 % of at least 50. `posthorn campaign approve sale` shows it" in status["because"]
    asked_for = box.truth()["requests"][SEND] * 50
    assert asked_for <= 200
    again = await deliver(file, environment)
    assert (again["state"], box.truth()["requests"][SEND] * 50) == ("needs_attention", asked_for), "nobody has decided"
    assert going_on() == []
    ledger = Ledger(environment.database_url)
    try:
        assert [one.state for one in totals.summaries(ledger)] == ["needs_attention"]
    finally:
        ledger.close()


async def test_a_good_one_ramps_by_itself_wave_by_wave(box: Sandbox, environment: Settings, tmp_path: Path) -> None:
    file, later = write_campaign(tmp_path, numbers(4_200), **WAVES), Later()
    sent = []
    status = await deliver(file, environment, clock=later)
    assert (status["state"], exit_code(status)) == ("waiting", 3)
    assert "waits for the reports of what went first until " in status["because"]
    assert sizes_of_waves(environment) == {1: 200, 2: 200, 3: 800, 4: 3000}
    for _ in range(3):
        sent.append(box.truth()["accepted"])
        early = await deliver(file, environment, clock=later)
        assert (early["state"], box.truth()["accepted"]) == ("waiting", sent[-1]), "it is not time yet"
        box.clock.advance(3600)
        later.ahead += HALF_AN_HOUR
        status = await deliver(file, environment, clock=later)
    assert sent == [200, 400, 1200]
    assert (status["state"], box.truth()["accepted"], box.truth()["twice"]) == ("finished", 4200, 0)


async def test_a_waiting_canary_is_gone_on_with_from_its_moment(box: Sandbox, environment: Settings, tmp_path: Path) -> None:
    before = time.time()
    await deliver(write_campaign(tmp_path, numbers(1_000), **WAVES), environment)
    waits = record(environment)
    assert waits.goes_on_for == "canary"
    assert waits.goes_on_at is not None
    assert before + HALF_AN_HOUR <= waits.goes_on_at <= time.time() + HALF_AN_HOUR
    assert going_on() == []


async def test_good_news_shortens_no_wait(box: Sandbox, environment: Settings, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, numbers(1_000), **WAVES)
    await deliver(file, environment)
    box.clock.advance(3600)
    await pull_reports_of("sale")
    status = await deliver(file, environment)
    assert (status["state"], counted(status)) == ("waiting", {"delivered": 200, "pending": 800})


async def test_silence_is_not_success_it_waits_and_then_asks(
    silent_box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, later = sandbox_settings(silent_box.url, tmp_path), Later()
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    file = write_campaign(tmp_path, numbers(1_000), **WAVES)
    await deliver(file, settings, clock=later)
    silent_box.clock.advance(7200)
    later.ahead = 2 * HALF_AN_HOUR
    status = await deliver(file, settings, clock=later)
    assert (status["state"], silent_box.truth()["accepted"]) == ("waiting", 200)
    later.ahead = 3 * HALF_AN_HOUR + 10
    status = await deliver(file, settings, clock=later)
    assert (status["state"], silent_box.truth()["accepted"]) == ("needs_attention", 200)
    assert "too few reports to judge by after 90 minutes" in status["because"]
    assert "no report of 200" in status["because"]


async def test_a_persons_yes_lets_a_halted_one_go_on_and_the_rest_is_watched(
    box: Sandbox, environment: Settings, tmp_path: Path
) -> None:
    box.faults.replace([{"call": SEND, "fault": "item_error", "items": 50, "code": 3103, "times": 4}])
    file = write_campaign(tmp_path, numbers(1_000), **WAVES)
    await deliver(file, environment)
    question = await asyncio.to_thread(question_of, "sale")
    assert question is not None
    text = question.as_text()
    assert "the canary was halted" in text
    assert "wave 1: rejected" in text
    assert "200 first, then after 30 min each 5 %, 25 %, 100 %" in text
    approval.decide("sale", approved=True, by="Ada", content=question.content)
    assert [one.name for one in going_on()] == ["sale"]
    assert await asyncio.to_thread(question_of, "sale") is None
    box.faults.replace([])
    later = Later()
    status = await deliver(file, environment, clock=later)
    for _ in range(3):
        box.clock.advance(3600)
        later.ahead += HALF_AN_HOUR
        status = await deliver(file, environment, clock=later)
    assert counted(status)["rejected"] + box.truth()["accepted"] == 1_000
    assert (box.truth()["accepted"] >= 800, box.truth()["twice"]) == (True, 0)


async def test_a_no_stays_a_no(box: Sandbox, environment: Settings, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "fault": "item_error", "items": 50, "code": 3103}])
    file = write_campaign(tmp_path, numbers(1_000), **WAVES)
    await deliver(file, environment)
    before = box.truth()["requests"][SEND]
    approval.decide("sale", approved=False, by="Ada", note="wrong picture")
    status = status_of("sale", environment)
    await deliver(file, environment)
    assert (going_on(), box.truth()["requests"][SEND]) == ([], before)
    assert (status["state"], "not approved by Ada: wrong picture" in status["because"]) == ("stopped", True)


async def test_halt_at_watches_a_campaign_without_a_canary(box: Sandbox, environment: Settings, tmp_path: Path) -> None:
    environment.serwersms.concurrency = 1
    box.faults.replace([{"call": SEND, "fault": "item_error", "items": 50, "code": 3103, "at": [4, 5, 6, 7, 8, 9, 10]}])
    file = write_campaign(tmp_path, numbers(1_000), halt_at='"20 % of at least 100"')
    status = await deliver(file, environment)
    assert (status["state"], box.truth()["requests"][SEND]) == ("needs_attention", 4)
    assert "50 of 200 were rejected; halt_at is 20 % of at least 100" in status["because"]


async def test_a_lost_answer_that_a_lookup_finds_again_halts_nothing(
    box: Sandbox, environment: Settings, tmp_path: Path
) -> None:
    box.faults.replace([{"call": SEND, "fault": "close_after", "at": [1]}])
    status = await deliver(write_campaign(tmp_path, numbers(300), halt_at='"5 % of at least 50"'), environment)
    assert (status["state"], counted(status)) == ("finished", {"accepted": 300})


def test_a_run_looks_now_and_then_at_what_the_reports_say_of_what_it_sent(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_file(write_campaign(tmp_path, numbers(300), halt_at='"10 % of at least 50"'), settings)
    ledger = Ledger(settings.database_url)
    try:
        one = deliveries.get(ledger, "sale")
        halting, seen = Halting(Waves.of(one.options)), []
        for undelivered in (4, 1, 0):
            claim = claim_one(ledger, one, "host-1-a", 1, 10**9)
            assert claim is not None
            states = [MessageState.UNDELIVERED] * undelivered + [MessageState.DELIVERED] * (50 - undelivered)
            sending.record(
                ledger, claim, Answer([Receipt(state, f"{claim.chunk_id}-{at}") for at, state in enumerate(states)])
            )
            seen.append(halting.look(ledger, one))
        assert seen == [None, None, None]
        claim = claim_one(ledger, one, "host-1-a", 1, 10**9)
        assert claim is not None
        failed = [Receipt(MessageState.UNDELIVERED, f"{claim.chunk_id}-{at}") for at in range(50)]
        sending.record(ledger, claim, Answer(failed))
        halted = halting.look(ledger, one)
        assert halted is None, "it has looked a moment ago"
        monkeypatch.setattr(halting, "_looked_at", halting._looked_at - LOOK_EVERY_SECONDS)
        assert "55 of 200 went wrong" in str(halting.look(ledger, one))
        assert Halting(Waves.of(one.options)).look(ledger, one) is None, "what was sent before is decided"
    finally:
        ledger.close()


@pytest.mark.usefixtures("environment")
async def test_cancelling_what_waits_ends_its_wait(settings: Settings, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, numbers(300), **WAVES)
    assert (await deliver(file, settings))["state"] == "waiting"
    await cancel_delivery(Kind.CAMPAIGN, "sale")
    status = status_of("sale", settings)
    assert (status["state"], status["waiting_until"], going_on()) == ("cancelled", None, [])


async def test_whoever_is_killed_in_the_canary_goes_on_with_the_canary(
    box: Sandbox, environment: Settings, tmp_path: Path
) -> None:
    file = write_campaign(tmp_path, numbers(1_000), **WAVES)
    plan_file(file, environment)
    ledger = Ledger(environment.database_url)
    try:
        one = deliveries.get(ledger, "sale")
        assert claim_one(ledger, one, "host-1-dead", 1, 10**9) is not None, "and its process dies"
        assert len(claiming.pending_chunks(ledger, one)) == 3
        for _ in range(3):
            assert claim_one(ledger, one, "host-1-dead", 1, 10**9) is not None
        assert claim_one(ledger, one, "host-1-dead", 1, 10**9) is None, "no more than the canary, whoever asks"
    finally:
        ledger.close()
    environment.serwersms.settle_seconds = 0.1
    status = await deliver(file, environment)
    assert counted(status) == {"unknown": 200, "pending": 800}
    assert box.truth()["accepted"] == 0
    assert status["state"] == "needs_attention", "what is unknown went wrong"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"canary": "200", "hold_minutes": "15"}, "hold_minutes: expected either this or a canary"),
        ({"canary": "20"}, "canary: expected at least 50: halt_at"),
        ({"canary": "0"}, "canary: expected a whole number of at least 1"),
        ({"ramp": "[0.5, 1]"}, "ramp: needs a canary"),
        ({"canary_wait": '"30m"'}, "canary_wait: needs a canary"),
        ({"canary": "200", "ramp": "[0.5, 0.25, 1]"}, "ramp: expected rising shares up to 1"),
        ({"canary": "200", "ramp": "[0.5]"}, "ramp: expected rising shares up to 1"),
        ({"canary": "200", "canary_wait": '"soon"'}, "canary_wait: expected a time from 1m to 48h"),
        ({"canary": "200", "halt_at": '"some"'}, "halt_at: expected a share and a number of messages"),
    ],
)
def test_what_cannot_be_meant_is_refused(keys: dict[str, str], said: str, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        plan_file(write_campaign(tmp_path, numbers(3), **keys), settings)


@pytest.mark.parametrize("keys", [{"canary": "100"}, {"canary": "200", "ramp": "[1]"}, {}])
def test_who_goes_first_cannot_change_once_it_is_planned(keys: dict[str, str], settings: Settings, tmp_path: Path) -> None:
    plan_file(write_campaign(tmp_path, numbers(300), **WAVES), settings)
    with pytest.raises(DeliveryChanged, match="cannot change now"):
        plan_file(write_campaign(tmp_path, numbers(300), **keys), settings)


def test_a_canary_cannot_be_added_to_what_is_planned(settings: Settings, tmp_path: Path) -> None:
    plan_file(write_campaign(tmp_path, numbers(300)), settings)
    file = write_campaign(tmp_path, numbers(300), canary="200")
    with pytest.raises(DeliveryChanged, match="is planned with canary = none"):
        plan_file(file, settings)
    with pytest.raises(DeliveryChanged, match="is planned with canary = none"):
        examine(load_wish(file, Kind.CAMPAIGN, settings))


def test_check_says_how_it_goes_out(settings: Settings, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, numbers(300), **WAVES)
    text = check_text(examine(load_wish(file, Kind.CAMPAIGN, settings)))
    assert "200 first, then after 30 min each 5 %, 25 %, 100 %; stops at 5 % of at least 50 that went wrong" in text


async def test_a_canary_goes_at_once_though_the_rest_has_a_moment(
    box: Sandbox, environment: Settings, tmp_path: Path
) -> None:
    file, later = write_campaign(tmp_path, numbers(400), canary="200", send_at="2099-11-30T09:00:00+01:00"), Later()
    await deliver(file, environment, clock=later)
    assert (box.truth()["accepted"], box.truth()["scheduled"]) == (200, 0)
    box.clock.advance(3600)
    later.ahead = HALF_AN_HOUR
    status = await deliver(file, environment, clock=later)
    assert (box.truth()["accepted"], box.truth()["scheduled"]) == (400, 200)
    assert counted(status)["scheduled"] == 200


def told(**counts: int) -> Outcomes:
    usual: dict[str, Any] = dict.fromkeys(["pending", "delivered", "rejected", "undelivered", "unknown", "silent"], 0)
    return Outcomes(**{**usual, **counts}, ended_at=0.0)


PLAN = Waves(200, HALF_AN_HOUR, (1.0,), Halt(5.0, 50))


@pytest.mark.parametrize(
    ("outcomes", "waited", "is_wrong"),
    [
        (told(delivered=190, undelivered=10), 0, True),
        (told(delivered=191, undelivered=9), HALF_AN_HOUR, False),
        (told(rejected=49), 60, False),
        (told(rejected=50), 60, True),
        (told(unknown=5, delivered=90, silent=105), 60, True),
        (told(delivered=49, silent=151), 2 * HALF_AN_HOUR, False),
        (told(delivered=49, silent=151), 3 * HALF_AN_HOUR, True),
        (told(delivered=50, silent=150), 3 * HALF_AN_HOUR, False),
        (told(delivered=30), 3 * HALF_AN_HOUR, False),
    ],
)
def test_a_wave_is_judged_by_count_and_share(outcomes: Outcomes, waited: float, is_wrong: bool) -> None:
    assert (judged(PLAN, outcomes, waited) is not None) == is_wrong


@pytest.mark.parametrize(
    ("count", "ramp", "sizes"),
    [(84, (0.05, 0.25, 1), [4, 17, 63]), (3, (0.05, 0.25, 1), [1, 0, 2]), (1, (0.05, 1), [1, 0]), (0, (0.5, 1), [0, 0])],
)
def test_a_ramp_cuts_all_and_nothing_twice(count: int, ramp: tuple[float, ...], sizes: list[int]) -> None:
    assert wave_sizes(count, ramp) == sizes


def test_the_sample_is_of_the_whole_list_the_same_each_time_and_nobody_is_lost() -> None:
    batches = [list(range(at, at + 100)) for at in range(0, 10_000, 100)]
    first, again, other = (Sampled(batches, 200, seed) for seed in ("sale", "sale", "gala"))
    rest = [row for batch in first for row in batch]
    list(again), list(other)
    assert sorted(rest + first.sample) == list(range(10_000))
    assert (len(first.sample), first.sample == again.sample, first.sample == other.sample) == (200, True, False)
    halves = sum(row < 5_000 for row in first.sample)
    assert 60 < halves < 140
    small = Sampled([[1, 2], [3]], 200, "sale")
    assert (list(small), small.sample) == ([], [1, 2, 3])


def test_words_are_read_as_they_are_meant() -> None:
    assert (read_wait("30m"), read_wait("2h"), read_halt("5% of at least 50")) == (1800.0, 7200.0, Halt(5.0, 50))
    assert str(read_halt("2.5 %  of at least 1000")) == "2.5 % of at least 1000"
