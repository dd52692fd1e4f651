"""The receiver on a free port, as `posthorn webhooks` runs it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from posthorn.ledger.store.engine import Ledger
from posthorn.settings import Settings
from posthorn.webhooks.server import application, listen

SECRET = "s3cret-that-nobody-can-guess"


@asynccontextmanager
async def receiving(database_url: str, clock: Callable[[], float] = time.time) -> AsyncIterator[str]:
    """Its URL, without a slash at the end; its ledger is the one of that database."""
    ledger = Ledger(database_url)
    runner = await listen(application(ledger, SECRET, Settings(database_url=database_url), clock=clock), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        ledger.close()
