"""Who runs a delivery, and who looks after it: one lock for each, held by one process at a time.

Whoever runs or plans a delivery holds its run lock. Whoever only looks after it holds both, so that a run which is started
meanwhile can tell that it is worth waiting.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

from posthorn.delivery.running.waiting import board
from posthorn.errors import AlreadyRunning, LedgerError
from posthorn.ledger import deliveries
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger

PAUSE_SECONDS = 0.1
"""How long to wait between two attempts."""

_MAX_LOOKUP_SECONDS = 600.0


def wait_for_lock(ledger: Ledger, delivery: Delivery) -> None:
    """Take the lock to plan this delivery. While another process only looks after it, wait for that to end.

    Raises:
        AlreadyRunning: another process runs it; with since when and by whom.
        LedgerError: the lookup has not ended for ten minutes.
    """
    if try_lock(ledger, delivery):
        return
    with board().waiting(*for_lookup(delivery)):
        for _ in attempts(ledger, delivery):
            time.sleep(PAUSE_SECONDS)


def attempts(ledger: Ledger, delivery: Delivery) -> Iterator[None]:
    """Try for the run lock until this process has it; the caller waits ``PAUSE_SECONDS`` in between.

    Raises:
        AlreadyRunning, LedgerError: as ``wait_for_lock``.
    """
    deadline = time.monotonic() + _MAX_LOOKUP_SECONDS
    while not try_lock(ledger, delivery):
        if time.monotonic() >= deadline:
            raise LedgerError(
                f"{delivery.name} has been looked after by another process for {_MAX_LOOKUP_SECONDS / 60:.0f} minutes;"
                " nothing was sent. Look at that process, and run the campaign again"
            )
        yield


def for_lookup(delivery: Delivery) -> tuple[str, float]:
    """What is waited for while another process looks after the delivery, and until when at most (seconds since 1970)."""
    return f"for another process that looks after {delivery.name}", time.time() + _MAX_LOOKUP_SECONDS


def try_lock(ledger: Ledger, delivery: Delivery) -> bool:
    """Take the lock to run this delivery; False while a process that sends nothing looks after it.

    Raises:
        AlreadyRunning: another process runs it; with since when and by whom.
    """
    if ledger.locks.acquire(delivery.lock_key):
        return True
    if not ledger.locks.is_free(delivery.lookup_key):
        return False
    if ledger.locks.acquire(delivery.lock_key):  # the lookup ended between the two questions
        return True
    raise _already_running(ledger, delivery)


def lock_for_lookup(ledger: Ledger, delivery: Delivery) -> None:
    """Look after a delivery without running it. A run that is started meanwhile waits.

    Raises:
        AlreadyRunning: another process runs it, or looks after it.
    """
    locks = ledger.locks
    if deliveries.is_run(ledger, delivery.lock_key):
        raise _already_running(ledger, delivery)  # before the run's helpers could take it for a lookup
    if not locks.acquire(delivery.lookup_key):
        raise AlreadyRunning(f"{delivery.name} is being looked after by another process")
    if not locks.acquire(delivery.lock_key):
        raise _already_running(ledger, delivery)


def _already_running(ledger: Ledger, delivery: Delivery) -> AlreadyRunning:
    now = deliveries.refreshed(ledger, delivery)
    return AlreadyRunning(f"{delivery.name} is already running {_since(now)}")


def _since(delivery: Delivery) -> str:
    if delivery.run_started_at is None:
        return "elsewhere: it is being planned"
    moment = datetime.fromtimestamp(delivery.run_started_at).astimezone()
    minutes = (time.time() - delivery.run_started_at) / 60
    return f"since {moment:%Y-%m-%d %H:%M:%S %Z} ({minutes:.0f} min), by {delivery.run_by}"
