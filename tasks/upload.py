"""Upload the media of a campaign."""

from __future__ import annotations

from prefect import task

from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.running.run import CampaignRun
from tasks.policy import POLICY


@task(name="upload", task_run_name="upload media", **POLICY)
async def upload(run: CampaignRun) -> int:
    """Give each media item an id at the provider; returns how many had to be uploaded."""
    return await upload_media(run)
