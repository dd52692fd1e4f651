"""The concurrency limits in Prefect, one per gateway, shared by every process that sends through that account.

An operator may change them in the UI while campaigns run. They are set here only if they are missing, or on request.
"""

from __future__ import annotations

from prefect.client.orchestration import PrefectClient

from posthorn.gateways import registry
from posthorn.settings import Settings
from tasks.deliver import limit_name


def limits(settings: Settings) -> dict[str, int]:
    """Requests in flight that each account allows, over all processes, by the limit's name."""
    return {limit_name(gateway.name): gateway.account(settings).account_concurrency for gateway in registry.GATEWAYS}


async def ensure_limits(client: PrefectClient, settings: Settings, *, reset: bool = False) -> None:
    """Create missing limits; with ``reset``, set the others to the settings' values, too."""
    there = {limit.name for limit in await client.read_global_concurrency_limits(limit=200)}
    for name, slots in limits(settings).items():
        if reset or name not in there:
            await client.upsert_global_concurrency_limit_by_name(name, slots)
