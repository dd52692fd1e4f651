"""The automation that calls a flow run crashed when its process is gone: Prefect alone leaves it Running for ever."""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

HEARTBEAT_SECONDS = 60
"""How often a flow process of ours says that it lives (PREFECT_FLOWS_HEARTBEAT_FREQUENCY, set in prefect.yaml)."""

RUN_ENVIRONMENT = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "posthorn",
}
"""What every run under a worker has in its environment, as prefect.yaml says it for its deployments."""

SILENCE_SECONDS = 200
"""Silence after which a run is taken for dead: more than three heartbeats, so that a busy minute crashes nobody."""

ZOMBIES = "posthorn: runs whose process is gone"


def zombie_automation() -> AutomationCore:
    """A run that was heard of and is silent since becomes Crashed; the ledger has what it did, the next run goes on."""
    return AutomationCore(
        name=ZOMBIES,
        description="A worker or its machine died: its run is marked Crashed. Run the campaign again, it goes on.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},  # a heartbeat, or any state: final ones carry names of our own
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(seconds=SILENCE_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                message=f"no heartbeat for {SILENCE_SECONDS} s: its process is gone. Run it again, it goes on.",
            )
        ],
    )


async def ensure_automations(client: PrefectClient) -> None:
    """Create the automation, or bring it up to date."""
    wanted = zombie_automation()
    there = await client.read_automations_by_name(wanted.name)
    if there:
        await client.update_automation(there[0].id, wanted)
    else:
        await client.create_automation(wanted)
