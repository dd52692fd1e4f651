"""Show a campaign in the Prefect UI: its totals as a table artifact, its progress while it sends. Masked or no numbers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prefect import task
from prefect.artifacts import acreate_progress_artifact, acreate_table_artifact, aupdate_progress_artifact
from prefect.logging import get_run_logger

from posthorn.delivery.run import Run
from posthorn.delivery.status import artifact_key, percent_sent, status_now, status_rows, status_table
from tasks.policy import POLICY

PROGRESS_EVERY_SECONDS = 5.0


@task(name="publish", task_run_name="publish totals", **POLICY)
async def publish(name: str, *, test: bool = False) -> dict[str, Any]:
    """Show the totals as the table artifact ``campaign-<name>`` (``event-<name>``) and return the status."""
    status = await asyncio.to_thread(status_now, name, test=test)
    table = status_table(status)
    get_run_logger().info("%s", table)
    await acreate_table_artifact(
        table=status_rows(status), key=artifact_key(status["kind"], name), description=f"```\n{table}\n```"
    )
    return status


@asynccontextmanager
async def progress(run: Run[Any]) -> AsyncIterator[None]:
    """Keep the progress artifact ``progress-<name>`` up to date while the block sends."""
    artifact = await acreate_progress_artifact(
        progress=await run.do(percent_sent, run.campaign), key=artifact_key("progress", run.campaign.name)
    )
    follower = asyncio.create_task(_follow(run, artifact))
    try:
        yield
    finally:
        follower.cancel()
        await asyncio.wait([follower])
        await aupdate_progress_artifact(artifact, progress=await run.do(percent_sent, run.campaign))


async def _follow(run: Run[Any], artifact: Any) -> None:
    shown = -1.0
    while True:
        await asyncio.sleep(PROGRESS_EVERY_SECONDS)
        now = await run.do(percent_sent, run.campaign)
        if now != shown:
            await aupdate_progress_artifact(artifact, progress=now)
            shown = now
