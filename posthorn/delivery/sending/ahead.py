"""Claims that are made ahead: each waits for a slot, and is given back if it would not be claimed any more by then."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from typing import NamedTuple

from posthorn.delivery.running.run import AnyRun
from posthorn.delivery.sending.permit import clock_seconds
from posthorn.errors import GivenBack, LedgerError, Stopped
from posthorn.ledger import sending
from posthorn.ledger.claims import Claim

_WAITED_SECONDS = 1.0  # since the lock was proven for it: below permit.FRESH_SECONDS, so that it need not be proven again
_RECHECK_SECONDS = 0.1


class Held(NamedTuple):
    """A claim of ours, since when it is known to be ours (``permit.clock_seconds``), and the list's newest entry then."""

    claim: Claim
    proven_at: float
    listed: int


async def wait_for_slot(run: AnyRun, held: Held, slot: AsyncExitStack) -> GivenBack | None:
    """Wait with a claim for a free slot; why it is given back instead of being sent, if so.

    What a claim asks is asked again, for all that wait: was it cancelled meanwhile? Did somebody opt out?
    """
    run.ahead.waiting.add(held.claim.chunk_id)
    try:
        await slot.enter_async_context(run.slots)
        await run.pace.wait()
        await _recheck(run, held)
    except BaseException:
        run.ahead.waiting.discard(held.claim.chunk_id)
        with suppress(LedgerError):  # without it, the next run gives it back
            sending.release(run.ledger, held.claim)  # at once and in this thread, there may be no other
        raise
    because = _stale(run, held)
    if because is None:
        run.ahead.waiting.discard(held.claim.chunk_id)
        return None
    if run.mark is not None:
        run.mark.note_given_back(held.claim)
    return GivenBack(because)


def _stale(run: AnyRun, held: Held) -> str | None:
    """Why a claim that has waited is not to be sent any more; None if it would be claimed all the same now."""
    if run.is_stopped():
        return "the run stopped before it was its turn"
    if held.listed != max(run.watch.newest, run.ahead.listed):
        return "the suppression list has grown since it was claimed"
    if not 0 <= clock_seconds() - held.proven_at <= _WAITED_SECONDS:
        return "it has waited too long for its turn"
    try:
        run.gate.refuse_claim()
    except Stopped as refused:
        return str(refused)
    return None


async def _recheck(run: AnyRun, held: Held) -> None:
    """Ask the ledger what was said since the claim, unless somebody has just asked: one question serves all that wait."""
    async with run.ahead.rechecking:
        begun = clock_seconds()
        if begun - max(held.proven_at, run.ahead.rechecked_at) > _RECHECK_SECONDS:
            await run.recheck()
            run.ahead.rechecked_at = begun
