"""Approval: ask a person before the first send of a large campaign, and keep what they said."""

from __future__ import annotations

import asyncio

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.runtime import flow_run

from posthorn.delivery import approval
from posthorn.delivery.approval import Question
from posthorn.views.status import artifact_key
from tasks.policy import POLICY


@task(name="ask for approval", task_run_name="ask for approval", **POLICY)
async def ask(name: str, *, test: bool = False) -> Question | None:
    """What a person has to approve before anything more is sent, shown as the artifact ``approval-<name>``; or None."""
    question = await asyncio.to_thread(approval.question_of, name, test=test, flow_run_id=flow_run.id)
    if question is not None:
        await acreate_markdown_artifact(markdown=question.as_markdown(), key=artifact_key("approval", name))
    return question


@task(name="keep decision", task_run_name="keep decision", **POLICY)
async def keep_decision(name: str, content: str, *, approved: bool, by: str, note: str) -> None:
    """Write a person's decision into the ledger, unless it stands there already: `posthorn campaign approve` was first."""
    if not await asyncio.to_thread(approval.is_decided, name, approved=approved, flow_run_id=flow_run.id):
        await asyncio.to_thread(approval.decide, name, approved=approved, by=by, note=note, content=content)
