"""The flow that notifies people about deliveries: an automation starts it for each event that needs a person."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.cancelling import cancellable
from posthorn.process.notices import tell_people, ways
from posthorn.settings import load_settings
from posthorn.views.notice import notice


@flow(name="notify", flow_run_name="notify about {name}", persist_result=False)
@cancellable
async def notify(
    name: Annotated[str, Field(min_length=1, max_length=80)], happening: Annotated[str, Field(max_length=40)] = "stopped"
) -> State[Any]:
    """Notify the people whom the settings name (POSTHORN_NOTIFY__…) of a delivery's status. Started by an automation.

    Args:
        name: The campaign's or the event's name.
        happening: What happened: needs_attention, stopped, waiting, cost.
    """
    settings = load_settings().notify
    if not ways(settings):
        return Completed(message="nobody is notified: no POSTHORN_NOTIFY__ variable is set")
    said = await asyncio.to_thread(notice, name, happening)
    if said is None:
        return Completed(message="a person stopped it: nobody is notified")
    told = await asyncio.to_thread(tell_people, settings, *said)
    return Completed(message=f"notified by {', '.join(told)}: {said[0]}")
