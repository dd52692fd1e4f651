"""The opt-outs flow, for schedules: learn who wants no more messages before the next one is sent."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.cancelling import cancellable
from flows.ending import STOPPED, already_running
from posthorn.errors import AlreadyRunning
from tasks.opt_outs import pull


@flow(name="opt-outs", flow_run_name="opt-outs", persist_result=False)
@cancellable
async def opt_outs() -> State[Any]:
    """Put the numbers of the providers' blacklists, and of answers with a stop word, onto the suppression list.

    Made to run every fifteen minutes. Safe beside campaigns that are being sent: unclaimed messages respect it.
    """
    try:
        pulled = await pull()
    except AlreadyRunning as error:
        return already_running(error)
    if not pulled.asked:
        return Completed(message="no provider that reports opt-outs has its credentials set")
    message = f"asked: {', '.join(pulled.asked)}; reported: {pulled.told:,}, new: {pulled.new + pulled.refused:,}"
    if pulled.problems:
        return Failed(name=STOPPED, message=f"{message}; could not be asked: {'; '.join(pulled.problems)}")
    return Completed(message=message)
