"""The loop that delivers: send what is pending, look up what is unknown, repeat what may be, withdraw what must not go.

It decides what happens next. The single steps are handed in as ``Steps``: plain functions, or Prefect tasks with
their retries and limits (``tasks/deliver.py``). The flows, the drills and the bench all run this loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from posthorn.delivery.deciding.approval import apply_approval
from posthorn.delivery.planning.repeat import apply_on_repeat
from posthorn.delivery.running.run import AnyRun, CampaignRun, TicketRun
from posthorn.delivery.sending.exchange import TicketExchange, campaign_exchange
from posthorn.delivery.sending.send import Exchange, batches, send_batch
from posthorn.delivery.sending.waves import opened_next
from posthorn.delivery.settling.copies import find_second_copies
from posthorn.delivery.settling.hold import FOR_LAST_LOOK, note_last_look
from posthorn.delivery.settling.reconcile import reconcile, seconds_to_next_look, wait_unless_stopped
from posthorn.delivery.settling.restore_check import check_not_restored
from posthorn.delivery.settling.withdraw import withdraw_unwanted
from posthorn.delivery.suppression.optouts import take_refusals
from posthorn.ledger import claiming, copies, sending

BATCHES_AT_ONCE = 4
"""While the last requests of one batch are answered, the next are under way."""

_LOOK_SECONDS = 1.0
Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]
_logger = logging.getLogger(__name__)


async def look_up(run: CampaignRun, logger: Logger = _logger) -> float | None:
    """Look up every unknown message once; returns the seconds until another look may settle more, or None.

    Raises:
        TryAgain: the provider could not be asked.
    """
    done = await reconcile(run)
    if done.looked_up:
        line = "looked up %d unknown: %d were taken, %d to be sent again, %d stay unknown"
        logger.info(line, done.looked_up, done.found, done.resend, done.unknown)
    return await seconds_to_next_look(run)


@dataclass(frozen=True, slots=True)
class Steps:
    """The loop's single steps. Each may be repeated at any time: the ledger knows what is left.

    ``check_not_restored`` says whether the run may send at all, before its first claim. ``send`` sends one batch.
    ``look_up``, ``withdraw`` and ``find_copies`` look after what was sent. ``limit`` is held while sending.
    """

    check_not_restored: Callable[[AnyRun], Awaitable[None]] = check_not_restored
    send: Callable[[AnyRun, Exchange, int, int], Awaitable[int]] = send_batch
    look_up: Callable[[CampaignRun], Awaitable[float | None]] = look_up
    withdraw: Callable[[CampaignRun], Awaitable[int]] = withdraw_unwanted
    find_copies: Callable[[CampaignRun], Awaitable[int]] = find_second_copies
    limit: Callable[[AnyRun], AbstractAsyncContextManager[None]] = lambda _run: nullcontext()


PLAIN = Steps()
"""Every step as the function it is: no retries, no limit over processes."""


async def deliver_campaign(run: CampaignRun, steps: Steps = PLAIN) -> None:
    """Send everything that is pending of a campaign whose media are verified, and settle what is unknown.

    Raises:
        GatewayError, LedgerError, Stopped: why it ended early. What was not sent is pending.
    """
    await note_last_look(run)
    is_open = True
    while is_open:
        await send_all(run, steps)
        await settle_all(run, steps)
        is_open = await opened_next(run)


async def deliver_event(run: TicketRun, steps: Steps = PLAIN) -> int:
    """Send every pending ticket of an event; how many requests were made.

    Raises:
        GatewayError, LedgerError, Stopped: why it ended early. What was not sent is pending.
    """
    return await send_pending(run, TicketExchange(run), steps)


async def send_all(run: CampaignRun, steps: Steps = PLAIN) -> int:
    """Send every pending chunk of a campaign, and wait until everything that other processes claimed of it is over.

    Returns how many requests this process made.
    """
    exchange = await campaign_exchange(run)
    requests = await send_pending(run, exchange, steps)
    while not run.is_stopped() and await _others_are_at_work(run):
        with run.waiting_for("for the other processes that send it"):
            await asyncio.sleep(_LOOK_SECONDS)
        requests += await send_pending(run, exchange, steps)
    return requests


async def send_pending(run: AnyRun, exchange: Exchange, steps: Steps = PLAIN) -> int:
    """Send every pending chunk, a batch per step; the first batch that fails for good stops the rest.

    Returns how many requests were made.

    Raises:
        Stopped: the ledger is, or seems, older than what was sent; nothing was sent.
    """
    pending = await run.do(claiming.pending_chunks, run.delivery)
    if not pending:
        return 0
    await steps.check_not_restored(run)
    await apply_approval(run)
    await apply_on_repeat(run)
    await asyncio.to_thread(take_refusals, run.ledger)
    gate = asyncio.Semaphore(BATCHES_AT_ONCE)

    async def send_one(first: int, last: int) -> int:
        async with gate:
            if run.is_stopped():
                return 0
            try:
                return await steps.send(run, exchange, first, last)
            except Exception as error:
                run.stop(error)
                raise

    async with steps.limit(run):
        sends = [send_one(first, last) for first, last in batches(pending, run.concurrency)]
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return sum(outcome for outcome in outcomes if isinstance(outcome, int))


async def settle_all(run: CampaignRun, steps: Steps = PLAIN) -> None:
    """Settle what is unknown as far as the campaign's file allows: look, wait, look again, send again what is absent.

    A held campaign that has sent anything again waits for a last look, close before the provider dispatches it.
    """
    while True:
        begun = time.time()
        await _settle(run, steps)
        await _withdraw_if_kept(run, steps)
        moment = await note_last_look(run, after=begun)
        if moment is None or run.is_stopped():
            break
        if not await wait_unless_stopped(run, max(0.0, moment - time.time()), FOR_LAST_LOOK):
            break


async def settle_once(run: CampaignRun, steps: Steps = PLAIN) -> None:
    """Settle what one look proves, withdraw what must not go out, find second copies. Sends nothing."""
    begun = time.time()
    await steps.look_up(run)
    await _withdraw_if_kept(run, steps)
    if await run.do(copies.suspects, run.delivery, 1):
        await steps.find_copies(run)
    await note_last_look(run, after=begun)


async def _settle(run: CampaignRun, steps: Steps) -> None:
    while True:
        seconds = await steps.look_up(run)
        await run.refresh()
        if run.is_stopped():
            break
        if await run.do(claiming.pending_chunks, run.delivery):
            await note_last_look(run)  # before the second request leaves: this process may die after it
            await send_all(run, steps)
        elif seconds is None or not await wait_unless_stopped(run, seconds):
            break


async def _withdraw_if_kept(run: CampaignRun, steps: Steps) -> None:
    """Only if the provider may hold messages back; otherwise the step would do nothing."""
    if not await run.do(sending.may_be_kept, run.delivery):
        return
    if run.delivery.cancelled_at is not None or bool(await run.do(copies.suspects, run.delivery, 1)):
        await steps.withdraw(run)


async def _others_are_at_work(run: CampaignRun) -> bool:
    """Whether there is something to wait for: a chunk that another process is sending, or has given back."""
    if run.sending_lock_key != run.delivery.lock_key:
        return False  # a helper does not wait for anybody
    await run.refresh()
    if run.is_stopped():
        return False
    if abandoned := await run.do(sending.abandon_dead, run.delivery):
        _logger.warning("%d chunks were under way in a process that has died; they are unknown now", abandoned)
    return bool(await run.do(sending.in_flight, run.delivery) or await run.do(claiming.pending_chunks, run.delivery))
