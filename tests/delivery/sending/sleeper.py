"""Sends a campaign and can be frozen between a claim and its request: ``sleeper NAME DATABASE_URL SANDBOX_URL``.

It says ``claimed`` for each claim, and makes its request only once it has read a line. What it sends by is the real thing.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from posthorn.delivery.deliver import Steps, deliver_campaign
from posthorn.delivery.running.run import Run, open_run
from posthorn.delivery.sending.send import Exchange, send_batch
from posthorn.errors import GatewayError, LedgerError, Stopped
from posthorn.gateways.contract import Before
from posthorn.ledger.claims import Claim
from posthorn.models import Answer
from tests.delivery.takeover import settings_of


class Waiting:
    """An exchange that waits for a word between the claim and the request."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def send(self, claimed: Claim, before: Before) -> Answer:
        print("claimed", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        return await self._exchange.send(claimed, before)

    async def confirm_refused(self, claimed: Claim) -> None:
        await self._exchange.confirm_refused(claimed)


async def send_waiting(run: Run[Any], exchange: Exchange, first: int, last: int) -> int:
    return await send_batch(run, Waiting(exchange), first, last)


async def main(name: str, url: str, sandbox: str) -> None:
    try:
        async with open_run(name, settings=settings_of(url, sandbox, Path.cwd())) as run:
            await deliver_campaign(run, Steps(send=send_waiting))
            print("stopped:" if run.is_stopped() else "finished", run.stopped or "", flush=True)
    except (GatewayError, LedgerError, Stopped) as error:
        print("stopped:", error, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
