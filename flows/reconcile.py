"""The reconcile flow, for schedules: look up what is unknown in one campaign or in all, and settle what that proves."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from posthorn.delivery.run import open_run
from posthorn.errors import AlreadyRunning
from tasks.publish import publish
from tasks.reconcile import settle_all
from tasks.status import with_unknown


@flow(name="reconcile", persist_result=False)
async def reconcile(name: str = "") -> State[Any]:
    """Ask the provider about messages whose outcome is unknown, and settle what that proves.

    A campaign that is being sent right now is left alone: it reconciles at its own end.

    Args:
        name: The campaign's name; empty means every campaign that has unknown messages.
    """
    names = [name] if name else await with_unknown()
    unknown = 0
    for one in names:
        try:
            async with open_run(one, by="reconcile") as run:
                await settle_all(run)
        except AlreadyRunning as error:
            get_run_logger().info("%s", error)
        unknown += (await publish(one))["totals"]["unknown"]
    looked_at = f"{len(names)} {'campaign' if len(names) == 1 else 'campaigns'} looked at"
    if unknown:
        return Completed(name="NeedsAttention", message=f"unknown: {unknown:,}; {looked_at}")
    return Completed(message=f"nothing unknown; {looked_at}")
