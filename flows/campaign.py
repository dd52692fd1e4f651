"""The campaign flow: plan, upload, verify, send in batches, report. Run it again and it goes on where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.ending import already_running, ending
from posthorn.delivery.run import open_run
from posthorn.errors import AlreadyRunning, GatewayError
from tasks.plan import plan
from tasks.publish import progress, publish
from tasks.reconcile import settle_all
from tasks.report import report
from tasks.send import send_all
from tasks.upload import upload
from tasks.verify import verify


def run_name() -> str:
    """``campaign autumn.toml``: the file, never its content."""
    return f"campaign {Path(flow_run.parameters['campaign_file']).name}"


@flow(name="send-campaign", flow_run_name=run_name, persist_result=False)
async def send_campaign(campaign_file: str, run_by: str = "") -> State[Any]:
    """Send one MMS campaign, or go on with one that was not finished.

    Everybody in its recipients file is accounted for, nobody gets the message twice. Running it again is always safe.

    Args:
        campaign_file: Path of the campaign file (TOML), as seen by the machine that runs the flow.
        run_by: Who starts it, for the record; empty means the account the process runs under.
    """
    try:
        name, test = await plan(campaign_file)
        try:
            async with open_run(name, test=test, by=run_by) as run:
                await upload(run)
                await verify(run)
                async with progress(run):
                    await send_all(run)
                    await settle_all(run)
                await report(run)
        except GatewayError:
            pass  # the ledger has the reason, and the ending says it
    except AlreadyRunning as error:
        return already_running(error)
    return ending(await publish(name, test=test))
