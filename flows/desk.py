"""The operators' desk: a form in Prefect's UI for each decision about a delivery. None of these flows sends anything.

Prefect keeps the parameters of a run in clear, so none is a phone number: a run that needs one pauses and asks for it.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal, TypeAlias

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.input import RunInput
from prefect.states import Completed
from pydantic import Field

from flows.cancelling import cancellable
from flows.ending import ending
from flows.rest import start_rest
from posthorn.delivery.deciding.approval import SEND
from posthorn.delivery.deciding.resend import resend_failed as have_failed_sent_again
from posthorn.delivery.deciding.resolve import kind_of, resolve_lines
from posthorn.delivery.settling.withdraw import cancel_delivery
from posthorn.delivery.suppression.suppress import add
from tasks.desk import asked, decide_and_wake, masked, show_found
from tasks.publish import publish

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=80)]
Note: TypeAlias = Annotated[str, Field(max_length=300)]
Why: TypeAlias = Annotated[str, Field(min_length=1, max_length=300)]
Lines: TypeAlias = Annotated[str, Field(max_length=300, pattern=r"^\s*\d{1,7}([\s,]+\d{1,7})*\s*$")]
"""The form itself refuses a phone number here, before Prefect keeps it."""

CANCEL = "cancel it for good"


@flow(name="approve", flow_run_name="approve {name}", persist_result=False)
@cancellable
async def approve(name: Name, decision: Literal["send it", "do not send it"], by: Name, note: Note = "") -> State[Any]:
    """Decide on a campaign or event that waits for approval; its run goes on by itself. A no stops a run that is under way.

    Args:
        name: The campaign's or the event's name. The artifact approval-<name> shows what would be sent.
        decision: Whether it is sent as shown there.
        by: Who decides; this is kept with the decision.
        note: A note to keep with the decision.
    """
    woken = await decide_and_wake(name, approved=decision == SEND, by=by, note=note)
    await publish(name)
    said = "approved" if decision == SEND else "refused"
    return Completed(message=f"{name}: {said} by {by}; waiting runs that go on: {woken}")


@flow(name="cancel", flow_run_name="cancel {name}", persist_result=False)
@cancellable
async def cancel(
    name: Name,
    sure: Literal["cancel it for good", "leave it as it is"],
) -> State[Any]:
    """Stop a campaign or an event for good: pending messages are never sent, held ones are withdrawn.

    Messages that went on to the phones cannot be called back. To stop a run that may go on later, cancel the run instead.

    Args:
        name: The campaign's or the event's name.
        sure: This cannot be undone, so it has to be chosen here.
    """
    if sure != CANCEL:
        return Completed(message=f"{name} was left as it is")
    done = await cancel_delivery(await asyncio.to_thread(kind_of, name), name)
    counted = f"never sent {done.never_sent:,}, withdrawn {done.withdrawn:,}, already went out {done.went_out:,}"
    state = ending(await publish(name))
    state.message = f"{counted}; {state.message}"
    return state


@flow(name="resend-failed", flow_run_name="resend failed of {name}", persist_result=False)
@cancellable
async def resend_failed(name: Name, by: Name, why: Why) -> State[Any]:
    """Send again every message that was refused or reported as not delivered, and start the run that sends them.

    Args:
        name: The campaign's or the event's name.
        by: Who decides; this is kept with the decision.
        why: Why they are sent a second time; this is kept, too.
    """
    kind = await asyncio.to_thread(kind_of, name)
    done = await asyncio.to_thread(have_failed_sent_again, kind, name, by=by, why=why)
    await publish(name)
    await start_rest(name)
    return Completed(message=f"{done.resent:,} are sent again by the run `rest of {name}`")


@flow(name="settle", flow_run_name="settle {name}", persist_result=False)
@cancellable
async def settle(
    name: Name, lines: Lines, outcome: Literal["it was sent", "it was not sent"], by: Name, why: Why
) -> State[Any]:
    """Settle messages or tickets of unknown outcome. The next run sends those that were not sent.

    Args:
        name: The campaign's or the event's name.
        lines: Line numbers of its list, as in the artifact unknown-<name>: 12, 15, 40.
        outcome: What you found in the provider's panel, or what the attendee said.
        by: Who says so; this is kept with the decision.
        why: How you know; this is kept, too.
    """
    done = await asyncio.to_thread(resolve_lines, name, lines, taken=outcome == "it was sent", by=by, why=why)
    await publish(name)
    return Completed(message=f"{done.resolved:,} settled as {done.state.name.lower()}, {done.unknown:,} still unknown")


class Suppressed(RunInput):
    """A number that must not be messaged, as a person enters it in the Resume dialog."""

    number: str = Field(min_length=1, max_length=40, description="The number, such as +48500600700")
    scope: Literal["marketing", "all"] = Field(description="marketing: no campaigns; all: no tickets either")
    by: str = Field(min_length=1, max_length=80, description="Who says so; this is kept with the entry")
    why: str = Field(min_length=1, max_length=300, description="Why; this is kept, too")


@flow(name="suppress", flow_run_name="suppress a number", persist_result=False)
@cancellable
async def suppress() -> State[Any]:
    """Put a number on the list of those who must not be messaged.

    Choose Quick run. The run pauses after some seconds; Resume in its menu asks for the number. Prefect does not keep what
    is typed there.
    """
    said = await asked(Suppressed, "# Who must not be messaged?")
    who = await masked(said.number)
    done = await asyncio.to_thread(add, [said.number], said.scope, why=said.why, by=said.by)
    is_new = "is on the list now" if done["new"] else "was on the list already"
    return Completed(message=f"{who}: {is_new} ({said.scope})")


class Wanted(RunInput):
    """The number to look up, as a person enters it in the Resume dialog."""

    number: str = Field(min_length=1, max_length=40, description="The number, such as +48500600700")


@flow(name="find", flow_run_name="find a number", persist_result=False)
@cancellable
async def find() -> State[Any]:
    """Find what was sent to one number, over all campaigns and events. The artifact of this run shows it, masked.

    Choose Quick run. The run pauses after some seconds; Resume in its menu asks for the number. Prefect does not keep what
    is typed there.
    """
    said = await asked(Wanted, "# Which number?")
    who = await masked(said.number)
    count = await show_found(said.number)
    return Completed(message=f"{who}: {count} messages; the Artifacts tab shows them")
