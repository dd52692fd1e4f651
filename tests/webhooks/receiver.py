"""The receiver on a free port, as `posthorn webhooks` runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from zoneinfo import ZoneInfo

from aiohttp import web

from posthorn.ledger.store.engine import Ledger
from posthorn.webhooks.server import application

SECRET = "s3cret-that-nobody-can-guess"


@asynccontextmanager
async def receiving(database_url: str) -> AsyncIterator[str]:
    """Its URL, without a slash at the end; its ledger is the one of that database."""
    ledger = Ledger(database_url)
    runner = web.AppRunner(application(ledger, SECRET, ZoneInfo("Europe/Warsaw")), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        ledger.close()
