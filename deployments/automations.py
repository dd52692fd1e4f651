"""The automations: one marks a flow run as crashed when its process is gone, one notifies people about deliveries."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

HEARTBEAT_SECONDS = 60
"""How often our flow processes send a heartbeat (PREFECT_FLOWS_HEARTBEAT_FREQUENCY, set in prefect.yaml)."""

RUN_ENVIRONMENT = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "posthorn",
}
"""The environment of every run under a worker, as prefect.yaml sets it for its deployments."""

SILENCE_SECONDS = 200
"""After this silence a run counts as dead: more than three heartbeats, so that a busy minute marks nothing as crashed."""

ZOMBIES = "posthorn: runs whose process is gone"


def zombie_automation() -> AutomationCore:
    """A run without heartbeats becomes Crashed. The ledger has what it did, and the next run goes on."""
    return AutomationCore(
        name=ZOMBIES,
        description="A worker or its machine died: its run is marked Crashed. Run the campaign again, it goes on.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},  # a heartbeat, or any state: final ones have our own names
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


NOTICES = "posthorn: tell people what wants them"
NOTIFY = "notify/notify"
TOLD = ("needs_attention", "stopped", "waiting", "cost")
"""The events that people are notified about, by the last part of their names."""


def notices_automation(deployment: UUID) -> AutomationCore:
    """Each event that needs a person starts the flow that notifies people. Addresses are only in the settings."""
    return AutomationCore(
        name=NOTICES,
        description="A delivery needs attention, has stopped, waits, or has nearly used up its budget: people are notified.",
        trigger=EventTrigger(
            posture=Posture.Reactive,
            expect={f"posthorn.{kind}.{happening}" for kind in ("campaign", "event") for happening in TOLD},
            match={"prefect.resource.id": ["posthorn.campaign.*", "posthorn.event.*"]},
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(
                deployment_id=deployment,
                parameters={
                    "name": _template("{{ event.resource.name }}"),
                    "happening": _template("{{ event.event.split('.') | last }}"),
                },
            )
        ],
    )


def _template(text: str) -> dict[str, str]:
    """How Prefect marks a parameter that is filled from the event."""
    return {"__prefect_kind": "jinja", "template": text}


async def ensure_notices(client: PrefectClient) -> None:
    """Notify people from now on, through the deployment ``notify``.

    Raises:
        ObjectNotFound: the server does not have the deployments of prefect.yaml.
    """
    deployment = await client.read_deployment_by_name(NOTIFY)
    await _ensure(client, notices_automation(deployment.id))


async def ensure_automations(client: PrefectClient) -> None:
    """Create or update the automation that finds dead runs."""
    await _ensure(client, zombie_automation())


async def _ensure(client: PrefectClient, wanted: AutomationCore) -> None:
    there = await client.read_automations_by_name(wanted.name)
    if there:
        await client.update_automation(there[0].id, wanted)
    else:
        await client.create_automation(wanted)
