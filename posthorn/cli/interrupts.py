"""Ctrl-C and SIGTERM: the first lets requests in flight finish, the second always ends the process.

A flow runs in a thread of its own. In the main thread Prefect would handle SIGTERM itself, and requests in flight would be
dropped and left unknown. The second signal waits for no thread: one may hang in a call to a database that does not answer.
Nothing is lost by that. Answers are in the spool, and a claim whose process is gone becomes unknown.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

from posthorn.errors import Stopped
from posthorn.process.terminal import say

_T = TypeVar("_T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LEAVING_SECONDS = 2.0
INTERRUPTED = 130
_SHOW_CURSOR = "\x1b[?25h"


class _Signals:
    """The signals that this process got: whether one came, and whether a flow got a second one."""

    def __init__(self) -> None:
        self.came = False
        self.came_twice = False

    def __call__(self, _number: int, _frame: object) -> None:
        """Outside a flow: the first one interrupts the main thread, the second one ends the process."""
        if self.came:
            leave()
        self.came = True
        raise KeyboardInterrupt


signals = _Signals()


def end_at_the_second_signal() -> None:
    """Let Ctrl-C and SIGTERM interrupt this process, and a second one end it at once."""
    for number in _SIGNALS:
        signal.signal(number, signals)


def leave() -> NoReturn:
    """End this process now, whatever its threads do."""
    if sys.stderr.isatty():
        sys.stderr.write(_SHOW_CURSOR)  # a progress bar hides the cursor
        sys.stderr.flush()
    os._exit(INTERRUPTED)


def run_interruptibly(work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run ``work`` in an event loop of its own and return its result.

    Raises:
        KeyboardInterrupt: a signal stopped it; what it had in flight has ended first, unless there was a second signal.
    """
    interruptible = _Interruptible()
    with ThreadPoolExecutor(1, thread_name_prefix="flow") as thread, _handling(interruptible.interrupt):
        ended = thread.submit(contextvars.copy_context().run, asyncio.run, interruptible.run(work()))
        try:
            return ended.result()
        except (asyncio.CancelledError, Stopped):
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
        """Do the work. The first signal cancels it, even one that came before."""
        self._task = task = asyncio.create_task(work)
        self._loop = asyncio.get_running_loop()
        if self.signals:
            task.cancel()
        return await task

    def interrupt(self, _number: int, _frame: object) -> None:
        """What signals do: the first cancels the work gently, the second ends it within two seconds, the third at once."""
        self.signals += 1
        signals.came = True
        if self.signals == 1:
            _tell("stopping: waiting for the answers that are under way (Ctrl-C again to leave at once)")
        elif self.signals == 2:
            signals.came_twice = True
            last = threading.Timer(_LEAVING_SECONDS, leave)
            last.daemon = True
            last.start()
            _tell("leaving at once: the next run looks up what was under way")
        else:
            leave()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None and self.signals == 1:
            self._task.cancel()
        elif self.signals > 1:
            for task in asyncio.all_tasks():
                task.cancel()


def _tell(line: str) -> None:
    """Print it, unless the signal came in the middle of another line: a stream refuses a second writer meanwhile."""
    with suppress(RuntimeError):
        say(line)


@contextmanager
def _handling(handler: Callable[[int, object], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
