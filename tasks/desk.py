"""What the operators' desk needs from Prefect: wake waiting runs, ask for a number, show what was found."""

from __future__ import annotations

import asyncio
from typing import TypeVar
from uuid import UUID, uuid4

from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput, keyset_from_base_key
from prefect.runtime import flow_run

from posthorn.content.recipients.number import read_phone
from posthorn.delivery.deciding.approval import REFUSE, SEND, decide
from posthorn.errors import InputError
from posthorn.models import mask_phone
from posthorn.settings import load_settings
from posthorn.views.found import found_page

_Form = TypeVar("_Form", bound=RunInput)

ASK_SECONDS = 900
"""How long a run waits for a person's input."""


async def decide_and_wake(name: str, *, approved: bool, by: str, note: str) -> int:
    """Record a person's decision, and let the flow runs that wait for it go on; returns their number."""
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


async def asked(form: type[_Form], heading: str) -> _Form:
    """What a person enters in this run's Resume dialog, under that heading (Markdown).

    Prefect stores the answer in clear. Only this run reads it, within a second, and deletes it before using it.

    Raises:
        FlowPauseTimeout: nobody answered within ``ASK_SECONDS``.
    """
    key = uuid4().hex
    page = f"{heading}\n\nPrefect does not keep what is typed here: this run deletes it before using it."
    try:
        return await apause_flow_run(
            wait_for_input=form.with_initial_data(description=page), timeout=ASK_SECONDS, poll_interval=1, key=key
        )
    finally:
        await _delete_answers(keyset_from_base_key(f"paused-{key}")["response"])


async def _delete_answers(key: str) -> None:
    own = UUID(str(flow_run.id))
    async with get_client() as client:
        for one in await client.filter_flow_run_input(own, key_prefix=key, limit=10, exclude_keys=set()):
            await client.delete_flow_run_input(own, one.key)


async def masked(number: str) -> str:
    """The number that a person typed, masked.

    Raises:
        InputError: it is not a phone number.
    """
    try:
        return mask_phone(await asyncio.to_thread(read_phone, number, load_settings()))
    except InputError as error:
        raise InputError("number", error.problem) from None


async def show_found(number: str) -> int:
    """Show every message to that number as the artifact ``found``; returns how many there are."""
    count, page = await asyncio.to_thread(found_page, number)
    await acreate_markdown_artifact(markdown=page, key="found", description="what was sent to one number, masked")
    return count
