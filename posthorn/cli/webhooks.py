"""`posthorn webhooks`: receive what providers push."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

import typer

from posthorn.cli.output import say

_SHORTEST_SECRET = 22  # base64 of 128 bits


def webhooks(
    host: Annotated[str, typer.Option(help="Address to listen on; put a TLS proxy in front of any other.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 picks a free one.")] = 8030,
) -> None:
    """Receive delivery news that providers push, until stopped: Skycore's postbacks, in both shapes.

    Give the provider the URL https://your.host/SECRET/skycore, with the secret of POSTHORN_WEBHOOK_SECRET. Each postback is
    in the ledger before it is answered; repeated, reordered and unknown ones do no harm. An unknown ticket is settled by a
    postback that can only be about it.
    """
    from posthorn.settings import SettingsError, load_settings  # noqa: PLC0415

    settings = load_settings()
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else ""
    if len(secret) < _SHORTEST_SECRET:
        raise SettingsError(
            f"POSTHORN_WEBHOOK_SECRET: expected at least {_SHORTEST_SECRET} characters nobody can guess, such as what this"
            " prints: python -c 'import secrets; print(secrets.token_urlsafe(24))'"
        )
    asyncio.run(_serve(settings.database_url, secret, host, port))


async def _serve(database_url: str, secret: str, host: str, port: int) -> None:
    from aiohttp import web  # noqa: PLC0415

    from posthorn.ledger.store import Ledger  # noqa: PLC0415
    from posthorn.webhooks.server import application  # noqa: PLC0415

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    ledger = Ledger(database_url)
    runner = web.AppRunner(application(ledger, secret), access_log=None)  # the path is the secret
    try:
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
        address, listening = runner.addresses[0][:2]
        say(f"ready http://{address}:{listening}/SECRET/skycore")
        await stopped.wait()
    finally:
        await runner.cleanup()
        ledger.close()
