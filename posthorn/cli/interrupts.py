"""Ctrl-C and SIGTERM while a flow runs: the first one lets what is in flight come to its end, the second one does not.

The flow runs in a thread of its own. In the main thread Prefect would take SIGTERM for itself, and what is in flight
would be dropped and left unknown.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from posthorn.cli.output import say

_T = TypeVar("_T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_interruptibly(work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run ``work`` in an event loop of its own and return its result.

    Raises:
        KeyboardInterrupt: a signal stopped it; what it had in flight has ended first, unless there was a second signal.
    """
    interruptible = _Interruptible()
    with ThreadPoolExecutor(1, thread_name_prefix="flow") as thread, _handling(interruptible.interrupt):
        ended = thread.submit(asyncio.run, interruptible.run(work()))
        try:
            return ended.result()
        except asyncio.CancelledError:
            if not interruptible.signals:
                raise
            raise KeyboardInterrupt from None


class _Interruptible:
    """One piece of work, the loop it runs in, and how many signals came."""

    def __init__(self) -> None:
        self.signals = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do the work; cancelled by the first signal, be it earlier than this."""
        self._task = task = asyncio.create_task(work)
        self._loop = asyncio.get_running_loop()
        if self.signals:
            task.cancel()
        return await task

    def interrupt(self, _number: int, _frame: object) -> None:
        """What a signal does: cancel the work kindly, then everything, then nothing more: the system's own way."""
        self.signals += 1
        if self.signals == 1:
            say("stopping: waiting for the answers that are under way (Ctrl-C again to leave at once)")
        else:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None and self.signals == 1:
            self._task.cancel()
        elif self.signals > 1:
            for task in asyncio.all_tasks():
                task.cancel()


@contextmanager
def _handling(handler: Callable[[int, object], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
