"""The steps of the delivery loop as tasks: parallel requests within the settings' limits, and retries by error class."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect import task
from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import concurrency
from prefect.logging import get_run_logger

from posthorn.delivery import deliver
from posthorn.delivery.deliver import Steps
from posthorn.delivery.running.run import AnyRun, CampaignRun
from posthorn.delivery.sending.send import Exchange, send_batch
from posthorn.delivery.settling.copies import find_second_copies
from posthorn.delivery.settling.restore_check import check_not_restored as check
from posthorn.delivery.settling.withdraw import withdraw_unwanted
from tasks.policy import POLICY
from tasks.story import tell_batch, tell_failed


def limit_name(gateway: str) -> str:
    """The concurrency limit in Prefect that all processes sending through this account share."""
    return f"posthorn-{gateway}"


@task(name="restore check", task_run_name="restore check", **POLICY)
async def check_not_restored(run: AnyRun) -> None:
    """Let the run send, unless its ledger is older than what was sent."""
    await check(run)


async def check_once(run: AnyRun) -> None:
    """Run the task, unless the run was checked before."""
    if run.mark is None and not run.delivery.test:
        await check_not_restored(run)


@task(name="send", task_run_name="send {first}-{last}", **POLICY)
async def send(run: AnyRun, exchange: Exchange, first: int, last: int) -> int:
    """Send the pending chunks from ``first`` to ``last``; returns how many requests were made."""
    began = time.monotonic()
    try:
        requests = await send_batch(run, exchange, first, last)
    except Exception as error:
        await tell_failed(run, first, last, error)
        raise
    if run.stopped is not None:
        await tell_failed(run, first, last, run.stopped)
    else:
        await tell_batch(run, first, last, requests, began)
    return requests


@task(name="reconcile", task_run_name="reconcile", **POLICY)
async def look_up(run: CampaignRun) -> float | None:
    """Look up every unknown message once; returns the seconds until another look may settle more, or None."""
    return await deliver.look_up(run, get_run_logger())


@task(name="withdraw", task_run_name="withdraw", **POLICY)
async def withdraw(run: CampaignRun) -> int:
    """Withdraw messages that the provider holds and must not dispatch; returns how many were withdrawn."""
    return await withdraw_unwanted(run)


@task(name="find copies", task_run_name="find copies", **POLICY)
async def find_copies(run: CampaignRun) -> int:
    """Look for second copies of messages that a lookup settled; returns how many there are."""
    return await find_second_copies(run)


@asynccontextmanager
async def part_of_limit(run: AnyRun) -> AsyncIterator[None]:
    """Hold this process's part of the account's limit while it sends: as many slots as it may have requests in flight.

    A missing limit is an error and does not mean "no limit". A lower limit is respected. A limit that cannot be renewed does
    not interrupt requests under way. It is held once, not for each batch: Prefect's server on SQLite answers "locked" to one
    request in five, and then its client waits for two seconds.
    """
    name = limit_name(run.delivery.gateway)
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


STEPS = Steps(
    check_not_restored=check_once,
    send=send,
    look_up=look_up,
    withdraw=withdraw,
    find_copies=find_copies,
    limit=part_of_limit,
)
"""The loop's steps as task runs: a few dozen for a campaign, however large."""
