"""The tickets flow: plan, ask for approval, preflight, send in batches. One run per event; the next run goes on."""

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
from posthorn.content.givenpath import pasted
from posthorn.delivery.deciding.approval import refuse_refused
from posthorn.delivery.deliver import deliver_event
from posthorn.delivery.running.run import open_ticket_run
from posthorn.errors import AlreadyRunning, GatewayError, Stopped
from tasks.deliver import STEPS
from tasks.plan import plan_tickets
from tasks.preflight import preflight
from tasks.publish import progress, publish
from tasks.report import report_tickets


def run_name() -> str:
    """``tickets concert.toml``: the file, never its content."""
    return f"tickets {pasted(flow_run.parameters['event_file']).name}"


@flow(name="send-tickets", flow_run_name=run_name, persist_result=False)
@cancellable
async def send_tickets(
    event_file: Annotated[str, Field(min_length=1, max_length=1000)],
    run_by: Annotated[str, Field(max_length=80)] = "",
    accept_missing: bool = False,
) -> State[Any]:
    """Send each attendee of one event the ticket with their own barcode, or go on where an earlier run stopped.

    Nobody gets a ticket twice. A ticket whose answer was lost stays unknown until a postback or a person settles it. A
    large event may wait for a person's approval: the run is paused until then.

    Args:
        event_file: Path of the event file (TOML), as seen by the machine that runs the flow.
        run_by: Who starts it, for the record; empty means the account that the process runs under.
        accept_missing: Whether rows that left the list are taken out for good; otherwise such a list is refused.
    """
    try:
        name = await plan_tickets(event_file, accept_missing=accept_missing)
        while await approved(name):  # its file may have changed while a person decided
            await plan_tickets(event_file, accept_missing=accept_missing)
        await send_planned_tickets(name, by=run_by)
    except AlreadyRunning as error:
        return already_running(error)
    except NotApproved as error:
        return not_approved(error)
    return ending(await publish(name))


async def send_planned_tickets(name: str, *, by: str = "") -> None:
    """Send what is planned. If it ends early, the ledger keeps the reason, and the final state gives it."""
    with suppress(GatewayError, Stopped):
        async with open_ticket_run(name, by=by) as run:
            await refuse_refused(run)
            with finish_when_cancelled(run):
                await preflight(run)
                async with progress(run):
                    await deliver_event(run, STEPS)
                await report_tickets(run)
