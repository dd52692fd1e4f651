"""Sending: claim a chunk durably, make its one request, record what became of it.

The outcome of a request is taken, not taken or unknown. Unknown is recorded and never repeated here, whatever happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from posthorn.delivery.reconcile import confirm_refused
from posthorn.delivery.run import CampaignRun
from posthorn.errors import GatewayError, PosthornError, SlowDown, TryAgain
from posthorn.ledger import media, sending
from posthorn.ledger.sending import Claim
from posthorn.ledger.spool import keep_answer, keep_not_taken
from posthorn.models import Answer, MmsRequest, Phone

MOST_BATCHES = 200
"""A campaign is a few hundred task runs at most, however large: Prefect's server loses events beyond."""


class Stopped(PosthornError):
    """Nothing more is sent in this run, for a reason that no single request has."""


@dataclass(frozen=True, slots=True)
class Content:
    """What every request of a campaign has in common."""

    title: str
    text: str | None
    file_ids: tuple[str, ...]
    send_at: datetime | None
    hold_minutes: int | None
    test: bool

    def request(self, phones: Sequence[Phone]) -> MmsRequest:
        """The request for these numbers, dated now if the campaign is held."""
        send_at = datetime.now(UTC) + timedelta(minutes=self.hold_minutes) if self.hold_minutes else self.send_at
        return MmsRequest(self.title, phones, self.file_ids, self.text, send_at, self.test)


def batches(chunks: Sequence[int], concurrency: int) -> Iterator[tuple[int, int]]:
    """Cut the pending chunks into batches ``(first, last)`` for one task run each: enough work for every slot, few runs."""
    size = max(concurrency, -(-len(chunks) // MOST_BATCHES))
    for at in range(0, len(chunks), size):
        yield chunks[at], chunks[min(at + size, len(chunks)) - 1]


async def send_batch(run: CampaignRun, first: int, last: int) -> int:
    """Send every pending chunk with an id from ``first`` to ``last``; returns how many requests were made.

    May be run again at any time: it claims only what is pending.

    Raises:
        TryAgain: the provider could not be reached; what was not sent is pending.
    """
    content = await _content(run)
    workers = [asyncio.create_task(_worker(run, content, first, last)) for _ in range(run.settings.serwersms.concurrency)]
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


async def _worker(run: CampaignRun, content: Content, first: int, last: int) -> int:
    """Send chunk after chunk until there is none left or the run stops."""
    requests = 0
    while not run.is_stopped():
        async with run.slots:
            await run.pace.wait()
            if run.is_stopped():
                break
            claimed = await run.do(sending.claim, run.campaign, run.owner, first, last)
            if claimed is None:
                break
            requests += 1
            await _send(run, content, claimed)
    return requests


async def _send(run: CampaignRun, content: Content, claimed: Claim) -> None:
    """One request for one claim, and what became of it."""
    try:
        answer = await run.gateway.send(content.request(claimed.phones))
    except GatewayError as error:
        await _failed(run, claimed, error)
    except BaseException:
        # Interrupted at an unknown moment: at once and in this thread, there may be no other.
        sending.record_unknown(run.ledger, claimed)
        raise
    else:
        await _answered(run, claimed, answer)


async def _answered(run: CampaignRun, claimed: Claim, answer: Answer) -> None:
    await run.do(keep_answer, run.spool, claimed, answer)
    run.pace.answered()
    if answer.stop is not None:
        run.stop(answer.stop)


async def _failed(run: CampaignRun, claimed: Claim, error: GatewayError) -> None:
    needs_lookup = isinstance(error, SlowDown) and error.is_undocumented and not run.campaign.test
    if error.slows_all:
        run.pace.slow(error.retry_after_seconds)
    if error.maybe_sent or needs_lookup:
        await run.do(sending.record_unknown, claimed, error)
    else:
        await run.do(keep_not_taken, run.spool, claimed, error)
    if error.maybe_sent:
        run.pace.unknown()
    if needs_lookup:
        await run.pace.wait()
        await _confirm_refused(run, claimed)
    _judge(run, error)


async def _confirm_refused(run: CampaignRun, claimed: Claim) -> None:
    try:
        await confirm_refused(run, claimed)
    except GatewayError as error:
        if error.stops_run:
            run.stop(error)  # otherwise it stays unknown, and the reconciliation at the end asks again


def _judge(run: CampaignRun, error: GatewayError) -> None:
    """Stop the run, or pass the error on for a retry, or neither."""
    if error.stops_run:
        run.stop(error)
    elif run.pace.is_broken and run.campaign.definition.get("hold_minutes"):
        run.pace.slow(None)  # what a held campaign sends twice can be withdrawn: wait, and go on
    elif run.pace.is_broken:
        run.stop(Stopped(f"too many unknown outcomes in a row, the last: {error}"))
    elif run.pace.is_out_of_patience:
        run.stop(Stopped(f"the provider asks for nothing but pauses: {error}"))
    elif error.retryable and not error.slows_all:
        raise error


async def _content(run: CampaignRun) -> Content:
    definition = run.campaign.definition
    items = await run.do(media.of, run.campaign)
    missing = [item.media.source for item in items if item.file_id is None or item.verified_at is None]
    if missing:
        raise Stopped(f"media not verified with the provider: {', '.join(missing)}; nothing was sent")
    return Content(
        title=definition["title"],
        text=definition.get("text"),
        file_ids=tuple(item.file_id for item in items if item.file_id),
        send_at=datetime.fromisoformat(definition["send_at"]) if definition.get("send_at") else None,
        hold_minutes=definition.get("hold_minutes"),
        test=run.campaign.test,
    )
