"""`posthorn webhooks`: receive the news that providers push."""

from __future__ import annotations

import asyncio
import re
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn.cli.output import cannot_listen
from posthorn.process.terminal import say

if TYPE_CHECKING:
    from posthorn.settings import Settings

_SHORTEST_SECRET = 22  # base64 of 128 bits
_SECRET = re.compile(rf"[A-Za-z0-9._~-]{{{_SHORTEST_SECRET},}}")


def webhooks(
    host: Annotated[str, typer.Option(help="Address to listen on; put a TLS proxy in front of any other.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 picks a free one.")] = 8030,
    parked: Annotated[bool, typer.Option("--parked", help="List the news that was not applied, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --parked: print JSON for scripts.")] = False,
) -> None:
    """Receive delivery news that providers push, until stopped.

    At its start it prints an address for each provider, on one line. Put your own host (https) in front, and the value of
    POSTHORN_WEBHOOK_SECRET in place of SECRET. Then give the address to the provider, or enter it in the provider's panel
    as the address for delivery reports.

    News is in the ledger before it is answered; repeated, reordered and unknown news does no harm. An unknown ticket is
    settled by a postback that can only be about it. News that contradicts the message it names (another number, template or
    provider, a time before it was sent) is never applied. --parked lists such news, and news whose id no message has (yet).
    `posthorn campaign report` and the delivery-reports flow ask for what is never pushed.

    \b
        posthorn webhooks
        posthorn webhooks --parked
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.settings import SettingsError, load_settings

    settings = load_settings()
    if parked:
        from posthorn.views.parked import list_parked

        print(list_parked(as_json=as_json))
        return
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else ""
    if not _SECRET.fullmatch(secret):
        raise SettingsError(
            f"POSTHORN_WEBHOOK_SECRET: expected at least {_SHORTEST_SECRET} characters nobody can guess, and only letters,"
            " digits and -._~, since it is part of the address. This prints one:"
            " python -c 'import secrets; print(secrets.token_urlsafe(24))'"
        )
    asyncio.run(_serve(settings, secret, host, port))


async def _serve(settings: Settings, secret: str, host: str, port: int) -> None:
    from posthorn.gateways.registry import GATEWAYS
    from posthorn.ledger.store.engine import Ledger
    from posthorn.loopback import is_loopback
    from posthorn.webhooks.server import application, listen

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    ledger = Ledger(settings.database_url)
    names = settings.own_names()
    any_host = not names and not is_loopback(host)  # only the operator knows by which name it is reached then
    receiver = application(ledger, secret, settings, names=names, any_host=any_host)
    try:
        try:
            runner = await listen(receiver, host, port)
        except (OSError, UnicodeError) as error:
            raise cannot_listen(host, port, error) from None
        try:
            address, listening = runner.addresses[0][:2]
            for route in (route for gateway in GATEWAYS for route in gateway.routes):
                say(f"ready http://{address}:{listening}/SECRET/{route.address}")
            if not any_host and not names:
                say("it answers to 127.0.0.1 and localhost; if a proxy passes on its own host name, set POSTHORN_HOST_NAMES")
            await stopped.wait()
        finally:
            await runner.cleanup()
    finally:
        ledger.close()
