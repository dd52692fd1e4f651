"""Verify the media of a campaign with the provider's own list (files/index)."""

from __future__ import annotations

from prefect import task

from posthorn.delivery.run import CampaignRun
from posthorn.delivery.verify import verify_media
from tasks.policy import POLICY


@task(name="verify", task_run_name="verify media", **POLICY)
async def verify(run: CampaignRun) -> int:
    """Check that the provider lists every file; how many were checked. Nothing is sent before."""
    return await verify_media(run)
