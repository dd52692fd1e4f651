"""Who may look after a campaign: one run, its helpers while it runs, or somebody who only looks up what is unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from posthorn.delivery.deliver import send_all
from posthorn.delivery.planning.plan import plan_file, planning_lock
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_media
from posthorn.delivery.running.pace import Pace
from posthorn.delivery.running.run import CampaignRun, open_helper, open_lookup, open_run
from posthorn.delivery.running.waiting import watched
from posthorn.errors import AlreadyRunning, CreditExhausted, LedgerError, Stopped
from posthorn.ledger import deliveries
from posthorn.ledger.spool import Spool, hold_answer
from posthorn.ledger.store.engine import Ledger
from posthorn.ledger.store.locks import FileLocks
from posthorn.models import Answer, MessageState, Receipt
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign
from tests.delivery.waiting import until
from tests.ledger.ledgers import LATEST, claim_one

SEND = "messages/send_mms"


@pytest.fixture
def sale(settings: Settings, tmp_path: Path) -> str:
    return plan_file(write_campaign(tmp_path, numbers(100)), settings).name


async def test_a_test_is_sent_to_nobody(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    status = await deliver(write_campaign(tmp_path, numbers(100), test="true"), settings)
    assert counted(status) == {"accepted": 100}
    truth = box.truth()
    assert (truth["accepted"], truth["numbers"]) == (0, 0)
    assert truth["requests"][SEND] == 2, "each chunk was shown to the provider"


async def test_a_run_waits_until_a_lookup_is_over(sale: str, settings: Settings) -> None:
    async def run_it() -> None:
        async with open_run(sale, settings=settings):
            pass

    async with open_lookup(sale, settings=settings):
        run = asyncio.create_task(run_it())
        with pytest.raises(AlreadyRunning, match="being looked after by another process"):
            async with open_lookup(sale, settings=settings):
                raise AssertionError("one at a time")
        done, _ = await asyncio.wait({run}, timeout=0.5)
        assert not done
    await run


async def test_a_run_that_is_cancelled_while_it_waits_for_a_lookup_keeps_no_lock(sale: str, settings: Settings) -> None:
    async def run_it() -> None:
        async with open_run(sale, settings=settings):
            pass

    async with open_lookup(sale, settings=settings):
        run = asyncio.create_task(run_it())
        await asyncio.wait({run}, timeout=0.5)
        run.cancel()
        await asyncio.wait({run}, timeout=2)
        assert run.cancelled()
    async with open_run(sale, settings=settings):
        pass


async def test_a_run_goes_on_though_the_lookup_ends_while_it_looks(
    sale: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = open_lookup(sale, settings=settings)
    lookup = await looking.__aenter__()
    is_free = FileLocks.is_free

    def ends_now(self: FileLocks, key: str) -> bool:
        if self is not lookup.ledger.locks and key == lookup.delivery.lookup_key:
            lookup.ledger.locks.close()
        return is_free(self, key)

    monkeypatch.setattr(FileLocks, "is_free", ends_now)
    async with open_run(sale, settings=settings):
        pass
    await looking.__aexit__(None, None, None)


async def test_a_campaign_that_is_looked_up_can_be_found_planned(sale: str, settings: Settings, tmp_path: Path) -> None:
    async with open_lookup(sale, settings=settings):
        assert plan_file(tmp_path / "sale.toml", settings).name == sale
    async with open_run(sale, settings=settings):
        with pytest.raises(AlreadyRunning):
            plan_file(tmp_path / "sale.toml", settings)


async def test_a_lookup_leaves_a_run_alone(sale: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_run(sale, by="Ada", settings=settings) as run:
        taken: list[str] = []
        monkeypatch.setattr(type(run.ledger.locks), "acquire", lambda _, key: bool(taken.append(key)))
        with pytest.raises(AlreadyRunning, match=r"already running since .*by Ada"):
            async with open_lookup(sale, settings=settings):
                raise AssertionError("somebody runs it")
        assert taken == [], "nor is it taken for one that is looked up"


@pytest.mark.parametrize("because", ["no credit left", None])
async def test_a_lookup_sends_nothing_and_changes_nothing(because: str | None, sale: str, settings: Settings) -> None:
    async with open_run(sale, settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        if because is not None:
            run.stop(CreditExhausted(because))
    before = status_of(sale, settings)
    async with open_lookup(sale, settings=settings) as run:
        await send_all(run)
    assert status_of(sale, settings) == before
    assert (before["state"], before["because"], before["totals"]["pending"]) == ("stopped", because, 100)


async def test_only_a_run_can_be_helped(sale: str, settings: Settings) -> None:
    async def refused() -> None:
        with pytest.raises(Stopped, match="nobody runs sale"):
            async with open_helper(sale, settings=settings):
                raise AssertionError("there is nobody to help")

    await refused()
    with planning_lock(Ledger(settings.database_url), sale):
        await refused()
    async with open_run(sale, settings=settings), open_helper(sale, settings=settings) as helper:
        assert not helper.is_stopped()
    await refused()
    async with open_lookup(sale, settings=settings):
        await refused()


async def test_a_run_that_lost_its_lock_does_not_stop_the_one_that_took_over(sale: str, settings: Settings) -> None:
    async def cut_off() -> None:
        async with open_run(sale, settings=settings) as first:
            first.ledger.locks.release(first.delivery.lock_key)  # as a database does that ends the session
            async with open_run(sale, settings=settings) as second:
                taken_over.append(second)
            raise LedgerError("the lock is lost")

    taken_over: list[CampaignRun] = []
    with pytest.raises(LedgerError):
        await cut_off()
    status = status_of(sale, settings)
    assert (status["state"], status["because"]) == ("stopped", None)


async def test_a_helper_that_lost_its_lock_stops_nobody(sale: str, settings: Settings) -> None:
    async with open_run(sale, settings=settings) as run:
        async with open_helper(sale, settings=settings) as helper:
            helper.ledger.locks.release(helper.sending_lock_key)
            helper.stop(LedgerError("the lock is lost"))
        await run.refresh()
        assert not run.is_stopped()


async def test_whoever_waits_shows_for_what_and_until_when(sale: str, settings: Settings) -> None:
    with watched() as board:
        async with open_lookup(sale, settings=settings):
            run = asyncio.create_task(run_it(sale, settings))
            await until(lambda: board.now is not None)
            assert str(board.now).startswith("waiting until ")
        await run
        assert board.now is None


async def test_a_pause_that_the_provider_asks_for_is_shown() -> None:
    with watched() as board:
        pace = Pace(breaker_after=3)
        pace.slow(120)
        waiting = asyncio.create_task(pace.wait())
        await until(lambda: board.now is not None)
        assert str(board.now).startswith("waiting until ")
        pace.wake()
        await waiting
        assert board.now is None


async def run_it(name: str, settings: Settings) -> None:
    async with open_run(name, settings=settings):
        pass


DEAD, ANSWERED = "host-1-aaaaaaaaaaaa", "host-2-bbbbbbbbbbbb"


@pytest.mark.parametrize("opened", [open_run, open_lookup])
async def test_what_dead_processes_left_is_settled_before_anything_else(
    opened: Callable[..., AbstractAsyncContextManager[CampaignRun]], sale: str, settings: Settings, tmp_path: Path
) -> None:
    """One died in the middle of its request; another had its answer on disk, and died before the ledger had it."""
    ledger = Ledger(settings.database_url)
    try:
        campaign = deliveries.get(ledger, sale)
        first, second = (claim_one(ledger, campaign, owner, 1, LATEST) for owner in (DEAD, ANSWERED))
        assert first is not None
        assert second is not None
        spool = Spool(tmp_path / "spool", ledger, ANSWERED)
        receipts = [Receipt(MessageState.ACCEPTED, f"id-{position}") for position in second.positions]
        hold_answer(spool, second, Answer(receipts))
        spool.close()
    finally:
        ledger.close()
    async with opened(sale, settings=settings):
        assert counted(status_of(sale, settings)) == {"accepted": 50, "unknown": 50}
    assert list((tmp_path / "spool").iterdir()) == []


async def test_a_run_heeds_that_it_was_cancelled_or_stopped_elsewhere(sale: str, settings: Settings) -> None:
    async with open_run(sale, settings=settings) as run:
        await run.refresh()
        assert not run.is_stopped()
        ledger = Ledger(settings.database_url)
        try:
            deliveries.stop_run(ledger, run.delivery, because="the account is locked")
            await run.refresh()
            assert "stopped elsewhere: the account is locked" in str(run.stopped)
        finally:
            ledger.close()
    async with open_run(sale, settings=settings) as run:
        ledger = Ledger(settings.database_url)
        try:
            deliveries.cancel(ledger, run.delivery)
            await run.refresh()
            assert "sale was cancelled" in str(run.stopped)
        finally:
            ledger.close()
