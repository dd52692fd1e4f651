"""The threads of a sending process that write the ledger; what is asked for at the same time may share a commit."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Concatenate, ParamSpec, TypeVar

from posthorn.ledger.store.engine import Ledger

_P = ParamSpec("_P")
_T = TypeVar("_T")
_MAX_PER_COMMIT = 64
_RECORDERS = 3
"""Threads that record on PostgreSQL, whose commits overlap. Its pool of connections has room for them."""


@dataclass(frozen=True, slots=True)
class _Job:
    verb: Callable[[], Any]
    future: asyncio.Future[Any]


_Jobs = queue.SimpleQueue[_Job | None]


class LedgerWriter:
    """Carries out verbs for coroutines. A verb has returned only when its commit is durable.

    SQLite has one writer at a time, so there is one thread: more would only wait for each other; and eight verbs that
    share a commit cost the disk little more than one. On PostgreSQL each verb has its own. Some wait for chunks that
    another process holds: several in one transaction would hold theirs in any order, and the two could wait for each other.
    There, records have threads of their own, for each waits for round trips and for the disk. Claims stay with one thread:
    they share what a run keeps in memory.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._jobs: _Jobs = queue.SimpleQueue()
        self._records: _Jobs = self._jobs if ledger.is_sqlite else queue.SimpleQueue()
        served = [self._jobs] if ledger.is_sqlite else [self._jobs, *[self._records] * _RECORDERS]
        self._threads = [(jobs, self._started(jobs)) for jobs in served]

    async def do(self, verb: Callable[Concatenate[Ledger, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Carry out ``verb(ledger, *args)``, one after the other; raises what it raises, or ``LedgerError`` when its commit
        failed.
        """
        return await self._asked(self._jobs, lambda: verb(self._ledger, *args, **kwargs))

    async def record(self, verb: Callable[Concatenate[Ledger, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """``do`` for a verb that concerns one claim of this process and nothing else: it may run beside any other."""
        return await self._asked(self._records, lambda: verb(self._ledger, *args, **kwargs))

    def close(self) -> None:
        """End the threads, after what they were given."""
        for jobs, _ in self._threads:
            jobs.put(None)
        for _, thread in self._threads:
            thread.join()

    def _started(self, jobs: _Jobs) -> threading.Thread:
        thread = threading.Thread(target=self._work, args=(jobs,), name="ledger", daemon=True)
        thread.start()
        return thread

    async def _asked(self, jobs: _Jobs, verb: Callable[[], _T]) -> _T:
        future = asyncio.get_running_loop().create_future()
        jobs.put(_Job(verb, future))
        result: _T = await future  # a cancelled caller does not undo what the thread does
        return result

    def _work(self, jobs: _Jobs) -> None:
        most = _MAX_PER_COMMIT if self._ledger.is_sqlite else 1
        while (taken := _waiting(jobs, most)) is not None:
            outcomes: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
            try:
                with self._ledger.group() if self._ledger.is_sqlite else nullcontext():
                    outcomes += [(job.future, *_outcome(job.verb)) for job in taken]
            except Exception as error:  # noqa: BLE001 - the group is not durable: for every caller nothing has happened
                outcomes = [(job.future, None, error) for job in taken]
            for loop, told in groupby(outcomes, key=lambda outcome: outcome[0].get_loop()):  # nearly always one
                loop.call_soon_threadsafe(_tell, list(told))


def _waiting(queued: _Jobs, most: int) -> list[_Job] | None:
    """What waits, at least one job and at most so many; None when it is time to end."""
    jobs: list[_Job] = []
    try:
        while len(jobs) < most:
            job = queued.get(block=not jobs)
            if job is None:
                if jobs:
                    queued.put(None)
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
