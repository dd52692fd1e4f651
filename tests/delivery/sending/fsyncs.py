"""A process that says whether an answer was made durable in the spool while the ledger failed: ``fsyncs HOW …``.

``HOW`` is ``slow`` (another program holds the file's write lock until the spool was synced) or ``failing`` (the disk is
read-only once the request is answered).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

from posthorn.delivery.deliver import Steps, deliver_campaign
from posthorn.delivery.running.run import Run, open_run
from posthorn.delivery.sending.send import Exchange, send_batch
from posthorn.errors import LedgerError
from posthorn.gateways.contract import Before
from posthorn.ledger.claims import Claim
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Answer
from tests.delivery.takeover import settings_of

_MAX_SECONDS = 20.0
synced = threading.Event()
_fsync = os.fsync


def _watched(descriptor: int) -> None:
    _fsync(descriptor)
    if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".jsonl":
        synced.set()


def _make_read_only(ledger: Ledger) -> None:
    with ledger.read() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")


class Troubled:
    """An exchange after whose answer the ledger is in trouble."""

    def __init__(self, run: Run[Any], exchange: Exchange, how: str) -> None:
        self._run, self._exchange, self._how = run, exchange, how
        self.release: asyncio.Task[None] | None = None

    async def send(self, claimed: Claim, before: Before) -> Answer:
        answer = await self._exchange.send(claimed, before)
        if self._how == "failing":
            await self._run.do(_make_read_only)
        else:
            other = sqlite3.connect(Path.cwd() / "ledger.db", isolation_level=None, check_same_thread=False)
            other.execute("BEGIN IMMEDIATE")
            self.release = asyncio.create_task(asyncio.to_thread(_release, other))
        return answer

    async def confirm_refused(self, claimed: Claim) -> None:
        await self._exchange.confirm_refused(claimed)


def _release(other: sqlite3.Connection) -> None:
    synced.wait(_MAX_SECONDS)
    other.execute("ROLLBACK")
    other.close()


async def main(how: str, url: str, sandbox: str) -> None:
    os.fsync = _watched
    async with open_run("sale", settings=settings_of(url, sandbox, Path.cwd())) as run:

        async def send(run: Run[Any], exchange: Exchange, first: int, last: int) -> int:
            troubled = Troubled(run, exchange, how)
            try:
                return await send_batch(run, troubled, first, last)
            finally:
                print("synced" if synced.is_set() else "not synced", flush=True)
                if troubled.release is not None:
                    await troubled.release

        await deliver_campaign(run, Steps(send=send))


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except LedgerError as error:
        print(error)
