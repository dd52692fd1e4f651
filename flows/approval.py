"""The approval gate: a flow run pauses until a person decides, in the Prefect UI or with `posthorn campaign approve`."""

from __future__ import annotations

from typing import Literal
from uuid import uuid4

from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput
from pydantic import Field

from posthorn.delivery.deciding.approval import SEND
from posthorn.errors import DeliveryChanged, InputError
from tasks.approval import ask, keep_decision
from tasks.publish import publish

WAIT_SECONDS = 7 * 24 * 3600
_POLL_SECONDS = 2


class Approval(RunInput):
    """What a person is asked when a campaign waits for approval. A decision has to be chosen: none is made by accident."""

    decision: Literal["send it", "do not send it"] = Field(description="Whether it is sent as it is shown above")
    name: str = Field(min_length=1, max_length=80, description="Who decides; it is kept with the decision")
    note: str = Field("", max_length=500, description="Anything worth keeping")


class NotApproved(Exception):
    """A person has decided that the campaign is not to be sent; the message says who, and why."""


async def approved(name: str, *, test: bool = False) -> bool:
    """Wait until a person has approved what is to be sent; whether anybody had to be asked.

    Raises:
        NotApproved: a person refused.
        DeliveryChanged: it is not any more what the person was shown.
        FlowPauseTimeout: nobody decided within ``WAIT_SECONDS``; the run has failed, and nothing was sent.
    """
    asked = await ask(name, test=test)
    if asked is None:
        return False
    content, page = asked
    await publish(name, test=test)  # whoever is to decide hears of it now
    said = await apause_flow_run(
        wait_for_input=Approval.with_initial_data(description=page),
        timeout=WAIT_SECONDS,
        poll_interval=_POLL_SECONDS,
        key=uuid4().hex,  # Prefect's own is taken where the run was retried
    )
    try:
        await keep_decision(name, content, approved=said.decision == SEND, by=said.name, note=said.note)
    except InputError as error:
        raise DeliveryChanged(f"{name} was decided on by {said.name}, but {error.problem}") from None
    if said.decision != SEND:
        raise NotApproved(f"not approved by {said.name}" + (f": {said.note}" if said.note else ""))
    return True
