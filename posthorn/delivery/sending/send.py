"""Sending: claim a chunk durably, make its one request, record what became of it.

The outcome of a request is taken, not taken or unknown. Unknown is recorded and never repeated here, whatever happens.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from posthorn.delivery.limits.passed import refuse_passed
from posthorn.delivery.running.run import AnyRun
from posthorn.delivery.sending.ahead import Held, wait_for_slot
from posthorn.delivery.sending.permit import let_leave, prove_lock
from posthorn.errors import (
    CapsUsedUp,
    ClaimGone,
    GatewayError,
    GivenBack,
    HeldBack,
    InputError,
    LedgerError,
    SlowDown,
    Stopped,
    TryAgain,
    Waits,
)
from posthorn.gateways.contract import Before
from posthorn.ledger import claiming, deliveries, sending
from posthorn.ledger.claims import Claim, ClaimLost
from posthorn.ledger.costs import CapReached
from posthorn.ledger.deliveries import PlannedCampaign
from posthorn.ledger.spool import hold_answer, hold_not_taken, keep_answer, keep_not_taken
from posthorn.ledger.store.engine import Ledger
from posthorn.models import AllTaken, Answer

MAX_BATCHES = 16
"""The most batches of a campaign, however large. Each is a task run: it costs Prefect's server work and only shows progress.

