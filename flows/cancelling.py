"""SIGTERM, which is how Prefect cancels a run and how a machine stops a worker: what is under way is finished first."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from posthorn.delivery.run import Run
from posthorn.errors import Stopped


@contextmanager
def finish_when_cancelled(run: Run[Any]) -> Iterator[None]:
    """Have SIGTERM stop the run kindly inside the block; at its end the signal does what it would have done.

    Prefect's own handler raises in the middle of the event loop: every request under way would be dropped and left unknown.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # the CLI runs flows in a thread, and sees to signals itself
        return
    came = False

    def stop() -> None:
        nonlocal came
        came = True
        run.stop(Stopped("the run was cancelled"))

    loop = asyncio.get_running_loop()
    former = signal.getsignal(signal.SIGTERM)
    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, former)
        if came:
            signal.raise_signal(signal.SIGTERM)
