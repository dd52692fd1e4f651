"""The rest of a delivery: what waited for a moment goes on by its name, as planned; its files are not read again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.deployments import arun_deployment
from prefect.runtime import flow_run
from pydantic import Field

from flows.approval import NotApproved, approved
from flows.campaign import send_planned
from flows.cancelling import cancellable
from flows.ending import already_running, ending, not_approved
from flows.tickets import send_planned_tickets
from posthorn.errors import AlreadyRunning
from posthorn.ledger.deliveries import Delivery
from posthorn.models import Kind
from posthorn.views.status import status_now
from tasks.publish import publish

DEPLOYMENT = "send-rest/rest"
_ONCE_IN_SECONDS = 600.0
"""After this long a run that died before it began is started again. Until then, a run that waits for a worker is kept."""


def run_name() -> str:
    """``rest of autumn-sale``."""
    return f"rest of {flow_run.parameters['name']}"


@flow(name="send-rest", flow_run_name=run_name, persist_result=False)
@cancellable
async def send_rest(name: Annotated[str, Field(min_length=1, max_length=80)]) -> State[Any]:
    """Send what is left of a campaign or event that waited for a moment. Started by `continue-due`; by hand it is safe, too.

    Args:
        name: The campaign's or the event's name.
    """
    try:
        while await approved(name):
            pass  # it may have changed while a person decided
        if (await asyncio.to_thread(status_now, name))["kind"] == Kind.EVENT.name.lower():
            await send_planned_tickets(name)
        else:
            await send_planned(name)
    except AlreadyRunning as error:
        return already_running(error)
    except NotApproved as error:
        return not_approved(error)
    return ending(await publish(name))


async def start_rest(name: str) -> None:
    """Start the run that sends the rest of one delivery now, because a person asked for it."""
    await arun_deployment(DEPLOYMENT, parameters={"name": name}, timeout=0, as_subflow=False)


async def start_rests(deliveries: Sequence[Delivery]) -> None:
    """Start a run for each, on any worker. This does not wait for them: a long run would make others miss their moments."""
    for one in deliveries:
        key = f"{one.name} {one.goes_on_at} {time.time() // _ONCE_IN_SECONDS:.0f}"
        await arun_deployment(DEPLOYMENT, parameters={"name": one.name}, timeout=0, as_subflow=False, idempotency_key=key)
