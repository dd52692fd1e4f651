"""The reconcile flow, for schedules: look up unknown messages of one campaign or of all, and settle what that proves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows.cancelling import cancellable, finish_when_cancelled, told_to_stop
from flows.ending import NEEDS_ATTENTION, STOPPED
from posthorn.delivery.deliver import settle_once
from posthorn.delivery.running.run import open_lookup
from posthorn.errors import AlreadyRunning, GatewayError, InputError
from tasks.deliver import STEPS
from tasks.publish import publish
from tasks.status import to_settle


def run_name() -> str:
    """``reconcile``, or ``reconcile autumn-sale``."""
    return f"reconcile {flow_run.parameters['name']}".rstrip()


@flow(name="reconcile", flow_run_name=run_name, persist_result=False)
@cancellable
async def reconcile(name: Annotated[str, Field(max_length=80)] = "") -> State[Any]:
    """Ask the provider about messages whose outcome is unknown, and settle what that proves. Nothing is sent.

    A campaign that is being sent right now is left alone: it reconciles at its own end. A stopped campaign stays stopped.

    Args:
        name: The campaign's name; empty means every campaign with unknown messages, or with copies to withdraw.
    """
    names = [name] if name else await to_settle()
    return await look_after(names)


async def look_after(names: Sequence[str]) -> State[Any]:
    """Reconcile these campaigns one after the other, and show each one's status. A failure does not stop the others."""
    unknown = copies = left = 0
    problems = []
    for one in names:
        if told_to_stop():
            break
        try:
            async with open_lookup(one) as run:
                with finish_when_cancelled(run):
                    await settle_once(run, STEPS)
        except AlreadyRunning as error:
            get_run_logger().info("%s", error)
        except (GatewayError, InputError) as error:  # this one must not hold up the other campaigns
            problems.append(f"{one}: {error}")
        status = await publish(one)
        unknown += status["totals"]["unknown"]
        copies += status["second_copies"]
        left += status["totals"]["pending"] if status["state"] == "stopped" else 0
    looked_at = f"{len(names)} {'campaign' if len(names) == 1 else 'campaigns'} looked at"
    if left:
        looked_at += f"; not sent yet: {left:,} (run the campaign again to send them)"
    found = f"unknown: {unknown:,}" + (f", second copies: {copies:,}" if copies else "")
    if problems:
        return Failed(name=STOPPED, message=f"{'; '.join(problems)}. {found}; {looked_at}")
    if unknown or copies:
        return Failed(name=NEEDS_ATTENTION, message=f"{found}; {looked_at}")
    return Completed(message=f"nothing unknown; {looked_at}")
