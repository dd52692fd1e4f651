"""How a campaign's chunks become task runs: every chunk in exactly one, never many of them, and each sends all it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posthorn.delivery.deliver import BATCHES_AT_ONCE, Steps, send_pending
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_media
from posthorn.delivery.running.run import Run, open_run
from posthorn.delivery.sending import send
from posthorn.delivery.sending.exchange import campaign_exchange
from posthorn.delivery.sending.send import MAX_BATCHES, Exchange, batches, send_batch
from posthorn.errors import CreditExhausted
from posthorn.ledger import claiming
from posthorn.ledger.claims import Claim
from posthorn.sandbox.server import Sandbox
from tests.conftest import sandbox_settings
from tests.delivery.journey import numbers, write_campaign
from tests.ledger.ledgers import LATEST


@pytest.mark.parametrize("count", [0, 1, 7, 32, 33, 500, 5_000, 123_456])
def test_every_chunk_is_in_one_batch_and_a_large_campaign_has_few(count: int) -> None:
    chunks = list(range(3, 3 + 2 * count, 2))  # what is between them belongs to another campaign
    cut = list(batches(chunks, concurrency=8))
    assert [chunk for first, last in cut for chunk in chunks if first <= chunk <= last] == chunks
    assert len(cut) <= MAX_BATCHES
    assert count <= 32 or len(cut) > 1


async def test_a_chunk_that_was_not_taken_is_sent_by_its_own_batch_although_no_other_is_left(
    box: Sandbox, tmp_path: Path
) -> None:
    busy = {"call": "messages/send_mms", "at": [1], "fault": "status_before", "status": 429, "retry_after": "0"}
    box.faults.replace([busy])
    settings = sandbox_settings(box.url, tmp_path)
    campaign = plan_file(write_campaign(tmp_path, numbers(40), test="true"), settings)
    async with open_run(campaign.name, test=True, settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        exchange = await campaign_exchange(run)
        assert await send_batch(run, exchange, 1, LATEST) == 2
        assert await run.do(claiming.pending_chunks, run.delivery) == []


async def test_the_first_batch_that_fails_for_good_is_the_last(box: Sandbox, tmp_path: Path) -> None:
    settings = sandbox_settings(box.url, tmp_path, concurrency=1)
    campaign = plan_file(write_campaign(tmp_path, numbers(2_400)), settings)
    begun: list[int] = []

    async def refused(_run: Run[Any], _exchange: Exchange, first: int, _last: int) -> int:
        begun.append(first)
        raise CreditExhausted("no credit left")

    async with open_run(campaign.name, settings=settings) as run:
        assert len(list(batches(await run.do(claiming.pending_chunks, run.delivery), run.concurrency))) > BATCHES_AT_ONCE
        await upload_media(run)
        await verify_media(run)
        with pytest.raises(CreditExhausted):
            await send_pending(run, await campaign_exchange(run), Steps(send=refused))
        assert isinstance(run.stopped, CreditExhausted)
    assert begun == [1]


async def test_a_chunk_that_is_given_back_while_another_claim_looks_is_not_left_behind(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL a claim and a record run beside each other: the claim may find nothing, and be told of it later."""
    settings = sandbox_settings(box.url, tmp_path)
    campaign = plan_file(write_campaign(tmp_path, numbers(40), test="true"), settings)
    batch = send._Batch(1, LATEST)

    def gives_back_meanwhile(*_: object) -> list[Claim]:
        batch.given_back += 1
        return []

    async with open_run(campaign.name, test=True, settings=settings) as run:
        with monkeypatch.context() as patched:
            patched.setattr(send, "_claim_within_budget", gives_back_meanwhile)
            assert await run.do(send._claim, run, batch, 1) == []
        assert not batch.is_claimed
        assert len(await run.do(send._claim, run, batch, 1)) == 1
        assert await run.do(send._claim, run, batch, 1) == []
        assert batch.is_claimed


async def test_claims_that_are_asked_for_at_once_are_one_question(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = sandbox_settings(box.url, tmp_path, concurrency=4, chunk_size=5)
    campaign = plan_file(write_campaign(tmp_path, numbers(200), test="true"), settings)
    claim, asked = claiming.claim, []

    def counted(*given: Any, most: int, **named: Any) -> list[Claim]:
        asked.append(most)
        return claim(*given, most=most, **named)

    monkeypatch.setattr(claiming, "claim", counted)
    async with open_run(campaign.name, test=True, settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        assert await send_batch(run, await campaign_exchange(run), 1, LATEST) == 40
    assert asked[:2] == [1, 3], "the first asks for itself, and those who have a slot wait for it"
    assert len(asked) < 40
