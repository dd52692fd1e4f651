"""The approval gate: a flow run pauses until a person decides, in the Prefect UI or with `posthorn campaign approve`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal
from uuid import uuid4

from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput
from pydantic import Field

from posthorn.delivery.deciding.approval import SEND, is_cancelled
from posthorn.errors import DeliveryChanged, InputError, LedgerError
from tasks.approval import ask, keep_decision
from tasks.publish import publish

WAIT_SECONDS = 7 * 24 * 3600
_POLL_SECONDS = 2


class Approval(RunInput):
    """The questions to a person when a campaign waits for approval. A decision has no default: none is made by accident"""

    decision: Literal["send it", "do not send it"] = Field(description="Whether it is sent as shown above")
    name: str = Field(min_length=1, max_length=80, description="Who decides; this is kept with the decision")
    note: str = Field("", max_length=500, description="A note to keep with the decision")


class NotApproved(Exception):
    """A person decided that the campaign must not be sent; the message says who, and why."""


async def approved(name: str, *, test: bool = False) -> bool:
    """Wait until a person has approved what will be sent; returns whether somebody had to be asked and has answered.

    If the delivery is cancelled meanwhile, the question is dropped.

    Raises:
        NotApproved: a person refused.
        DeliveryChanged: it is no longer what the person was shown.
        FlowPauseTimeout: nobody decided within ``WAIT_SECONDS``; the run has failed, and nothing was sent.
    """
    asked = await ask(name, test=test)
    if asked is None:
        return False
    content, page = asked
    await publish(name, test=test)  # notifies the person who decides
    said = await _answer(name, page, test=test)
    if said is None:
        return False
    try:
        await keep_decision(name, content, approved=said.decision == SEND, by=said.name, note=said.note)
    except InputError as error:
        raise DeliveryChanged(f"{said.name} decided on {name}, but {error.problem}") from None
    if said.decision != SEND:
        raise NotApproved(f"not approved by {said.name}" + (f": {said.note}" if said.note else ""))
    return True


async def _answer(name: str, page: str, *, test: bool) -> Approval | None:
    """The person's answers in the Resume dialog; None once the delivery is cancelled."""
    answer = asyncio.ensure_future(
        apause_flow_run(
            wait_for_input=Approval.with_initial_data(description=page),
            timeout=WAIT_SECONDS,
            poll_interval=_POLL_SECONDS,
            key=uuid4().hex,  # Prefect's own key is taken if the run was retried
        )
    )
    cancelled = asyncio.create_task(_cancelled(name, test=test))
    try:
        await asyncio.wait({answer, cancelled}, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        answer.cancel()
        cancelled.cancel()
        await asyncio.wait({answer, cancelled})


async def _cancelled(name: str, *, test: bool) -> None:
    """Wait until the delivery is cancelled for good. If the ledger does not answer, it is asked again."""
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        with suppress(LedgerError):
            if await asyncio.to_thread(is_cancelled, name, test=test):
                return
