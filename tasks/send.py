"""Send batches of chunks: as many requests at once as the settings allow, each claimed in the ledger before it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prefect import task
from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import concurrency
from prefect.logging import get_run_logger

from posthorn.delivery.exchange import campaign_exchange
from posthorn.delivery.run import CampaignRun, Run
from posthorn.delivery.send import Exchange, batches, send_batch
from posthorn.ledger import sending
from tasks.policy import POLICY

BATCHES_AT_ONCE = 4
"""While the last requests of one batch are answered, the next are under way."""

_LOOK_SECONDS = 1.0


def limit_name(gateway: str) -> str:
    """The concurrency limit in Prefect that all processes sending through this account share."""
    return f"posthorn-{gateway}"


@task(name="send", task_run_name="send {first}-{last}", **POLICY)
async def send(run: Run[Any], exchange: Exchange, first: int, last: int) -> int:
    """Send what is pending of the chunks ``first`` to ``last``; how many requests were made."""
    return await send_batch(run, exchange, first, last)


@asynccontextmanager
async def _part_of_limit(run: Run[Any]) -> AsyncIterator[None]:
    """Hold this process's part of the account's limit while it sends: as many places as it may have requests in flight.

    A limit that nobody created is an error, not freedom. One that was set lower than that is kept to. One that cannot be
    renewed does not interrupt what is under way. Held once, not for each batch: Prefect's server on SQLite answers "locked"
    to one asker in five, and then its client waits for two seconds.
    """
    name = limit_name(run.campaign.gateway)
    async with get_client() as client:
        limit = await client.read_global_concurrency_limit_by_name(name)
    places = max(1, min(run.concurrency, limit.limit))
    async with (
        concurrency(name, occupy=places, strict=True, raise_on_lease_renewal_failure=False),
        _kept_free(run.slots, run.concurrency - places),
    ):
        yield


@asynccontextmanager
async def _kept_free(slots: asyncio.Semaphore, count: int) -> AsyncIterator[None]:
    for _ in range(count):
        await slots.acquire()
    try:
        yield
    finally:
        for _ in range(count):
            slots.release()


async def send_all(run: CampaignRun) -> int:
    """Send every pending chunk of a campaign, and see to it that whatever other processes claimed of it is over.

    Returns how many requests this process made.
    """
    exchange = await campaign_exchange(run)
    requests = await send_pending(run, exchange)
    while not run.is_stopped() and await _others_are_at_work(run):
        await asyncio.sleep(_LOOK_SECONDS)
        requests += await send_pending(run, exchange)
    return requests


async def _others_are_at_work(run: CampaignRun) -> bool:
    """Whether there is something to wait for: a chunk that another process has under way, or has given back."""
    if run.guard_key != run.campaign.lock_key:
        return False  # a helper does not wait for anybody
    await run.heed()
    if run.is_stopped():
        return False
    if abandoned := await run.do(sending.abandon_dead, run.campaign):
        get_run_logger().warning("%d chunks were under way in a process that has died; they are unknown now", abandoned)
    return bool(await run.do(sending.in_flight, run.campaign) or await run.do(sending.pending_chunks, run.campaign))


async def send_pending(run: Run[Any], exchange: Exchange) -> int:
    """Send every pending chunk, a task run per batch; the first batch that fails for good stops the rest.

    Returns how many requests were made.
    """
    pending = await run.do(sending.pending_chunks, run.campaign)
    if not pending:
        return 0
    gate = asyncio.Semaphore(BATCHES_AT_ONCE)

    async def send_one(first: int, last: int) -> int:
        async with gate:
            if run.is_stopped():
                return 0
            try:
                return await send(run, exchange, first, last)
            except Exception as error:
                run.stop(error)
                raise

    async with _part_of_limit(run):
        sends = [send_one(first, last) for first, last in batches(pending, run.concurrency)]
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return sum(outcome for outcome in outcomes if isinstance(outcome, int))
