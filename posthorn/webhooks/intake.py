"""Takes pushed news into the ledger: whatever waits shares one commit, and whoever brought it is told once it is durable.

A provider may push one message at a time, thousands in a minute; a commit for each would be too slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from posthorn.ledger.news import News, apply_parked, take_news
from posthorn.ledger.store import Ledger

_MOST_PER_COMMIT = 500
_Waiting = tuple[Sequence[News], asyncio.Future[None]]


class Intake:
    """One writer for all requests. News of several is one verb of the ledger, so that their chunks are held in order."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None

    async def take(self, news: Sequence[News]) -> None:
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
        finally:
            self._writing = None

    def _next(self) -> list[_Waiting]:
        """What waits, as far as it fits into one commit; at least one request's."""
        size = count = 0
        for count, (news, _) in enumerate(self._waiting, start=1):  # noqa: B007 - used after the loop
            size += len(news)
            if size >= _MOST_PER_COMMIT:
                break
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _take(self, news: Sequence[News]) -> None:
        take_news(self._ledger, news)
        apply_parked(self._ledger)


def _tell(taken: Sequence[_Waiting], error: Exception | None) -> None:
    for _, future in taken:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
