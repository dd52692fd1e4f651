"""The approval gate: a flow run pauses until a person decides, in the Prefect UI or with `posthorn campaign approve`."""

from __future__ import annotations

from uuid import uuid4

from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput
from pydantic import Field

from posthorn.errors import DeliveryChanged, InputError
from tasks.approval import ask, keep_decision

WAIT_SECONDS = 7 * 24 * 3600
_POLL_SECONDS = 2


class Approval(RunInput):
    """What a person is asked when a campaign waits for approval. Saying nothing is saying no."""

    approve: bool = Field(False, description="Send this campaign as it is shown above")
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
    question = await ask(name, test=test)
    if question is None:
        return False
    said = await apause_flow_run(
        wait_for_input=Approval.with_initial_data(description=question.as_markdown()),
        timeout=WAIT_SECONDS,
        poll_interval=_POLL_SECONDS,
        key=uuid4().hex,  # Prefect's own is taken where the run was retried
    )
    try:
        await keep_decision(name, question.content, approved=said.approve, by=said.name, note=said.note)
    except InputError as error:
        raise DeliveryChanged(f"{name} was decided on by {said.name}, but {error.problem}") from None
    if not said.approve:
        raise NotApproved(f"not approved by {said.name}" + (f": {said.note}" if said.note else ""))
    return True
