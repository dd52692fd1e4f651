"""What the operators' desk needs of Prefect: wake runs that wait, write over a number, show what was found."""

from __future__ import annotations

import asyncio
from uuid import UUID

from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from posthorn.content.recipients.number import read_phone
from posthorn.delivery.deciding.approval import REFUSE, SEND, decide
from posthorn.errors import InputError
from posthorn.models import mask_phone
from posthorn.settings import load_settings
from posthorn.views.found import found_page


async def decide_and_wake(name: str, *, approved: bool, by: str, note: str) -> int:
    """Keep a person's word, and have the flow runs go on that wait for it; how many those are."""
    waiting = await asyncio.to_thread(decide, name, approved=approved, by=by, note=note)
    woken = 0
    async with get_client() as client:
        for one in waiting:
            try:
                run = await client.read_flow_run(UUID(one))
            except ObjectNotFound:  # deleted, or of another server
                continue
            if run.state is not None and run.state.is_paused():
                said = {"decision": SEND if approved else REFUSE, "name": by, "note": note}
                answer = await client.resume_flow_run(run.id, run_input=said)
                woken += answer.status.value == "ACCEPT"
    return woken


async def forget_number(number: str) -> str:
    """Write over the number in the parameters of this run; the number, masked.

    Raises:
        InputError: it is none; it is written over all the same.
    """
    try:
        masked = mask_phone(read_phone(number, load_settings()))
    except InputError:
        masked = "***"
    async with get_client() as client:
        await client.update_flow_run(UUID(str(flow_run.id)), parameters={**flow_run.parameters, "number": masked})
    if masked == "***":
        raise InputError("number", "it is not a phone number; expected one such as +48 and nine digits")
    return masked


async def show_found(number: str) -> int:
    """Show every message to that number as the artifact ``found``; how many there are."""
    count, page = await asyncio.to_thread(found_page, number)
    await acreate_markdown_artifact(markdown=page, key="found", description="what was sent to one number, masked")
    return count
