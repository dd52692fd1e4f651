"""Verify, before anything is sent, that the provider lists every file (files/index) and that the credit suffices."""

from __future__ import annotations

from prefect import task

from posthorn.delivery.preparing.verify import verify_credit, verify_media
from posthorn.delivery.running.run import CampaignRun
from tasks.policy import POLICY


@task(name="verify", task_run_name="verify", **POLICY)
async def verify(run: CampaignRun) -> int:
    """Check files and credit; returns how many files were checked. Nothing is sent before."""
    await verify_credit(run)
    return await verify_media(run)
