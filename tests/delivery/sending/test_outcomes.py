"""What an outcome means for its chunk and for the requests that have not left yet, whatever the gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.running.run import CampaignRun, open_run
from posthorn.delivery.sending.send import send_batch
from posthorn.delivery.settling.restore_check import check_not_restored
from posthorn.errors import OutcomeUnknown, SlowDown, Stopped
from posthorn.gateways.http import Before
from posthorn.ledger import claiming, listing
from posthorn.ledger.claims import Claim
from posthorn.models import Answer, MessageState, Receipt
from posthorn.settings import Settings
from tests.delivery.journey import numbers, write_campaign
from tests.delivery.waiting import until
from tests.ledger.ledgers import LATEST


@pytest.fixture
def sale(settings: Settings, tmp_path: Path) -> str:
    return plan_file(write_campaign(tmp_path, numbers(100)), settings).name


class Exchange:
    """A gateway's side of a request: every answer has these ids, or is this error."""

    def __init__(self, *, ids: dict[int, str] | None = None, error: Exception | None = None) -> None:
        self._ids, self._error = ids or {}, error
        self.requests = 0

    async def send(self, claimed: Claim, before: Before) -> Answer:
        self.requests += 1
        if self._error is not None:
            raise self._error
        own = f"id-{claimed.chunk_id}"
        return Answer([Receipt(MessageState.ACCEPTED, self._ids.get(at, f"{own}-{at}")) for at in claimed.positions])

    async def confirm_refused(self, claimed: Claim) -> None:
        raise AssertionError(claimed.chunk_id)


async def send(run: CampaignRun, exchange: Exchange) -> int:
    await check_not_restored(run)
    return await send_batch(run, exchange, 1, LATEST)


@pytest.mark.parametrize("strange", ["x" * 65, "x" * 5_000, "a\x00b", "a\nb", "a\ud7ff\u200bb"])
async def test_an_id_that_the_ledger_cannot_keep_costs_nothing_but_that_id(
    strange: str, sale: str, settings: Settings
) -> None:
    async with open_run(sale, settings=settings) as run:
        assert await send(run, Exchange(ids={1: strange})) == 2
        found = list(listing.messages(run.ledger, run.delivery))
    assert [one.state for one in found] == ["accepted"] * 100
    nameless = [at for at, one in enumerate(found) if one.provider_id is None]
    assert nameless == [1, 51]


async def test_a_pause_that_the_provider_asks_for_holds_everybody_back(sale: str, settings: Settings) -> None:
    exchange = Exchange(error=SlowDown("busy", retry_after_seconds=100, code="1010"))
    async with open_run(sale, settings=settings) as run:
        run.slots = asyncio.Semaphore(1)
        sending_it = asyncio.create_task(send(run, exchange))
        await until(lambda: run.pace.waiting_seconds > 50)
        await asyncio.sleep(0)
        assert exchange.requests == 1
        run.stop(Stopped("enough"))
        await sending_it
        assert len(await run.do(claiming.pending_chunks, run.delivery)) == 2


async def test_an_unknown_outcome_is_never_released(sale: str, settings: Settings) -> None:
    async with open_run(sale, settings=settings) as run:
        await send(run, Exchange(error=OutcomeUnknown("no answer", slows_all=False)))
        assert await run.do(claiming.pending_chunks, run.delivery) == []
        assert {one.state for one in listing.messages(run.ledger, run.delivery)} == {"unknown"}
