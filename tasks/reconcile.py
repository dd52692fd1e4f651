"""Reconcile: look up what is unknown at the provider and settle what that proves."""

from __future__ import annotations

from prefect import task
from prefect.logging import get_run_logger

from posthorn.delivery.reconcile import reconcile as look_up
from posthorn.delivery.reconcile import seconds_to_next_look, waited
from posthorn.delivery.run import CampaignRun
from posthorn.delivery.withdraw import withdraw_unwanted
from posthorn.ledger import sending
from tasks.policy import POLICY
from tasks.send import send_all


@task(name="reconcile", task_run_name="reconcile", **POLICY)
async def reconcile(run: CampaignRun) -> float | None:
    """Look up every unknown message once; the seconds until another look may settle more by itself, else None."""
    done = await look_up(run)
    if done.looked_up:
        line = "looked up %d unknown: %d were taken, %d to be sent again, %d stay unknown"
        get_run_logger().info(line, done.looked_up, done.found, done.resend, done.unknown)
    return await seconds_to_next_look(run)


@task(name="withdraw", task_run_name="withdraw", **POLICY)
async def withdraw(run: CampaignRun) -> int:
    """Withdraw what the provider holds and is not to go out; how many messages that were."""
    return await withdraw_unwanted(run)


async def settle_once(run: CampaignRun) -> None:
    """Settle what one look proves, and send nothing."""
    await reconcile(run)
    await _withdraw_if_kept(run)


async def settle_all(run: CampaignRun) -> None:
    """Settle what is unknown as far as the campaign's file allows: look, wait, look again, send again what is absent."""
    while True:
        seconds = await reconcile(run)
        await run.heed()
        if run.is_stopped():
            break
        if await run.do(sending.pending_chunks, run.campaign):
            await send_all(run)
        elif seconds is None or not await waited(run, seconds):
            break
    await _withdraw_if_kept(run)


async def _withdraw_if_kept(run: CampaignRun) -> None:
    """Only where the provider may hold messages back: a task run for nothing is one too many."""
    definition = run.campaign.definition
    if definition.get("hold_minutes") or (definition.get("send_at") and run.campaign.cancelled_at is not None):
        await withdraw(run)
