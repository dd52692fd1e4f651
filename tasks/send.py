"""Send batches of chunks: as many requests at once as the settings allow, each claimed in the ledger before it leaves."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import task

from posthorn.delivery.exchange import campaign_exchange
from posthorn.delivery.run import CampaignRun, Run
from posthorn.delivery.send import Exchange, batches, send_batch
from posthorn.ledger import sending
from tasks.policy import POLICY

BATCHES_AT_ONCE = 2  # while the last requests of one batch are answered, the next is under way


@task(name="send", task_run_name="send {first}-{last}", **POLICY)
async def send(run: Run[Any], exchange: Exchange, first: int, last: int) -> int:
    """Send what is pending of the chunks ``first`` to ``last``; how many requests were made."""
    return await send_batch(run, exchange, first, last)


async def send_all(run: CampaignRun) -> None:
    """Send every pending chunk of a campaign."""
    await send_pending(run, await campaign_exchange(run))


async def send_pending(run: Run[Any], exchange: Exchange) -> None:
    """Send every pending chunk, a task run per batch; the first batch that fails for good stops the rest."""
    gate = asyncio.Semaphore(BATCHES_AT_ONCE)

    async def send_one(first: int, last: int) -> None:
        async with gate:
            if not run.is_stopped():
                try:
                    await send(run, exchange, first, last)
                except Exception as error:
                    run.stop(error)
                    raise

    pending = await run.do(sending.pending_chunks, run.campaign)
    sends = [send_one(first, last) for first, last in batches(pending, run.concurrency)]
    problems = [outcome for outcome in await asyncio.gather(*sends, return_exceptions=True) if outcome is not None]
    if problems:
        raise problems[0]
