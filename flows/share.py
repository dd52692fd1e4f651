"""A share of a campaign: another worker process that sends for a run, claiming chunks from the same ledger."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.deployments import arun_deployment
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows.cancelling import cancellable, finish_when_cancelled
from flows.ending import STOPPED
from posthorn.delivery.deliver import send_all
from posthorn.delivery.running.run import CampaignRun, open_helper
from posthorn.errors import GatewayError, NotRunning, Stopped
from tasks.deliver import STEPS

DEPLOYMENT = "send-share/share"


def run_name() -> str:
    """``share of autumn-sale``."""
    return f"share of {flow_run.parameters['name']}"


@flow(name="send-share", flow_run_name=run_name, persist_result=False)
@cancellable
async def send_share(name: Annotated[str, Field(min_length=1, max_length=80)]) -> State[Any]:
    """Send what is pending of a campaign beside the run that started this one. Started by `send-campaign`, not by hand.

    Args:
        name: The campaign's name.
    """
    try:
        async with open_helper(name) as run:
            with finish_when_cancelled(run):
                requests = await send_all(run, STEPS)
    except NotRunning as error:
        return Completed(name="NotRunning", message=str(error))
    except (GatewayError, Stopped) as error:
        return Failed(name=STOPPED, message=str(error))
    return Completed(message=f"{requests:,} requests")


async def start_shares(run: CampaignRun, count: int) -> None:
    """Start this many shares on other workers. This does not wait for them: the ledger shows what they did."""
    for _ in range(count):
        await arun_deployment(DEPLOYMENT, parameters={"name": run.delivery.name}, timeout=0, as_subflow=False)
