"""The one thread of a sending process that writes the ledger; what is asked for at the same time shares a commit."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Concatenate, ParamSpec, TypeVar

from posthorn.ledger.store.engine import Ledger

_P = ParamSpec("_P")
_T = TypeVar("_T")
_MOST_PER_COMMIT = 64


@dataclass(frozen=True, slots=True)
class _Job:
    verb: Callable[[], Any]
    future: asyncio.Future[Any]


class LedgerWriter:
    """Carries out verbs for coroutines, one after the other. A verb has returned only when its commit is durable.

    SQLite has one writer at a time, so more threads would only wait for each other; and eight claims that share a commit
    cost the disk little more than one. On PostgreSQL each verb has a commit of its own: several of them in one transaction
    would hold their chunks in any order, and could wait for another process that waits for them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._most_per_commit = _MOST_PER_COMMIT if ledger.is_sqlite else 1
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    async def do(self, verb: Callable[Concatenate[Ledger, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Carry out ``verb(ledger, *args)``; raises what it raises, or ``LedgerError`` when its commit failed."""
        future = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(lambda: verb(self._ledger, *args, **kwargs), future))
        result: _T = await future  # a cancelled caller does not undo what the thread does
        return result

    def close(self) -> None:
        """End the thread, after what it was given."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (jobs := self._next_jobs()) is not None:
            outcomes: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
            try:
                with self._ledger.group():
                    outcomes += [(job.future, *_outcome(job.verb)) for job in jobs]
            except Exception as error:  # noqa: BLE001 - the group is not durable: for every caller nothing has happened
                outcomes = [(job.future, None, error) for job in jobs]
            for loop, told in groupby(outcomes, key=lambda outcome: outcome[0].get_loop()):  # nearly always one
                loop.call_soon_threadsafe(_tell, list(told))

    def _next_jobs(self) -> list[_Job] | None:
        """What waits, at least one job; None when it is time to end."""
        jobs: list[_Job] = []
        try:
            while len(jobs) < self._most_per_commit:
                job = self._jobs.get(block=not jobs)
                if job is None:
                    if jobs:
                        self._jobs.put(None)
                    break
                jobs.append(job)
        except queue.Empty:
            pass
        return jobs or None


def _outcome(verb: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return verb(), None
    except Exception as error:  # noqa: BLE001 - it is the caller's to handle
        return None, error


def _tell(outcomes: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for future, result, error in outcomes:
        if future.done():  # its caller was cancelled
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