A retry needs no smaller ones, because the ledger knows what is left. Of thousands of task runs the server loses some.
"""

_LEAST_PER_SLOT = 4
"""The fewest chunks of a batch for each request in flight: starting a batch must cost little beside its work."""

_PATIENCE_SECONDS = 1.0
_ANOMALIES_SAID = 3
_MAX_ID_LENGTH = 64  # as the ledger's column has it

_logger = logging.getLogger(__name__)
_Outcome = Answer | GatewayError | InputError


class Exchange(Protocol):
    """How the request for a claim is made, and how an unclear HTTP 429 is settled."""

    async def send(self, claimed: Claim, before: Before) -> Answer:
        """Make the one request for this claim, if ``before``, awaited right before its first byte, does not hold it back.

        Raises ``GatewayError``, or ``InputError`` before anything has left.
        """

    async def confirm_refused(self, claimed: Claim) -> None:
        """Settle a claim that is unknown only because no page explains a bare HTTP 429, if the provider can be asked."""


def batches(chunks: Sequence[int], concurrency: int) -> Iterator[tuple[int, int]]:
    """Cut the pending chunks into batches ``(first, last)`` for one task run each: enough work for every slot, few runs."""
    size = max(_LEAST_PER_SLOT * concurrency, -(-len(chunks) // MAX_BATCHES))
    for at in range(0, len(chunks), size):
        yield chunks[at], chunks[min(at + size, len(chunks)) - 1]


async def send_batch(run: AnyRun, exchange: Exchange, first: int, last: int) -> int:
    """Send every pending chunk with an id from ``first`` to ``last``; returns how many requests were made.

    May be run again at any time: it claims only what is pending.

    Raises:
        TryAgain: the provider could not be reached; what was not sent is pending.
    """
    # Three for each slot: while one records what was answered, another has its request under way, and one has its claim.
    batch = _Batch(first, last)
    workers = [asyncio.create_task(_worker(run, exchange, batch)) for _ in range(3 * run.concurrency)]
    try:
        await asyncio.wait(workers)  # unlike gather, it lets the workers live when this task is cancelled
    except asyncio.CancelledError:
        run.stop(Stopped("the run was cancelled"))
        await asyncio.wait(workers)  # what is in flight is finished, not abandoned
        raise
    problems = [problem for worker in workers if (problem := worker.exception()) is not None]
    if problems:
        raise next((problem for problem in problems if not isinstance(problem, TryAgain)), problems[0])
    return sum(worker.result() for worker in workers)


@dataclass(slots=True)
class _Batch:
    """The chunks of one batch. ``given_back`` counts those that came to be pending again, or may have.

    ``empty_at`` is that count as a question began that found none pending, so that whoever asks next need not look.
    ``asking`` counts who asks for a claim. They take turns: who finds none among ``claimed`` asks the ledger for all.
    """

    first: int
    last: int
    given_back: int = 0
    empty_at: int = -1
    asking: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    claimed: deque[Held] = field(default_factory=deque)

    @property
    def is_claimed(self) -> bool:
        """Whether none of them is pending."""
        return self.empty_at == self.given_back


async def _worker(run: AnyRun, exchange: Exchange, batch: _Batch) -> int:
    """Send chunk after chunk until there is none left or the run stops."""
    requests = 0
    while not run.is_stopped():
        async with run.ahead.turns, AsyncExitStack() as slot:
            is_ahead = run.pace.is_quick and run.ahead.is_useful
            if not is_ahead:
                await slot.enter_async_context(run.slots)
            await run.pace.wait()
            if run.is_stopped() or batch.is_claimed:
                break
            held = await _claimed(run, batch)
            if held is None:
                break
            outcome: _Outcome | None = await wait_for_slot(run, held, slot) if is_ahead else None
            if outcome is None:
                requests += 1
                outcome = await _outcome(run, exchange, held)
            _notice(run, outcome)  # before the slot is free: the next request may have to wait, or must not leave at all
        try:
            await _record(run, exchange, held.claim, outcome)
        finally:
            run.ahead.waiting.discard(held.claim.chunk_id)
        if not isinstance(outcome, Answer):
            batch.given_back += 1  # its chunk may be pending again
    return requests


async def _claimed(run: AnyRun, batch: _Batch) -> Held | None:
    """A claim of the batch, durably made. None if there is nothing to claim, or nothing may be: then the run stops.

    Claims that are asked for at the same time are made together, which costs little more than one of them.

    A cap stops the run only once no claim waits for its turn, or is being given back: those are within the cap, and whoever
    has one of them asks again afterwards.
    """
    batch.asking += 1
    try:
        async with batch.turn:
            if not batch.claimed and not run.is_stopped():
                asked = time.monotonic()
                batch.claimed.extend(await run.do(_claim, run, batch, batch.asking))
                run.ahead.claim_seconds = time.monotonic() - asked
            return batch.claimed.popleft() if batch.claimed else None
    except Stopped as reason:
        if isinstance(reason, CapsUsedUp) and run.ahead.waiting:
            return None
        if not run.is_stopped():
            run.stop(reason)
            if isinstance(reason, Waits):  # at once: if this process is killed before its end, the delivery still goes on
                await run.do(deliveries.note_going_on, run.delivery, reason.reason, reason.until)
        return None
    finally:
        batch.asking -= 1


def _claim(ledger: Ledger, run: AnyRun, batch: _Batch, most: int) -> list[Held]:
    """Claim chunks if this process still has its lock; a database may have dropped the session that held it.

    Once the claims are durable they are marked.
    """
    given_back = batch.given_back
    if batch.is_claimed:
        return []
    if run.mark is None and not run.delivery.test:
        raise LedgerError(f"the restore check of {run.delivery.name} was not made; nothing is sent")
    proven_at = prove_lock(ledger, run)
    refuse_passed(ledger, run.delivery)
    run.gate.refuse_claim()
    if (halted := run.halting.look(ledger, run.delivery)) is not None:
        raise halted
    claimed = _claim_within_budget(ledger, run, batch, most)
    if not claimed:
        batch.empty_at = given_back
    elif run.mark is not None:
        ledger.when_durable(partial(run.mark.note, claimed, time.time()))
    return [Held(one, proven_at, run.watch.newest) for one in claimed]


def _claim_within_budget(ledger: Ledger, run: AnyRun, batch: _Batch, most: int) -> list[Claim]:
    while True:
        try:
            limits = run.budget.limits()
            return claiming.claim(ledger, run.delivery, run.owner, batch.first, batch.last, run.watch, limits, most=most)
        except CapReached as reached:
            if most == 1:
                run.budget.make_room(ledger, reached)
            most = 1  # some of them may fit


async def _outcome(run: AnyRun, exchange: Exchange, held: Held) -> _Outcome:
    """Make the one request for a claim; returns its outcome, errors included."""
    claimed, started = held.claim, time.monotonic()
    try:
        run.ahead.departures.note(claimed)
    except LedgerError as error:
        return ClaimGone(str(error))
    try:
        answer = await exchange.send(claimed, partial(let_leave, run, claimed, held.proven_at))
        run.pace.took(time.monotonic() - started)
        return answer
    except (GatewayError, InputError) as error:
        return error
    except BaseException:
        # Interrupted at an unknown moment: at once and in this thread, there may be no other.
        sending.record_unknown(run.ledger, claimed)
        raise


def _notice(run: AnyRun, outcome: _Outcome) -> None:
    """Act on an outcome for the requests that have not left yet: stop, wait, or go on."""
    if isinstance(outcome, Answer):
        run.pace.answered()
        if outcome.stop is not None:
            run.stop(outcome.stop)
        if (halted := run.halting.saw(outcome.receipts)) is not None:
            run.stop(halted)
    elif isinstance(outcome, HeldBack):
        run.stop(outcome.because)
    elif isinstance(outcome, GivenBack):
        pass
    elif isinstance(outcome, InputError) or outcome.stops_run:
        run.stop(outcome)
    else:
        _slow_or_break(run, outcome)


def _slow_or_break(run: AnyRun, error: GatewayError) -> None:
    if error.slows_all:
        run.pace.slow(error.retry_after_seconds)
    if error.maybe_sent:
        run.pace.unknown()
    delivery = run.delivery
    if run.pace.is_broken and isinstance(delivery, PlannedCampaign) and delivery.content.hold_minutes:
        run.pace.slow(None)  # what a held campaign sends twice can be withdrawn: wait, and go on
    elif run.pace.is_broken:
        run.stop(Stopped(f"too many unknown outcomes in a row, the last: {error}"))
    elif run.pace.is_out_of_patience:
        run.stop(Stopped(f"the provider only asks for pauses: {error}"))


async def _record(run: AnyRun, exchange: Exchange, claimed: Claim, outcome: _Outcome) -> None:
    """Record what became of a claim. Raises an error that allows a retry; the caller's caller retries."""
    if isinstance(outcome, Answer):
        outcome = _with_usable_ids(outcome)
        _warn(run, claimed, outcome)
        hold_answer(run.spool, claimed, outcome)
        await asyncio.sleep(0)  # a worker that waits for the slot asks for its claim first; on SQLite both share a commit
        await _durably(run, run.record(keep_answer, run.spool, claimed, outcome))
    elif isinstance(outcome, InputError):  # refused here, before any request
        await run.record(sending.release, claimed)
    elif isinstance(outcome, (ClaimGone, GivenBack)):
        hold_not_taken(run.spool, claimed, outcome)
        with suppress(ClaimLost):  # the process that took it over decides
            await _durably(run, run.record(keep_not_taken, run.spool, claimed, outcome))
    elif outcome.maybe_sent:
        await run.record(sending.record_unknown, claimed, outcome)
    elif isinstance(outcome, SlowDown) and outcome.is_undocumented and not run.delivery.test:
        await run.record(sending.record_unknown, claimed, outcome)
        await _confirm_refused(run, exchange, claimed)
    else:
        hold_not_taken(run.spool, claimed, outcome)
        await _durably(run, run.record(keep_not_taken, run.spool, claimed, outcome))
        if outcome.retryable and not outcome.slows_all:
            raise outcome


