"""A process that delivers a campaign as the flow does, without Prefect; it may be killed anywhere."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from posthorn.delivery.deliver import deliver_campaign
from posthorn.delivery.planning.merge import Consent
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_credit, verify_media
from posthorn.delivery.running.run import open_delivery, open_run
from posthorn.delivery.settling.report import pull_reports
from posthorn.errors import AlreadyRunning, DeliveryNotFound, FileChanged, GatewayError, LedgerError, Stopped
from posthorn.ledger import claiming
from posthorn.settings import Settings

FINISHED = 0
STOPPED = 10
"""By the provider, or the breaker: run it again."""
ALREADY_RUNNING = 11
CANCELLED = 12
LEDGER_AWAY = 13
LIST_CHANGED = 14
"""While it was read: nothing was planned."""

_CONSENT = Consent(accept_missing=True, by="the drill")


def deliver(file: Path, settings: Settings) -> int:
    """Deliver the campaign; one of the exit codes above. Anything unexpected is raised."""
    return asyncio.run(_until_sigterm(_deliver(file, settings)))


def pull(name: str, settings: Settings) -> int:
    """Pull the campaign's reports again and again, beside whoever sends it, until killed."""
    return asyncio.run(_pull(name, settings))


async def _until_sigterm(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return CANCELLED
    except AlreadyRunning as error:
        print(error)
        return ALREADY_RUNNING
    except FileChanged as error:
        print(error)
        return LIST_CHANGED
    except LedgerError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return LEDGER_AWAY


async def _deliver(file: Path, settings: Settings) -> int:
    campaign = await asyncio.to_thread(plan_file, file, settings, consent=_CONSENT)
    try:
        async with open_run(campaign.name, settings=settings) as run:
            await upload_media(run)
            await verify_credit(run)
            await verify_media(run)
            await deliver_campaign(run)
            pending = await run.do(claiming.pending_chunks, run.delivery)
            if run.is_stopped() or pending:
                print(f"stopped: {run.stopped}; {len(pending)} chunks are pending")
                return STOPPED
            return FINISHED
    except (GatewayError, Stopped) as error:
        print(f"stopped: {error}")
        return STOPPED


async def _pull(name: str, settings: Settings) -> int:
    while True:
        try:
            async with open_delivery(name, settings=settings) as desk:
                await pull_reports(desk)
        except (GatewayError, DeliveryNotFound, LedgerError) as error:
            print(f"not pulled: {error}")
        await asyncio.sleep(0.05)
