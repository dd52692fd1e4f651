"""Approval: ask a person before the first send of a large campaign, and record the answer."""

from __future__ import annotations

import asyncio

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.runtime import flow_run

from posthorn.delivery.deciding import approval
from posthorn.views.question import question, question_page
from posthorn.views.status import artifact_key
from tasks.policy import POLICY


@task(name="ask for approval", task_run_name="ask for approval", **POLICY)
async def ask(name: str, *, test: bool = False) -> tuple[str, str] | None:
    """What a person has to approve before anything more is sent: its hash, and the page that shows it; or None.

    The page is also the artifact ``approval-<name>``.
    """
    asked = await asyncio.to_thread(approval.ask, name, question, test=test, flow_run_id=flow_run.id)
    if asked is None:
        return None
    page = await asyncio.to_thread(question_page, asked)
    await acreate_markdown_artifact(markdown=page, key=artifact_key("approval", name), description=f"{name}: send it?")
    return asked.content, page


@task(name="keep decision", task_run_name="keep decision", **POLICY)
async def keep_decision(name: str, content: str, *, approved: bool, by: str, note: str) -> None:
    """Record a person's decision in the ledger, unless `posthorn campaign approve` has done so already."""
    if not await asyncio.to_thread(approval.is_decided, name, approved=approved, flow_run_id=flow_run.id):
        await asyncio.to_thread(approval.decide, name, approved=approved, by=by, note=note, content=content)