def _warn(run: AnyRun, claimed: Claim, answer: Answer) -> None:
    """Say what an answer held that it should not, once it names somebody: it may be about somebody who was not meant."""
    if answer.anomalies:
        said = "; ".join(answer.anomalies[:_ANOMALIES_SAID])
        more = len(answer.anomalies) - _ANOMALIES_SAID
        also = f" and {more} more" if more > 0 else ""
        _logger.warning("%s, chunk %d: the answer is odd: %s%s", run.delivery.name, claimed.chunk_id, said, also)


def _with_usable_ids(answer: Answer) -> Answer:
    """The answer with only those ids that the ledger can keep. A message taken under an unusable id was still taken."""
    receipts = answer.receipts
    if isinstance(receipts, AllTaken):
        ids = receipts.ids
    else:
        ids = [one.provider_id for one in receipts if one.provider_id is not None]
    if max(map(len, ids), default=0) <= _MAX_ID_LENGTH and "".join(ids).isprintable():  # nearly always, so it must be quick
        return answer
    usable = [one if _is_usable(one.provider_id or "") else one._replace(provider_id=None) for one in receipts]
    return replace(answer, receipts=usable, anomalies=[*answer.anomalies, "an unusable id was left out"])


def _is_usable(provider_id: str) -> bool:
    return len(provider_id) <= _MAX_ID_LENGTH and provider_id.isprintable()


async def _durably(run: AnyRun, recording: Coroutine[Any, Any, None]) -> None:
    """Record a spooled outcome. The ledger's commit makes it durable; where that fails or takes long, the spool does."""
    task = asyncio.ensure_future(recording)
    await asyncio.wait([task], timeout=_PATIENCE_SECONDS)
    if not task.done() or task.cancelled() or task.exception() is not None:
        with suppress(OSError):  # the recording's own error says more
            await asyncio.to_thread(run.spool.sync)
    await task


async def _confirm_refused(run: AnyRun, exchange: Exchange, claimed: Claim) -> None:
    await run.pace.wait()
    try:
        await exchange.confirm_refused(claimed)
    except GatewayError as error:
        if error.stops_run:
            run.stop(error)  # otherwise it stays unknown, and the reconciliation at the end asks again
