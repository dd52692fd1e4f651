"""Show campaigns in the Prefect UI: totals, the progress of one that sends, all of them in one table. No phone numbers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import orjson
from prefect import task
from prefect.artifacts import Artifact, acreate_progress_artifact, acreate_table_artifact, aupdate_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from posthorn.delivery.dashboard import Shown, show, show_now
from posthorn.delivery.run import Run
from posthorn.delivery.status import artifact_key, percent_sent, status_table
from tasks.news import tell, tell_ending
from tasks.policy import POLICY

PROGRESS_EVERY_SECONDS = 5.0
OVERVIEW = "posthorn-overview"


@task(name="publish", task_run_name="publish totals", **POLICY)
async def publish(name: str, *, test: bool = False) -> dict[str, Any]:
    """Show the totals as the table artifact ``campaign-<name>`` (``event-<name>``), renew the overview, tell automations.

    Returns the status.
    """
    shown, overview = await asyncio.to_thread(show_now, name, test=test)
    get_run_logger().info("%s", status_table(shown.status))
    is_news = await _is_news(shown)
    await _create_table(shown)
    await acreate_table_artifact(table=overview, key=OVERVIEW, description="The newest campaigns and events")
    if is_news:
        tell_ending(shown.status)
    return shown.status


async def _is_news(shown: Shown) -> bool:
    """Whether automations are to hear how it stands, lest one that writes letters does so after every look.

    A flow that sends always tells how it ended; one that only looks, where that is not what was shown last.
    """
    if str(flow_run.flow_name).startswith("send-"):
        return True
    last = await Artifact.aget(_key(shown))
    return last is None or _headline(last.description) != _headline(shown.description)


def _headline(description: str | None) -> str:
    """``campaign autumn-sale: needs attention``"""
    return (description or "").removeprefix("```").strip().partition("\n")[0]


@asynccontextmanager
async def progress(run: Run[Any]) -> AsyncIterator[None]:
    """Keep the progress artifact ``progress-<name>`` and the campaign's table up to date while the block sends."""
    key = artifact_key("progress", run.delivery.name)
    bar = await acreate_progress_artifact(progress=await run.do(percent_sent, run.delivery), key=key)
    shown = await _shown(run)
    table = await _create_table(shown)
    tell("started", shown.status)
    follower = asyncio.create_task(_follow(run, bar, table))
    try:
        yield
    finally:
        follower.cancel()
        await asyncio.wait([follower])
        await _tell_news(run)
        await aupdate_progress_artifact(bar, progress=await run.do(percent_sent, run.delivery))


async def _follow(run: Run[Any], bar: UUID, table: UUID) -> None:
    last = -1.0
    while True:
        await asyncio.sleep(PROGRESS_EVERY_SECONDS)
        try:
            await _tell_news(run)
            now = await run.do(percent_sent, run.delivery)
            if now != last:
                await aupdate_progress_artifact(bar, progress=now)
                await _update_table(table, await _shown(run))
                last = now
        except Exception:  # noqa: BLE001 - what cannot be shown stops no send
            get_run_logger().warning("the progress could not be shown", exc_info=True)


async def _tell_news(run: Run[Any]) -> None:
    """Tell automations that a cap is used up but for little."""
    for said in run.budget.take_news():
        tell("cost", {**(await _shown(run)).status, "because": said})


async def _shown(run: Run[Any]) -> Shown:
    """In a thread of its own: the ledger's has requests to record."""
    return await asyncio.to_thread(show, run.ledger, run.delivery.name, test=run.delivery.test)


async def _create_table(shown: Shown) -> UUID:
    return await acreate_table_artifact(table=shown.rows, key=_key(shown), description=shown.description)


def _key(shown: Shown) -> str:
    return artifact_key(shown.status["kind"], shown.status["name"])


async def _update_table(artifact: UUID, shown: Shown) -> None:
    """Prefect has no function for it; a new version every few seconds would fill its database."""
    async with get_client() as client:
        await client.update_artifact(
            artifact, ArtifactUpdate(data=orjson.dumps(shown.rows).decode(), description=shown.description)
        )
