"""The campaign flow: plan, ask for approval, upload, verify, send in batches, report. Another run goes on with the rest."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import Field

from flows.approval import NotApproved, approved
from flows.cancelling import cancellable, finish_when_cancelled
from flows.ending import already_running, ending, not_approved
from flows.share import start_shares
from posthorn.content.givenpath import pasted
from posthorn.delivery.deciding.approval import refuse_refused
from posthorn.delivery.deliver import deliver_campaign
from posthorn.delivery.running.run import CampaignRun, open_run
from posthorn.errors import AlreadyRunning, GatewayError, Stopped
from tasks.deliver import STEPS
from tasks.plan import plan
from tasks.publish import progress, publish
from tasks.report import report
from tasks.upload import upload
from tasks.verify import verify


def run_name() -> str:
    """``campaign autumn.toml``: the file, never its content."""
    return f"campaign {pasted(flow_run.parameters['campaign_file']).name}"


@flow(name="send-campaign", flow_run_name=run_name, persist_result=False)
@cancellable
async def send_campaign(
    campaign_file: Annotated[str, Field(min_length=1, max_length=1000)],
    run_by: Annotated[str, Field(max_length=80)] = "",
    workers: Annotated[int, Field(ge=1, le=16)] = 1,
    accept_missing: bool = False,
    late: bool = False,
) -> State[Any]:
    """Send one MMS campaign, or go on with one that was not finished.

    Everybody in its recipients file is accounted for, and nobody gets the message twice. Running it again is always safe. A
    large campaign may wait for a person's approval: the run is paused until then.

    Args:
        campaign_file: Path of the campaign file (TOML), as seen by the machine that runs the flow.
        run_by: Who starts it, for the record; empty means the account that the process runs under.
        workers: How many worker processes send it together, 1 to 16. More than one need the ledger on PostgreSQL.
        accept_missing: Whether rows that left the list are taken out for good; otherwise such a list is refused.
        late: Whether messages whose moment of dispatch has passed are sent at once; otherwise they are not sent.
    """
    try:
        name, test = await plan(campaign_file, workers, accept_missing=accept_missing, late=late)
        while await approved(name, test=test):
            await plan(campaign_file, workers, accept_missing=accept_missing, late=late)  # it may have changed meanwhile
        await send_planned(name, test=test, by=run_by, workers=workers)
    except AlreadyRunning as error:
        return already_running(error)
    except NotApproved as error:
        return not_approved(error)
    return ending(await publish(name, test=test))


async def send_planned(name: str, *, test: bool = False, by: str = "", workers: int = 1) -> None:
    """Send what is planned and approved. If it ends early, the ledger keeps the reason, and the final state gives it."""
    with suppress(GatewayError, Stopped):
        async with open_run(name, test=test, by=by) as run:
            await refuse_refused(run)
            with finish_when_cancelled(run):
                await deliver(run, workers)


async def deliver(run: CampaignRun, workers: int) -> None:
    """The steps of a planned and approved campaign, in their order."""
    await upload(run)
    await verify(run)
    async with progress(run):
        if not run.is_stopped():
            await start_shares(run, workers - 1)
        await deliver_campaign(run, STEPS)
    await report(run)
