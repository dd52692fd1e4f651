"""The delivery reports flow, for schedules: ask for the reports of sent messages, and show what changed."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows.cancelling import cancellable
from flows.ending import NEEDS_ATTENTION, STOPPED, already_running
from posthorn.delivery.settling.report import Pulled
from posthorn.errors import AlreadyRunning, GatewayError
from tasks.publish import publish
from tasks.report import pull, wrongly_shown


def run_name() -> str:
    """``delivery reports``, or ``delivery reports autumn-sale``."""
    return f"delivery reports {flow_run.parameters['name']}".rstrip()


@flow(name="delivery-reports", flow_run_name=run_name, persist_result=False)
@cancellable
async def delivery_reports(name: Annotated[str, Field(max_length=80)] = "") -> State[Any]:
    """Ask the provider for the reports of messages that wait for one, and show the totals that changed.

    Made to run every ten minutes. Young messages are asked about each time, older ones less and less often; after 72 hours
    without a report a message ends as no_report. It also looks for second copies of what was sent again. Safe beside a
    campaign that is being sent.

    Args:
        name: A campaign's name, to ask about all of it now; empty means everything that is due, of every campaign.
    """
    try:
        pulled = await pull(name)
    except AlreadyRunning as error:
        return already_running(error)
    except GatewayError as error:
        return Failed(name=STOPPED, message=str(error))
    for changed in await wrongly_shown():
        await publish(changed)
    return _ending(pulled)


def _ending(pulled: Pulled) -> State[Any]:
    """``Completed`` with the counts; ``NeedsAttention`` if second copies were found; ``Stopped`` if nothing was answered."""
    message = (
        f"requests: {pulled.requests:,}, moved: {pulled.moved:,}, still open: {pulled.open:,},"
        f" ended without a report: {pulled.expired:,}"
    )
    if pulled.second_copies:
        message += f", second copies: {pulled.second_copies:,}"
    if not pulled.problems and pulled.second_copies:
        return Failed(name=NEEDS_ATTENTION, message=message)
    if not pulled.problems:
        return Completed(message=message)
    message += f"; requests that failed: {len(pulled.problems):,}, the last: {pulled.problems[-1]}"
    return Failed(name=STOPPED, message=message) if len(pulled.problems) == pulled.requests else Completed(message=message)
