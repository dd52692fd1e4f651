"""Takes pushed news into the ledger. What waits shares one commit; each sender is answered once its news is durable.

A provider may push one message at a time, thousands in a minute; a commit for each would be too slow.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from posthorn.errors import LedgerError
from posthorn.ledger import suppression
from posthorn.ledger.news import apply_parked, take_news
from posthorn.ledger.store.engine import Ledger
from posthorn.models import News, OptOut

SWEEP_SECONDS = 60.0
_MAX_PER_COMMIT = 500
_logger = logging.getLogger(__name__)
_Waiting = tuple[Sequence[News | OptOut], asyncio.Future[None]]
_BY = "webhook"


class NewsIntake:
    """One writer for all requests. The news of several requests is one verb, so that their chunks are held in order."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self._swept_at = -SWEEP_SECONDS

    async def take(self, news: Sequence[News | OptOut]) -> None:
        """Returns once the news is durable.

        Raises:
            LedgerError: nothing of it was kept.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((news, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await asyncio.shield(future)

    async def _write(self) -> None:
        try:
            while self._waiting:
                taken = self._next()
                try:
                    await asyncio.to_thread(self._take, [one for news, _ in taken for one in news])
                except Exception as error:  # noqa: BLE001 - theirs to handle, and the next ones' news is still to be taken
                    _tell(taken, error)
                else:
                    _tell(taken, None)
                    await self._sweep()
        finally:
            self._writing = None

    async def _sweep(self) -> None:
        """Apply all parked news whose message is known by now, at most once a minute, while nobody waits."""
        if time.monotonic() - self._swept_at < SWEEP_SECONDS:
            return
        self._swept_at = time.monotonic()
        try:
            await asyncio.to_thread(apply_parked, self._ledger)
        except LedgerError:
            _logger.exception("parked news could not be applied; it is tried again")

    def _next(self) -> list[_Waiting]:
        """As much of what waits as fits into one commit, but at least one request's."""
        size = count = 0
        for count, (news, _) in enumerate(self._waiting, start=1):  # noqa: B007 - used after the loop
            size += len(news)
            if size >= _MAX_PER_COMMIT:
                break
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _take(self, told: Sequence[News | OptOut]) -> None:
        if opt_outs := [one for one in told if isinstance(one, OptOut)]:
            suppression.add(self._ledger, opt_outs, by=_BY, now=self._clock())
        news = [one for one in told if isinstance(one, News)]
        take_news(self._ledger, news, now=self._clock())
        # The answer that names an id may have been recorded in the instant before its news was parked.
        apply_parked(self._ledger, list({one.provider_id for one in news}))


def _tell(taken: Sequence[_Waiting], error: Exception | None) -> None:
    for _, future in taken:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
