"""Whether this process may claim, and whether a claimed request may still leave.

The second is asked as late as possible: the connection stands, no byte is written. A process may sleep between its claim
and its request, and lose its lock to another one meanwhile. So a request leaves only within moments of a proof that its
claim is ours, on a clock that goes on while the machine is suspended.
"""

from __future__ import annotations

import time

from posthorn.delivery.running.run import AnyRun
from posthorn.errors import ClaimGone, HeldBack, LedgerError, Stopped, Unreachable
from posthorn.ledger import claiming
from posthorn.ledger.claims import Claim
from posthorn.ledger.store.engine import Ledger

FRESH_SECONDS = 2.0
"""How old a proof may be: far below the shortest time between two looks that make a message absent."""

_MAX_PROOFS = 5
_LOCK_PROOF_SECONDS = 0.5  # far below ahead.py's bound: a claim that is made on an older proof has the rest of it to wait
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux: also counts suspension, unlike its CLOCK_MONOTONIC; on macOS CLOCK_MONOTONIC does."""


def clock_seconds() -> float:
    """Seconds on a clock that nobody sets and that counts suspension."""
    return time.clock_gettime(_CLOCK)


def prove_lock(ledger: Ledger, run: AnyRun) -> float:
    """The moment at which the lock was known to be ours: now, or a moment ago if nothing speaks against it since.

    A database is a round trip away. A session that it has ended has said so on its socket.

    Raises:
        LedgerError: the lock is lost.
    """
    now = clock_seconds()
    if 0 <= now - run.ahead.lock_proven_at <= _LOCK_PROOF_SECONDS and not ledger.locks.may_be_gone(run.sending_lock_key):
        return run.ahead.lock_proven_at
    if not ledger.locks.still_held(run.sending_lock_key):
        raise LedgerError(f"the lock of {run.delivery.name} is lost; nothing more is sent. Run it again")
    run.ahead.lock_proven_at = now
    return now


async def let_leave(run: AnyRun, claimed: Claim, proven_at: float) -> None:
    """Return at once if the claim was proven to be ours moments ago (``proven_at``, on our clock). Else prove it anew.

    A proof asks the lock's session and the claim's chunk, one round trip each. Most requests do not need it: the claim
    itself was a proof, and a session that was ended says so on its socket.

    Raises:
        ClaimGone: it is not ours any more, it stands in no mark, or the ledger is gone. Nothing may leave.
        HeldBack: its hours have ended since.
        Unreachable: the ledger did not answer in time; the request may be made again.
    """
    try:
        run.gate.refuse_to_leave()
    except Stopped as because:
        raise HeldBack(because) from None
    if run.mark is not None and run.mark.problem is not None:
        raise ClaimGone(f"{run.mark.path} could not be written ({run.mark.problem.strerror}); nothing more is sent")
    if _is_fresh(proven_at) and not run.ledger.locks.may_be_gone(run.sending_lock_key):
        return
    for _ in range(_MAX_PROOFS):
        proven_at = clock_seconds()
        try:
            is_ours = await run.do(_is_ours, run, claimed)
        except LedgerError as error:  # not one byte has left, so nobody is in doubt
            raise ClaimGone(
                f"the ledger was lost before a request left ({error}): it was held back. Run it again"
            ) from error
        if not is_ours:
            raise ClaimGone(
                f"the lock of {run.delivery.name} was lost while a request waited to leave, and another process may have"
                " taken over: the request was held back, nothing more is sent here. Run it again"
            )
        if _is_fresh(proven_at):
            return
    raise Unreachable(f"the ledger answers too slowly to show that a claim still stands ({FRESH_SECONDS:.0f} s); not sent")


def _is_fresh(proven_at: float) -> bool:
    return 0 <= clock_seconds() - proven_at <= FRESH_SECONDS


def _is_ours(ledger: Ledger, run: AnyRun, claimed: Claim) -> bool:
    return ledger.locks.still_held(run.sending_lock_key) and claiming.stands(ledger, claimed)
