"""Who is called dead, and when: a run whose process has said nothing for more than three of its heartbeats, and only it."""

from __future__ import annotations

from datetime import timedelta

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.server.events.schemas.automations import EventTrigger as ServerTrigger
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.types._datetime import now

from deployments.automations import HEARTBEAT_SECONDS, RUN_ENVIRONMENT, SILENCE_SECONDS, zombie_automation
from tests.deployments.test_definitions import DEPLOYMENTS


def trigger() -> EventTrigger:
    found = zombie_automation().trigger
    assert isinstance(found, EventTrigger)
    return found


def on_the_server() -> ServerTrigger:
    """The trigger as the server evaluates it."""
    return ServerTrigger.model_validate(trigger().model_dump(mode="json"))


def of_run(event: str, run: str = "prefect.flow-run.1") -> ReceivedEvent:
    return ReceivedEvent(
        occurred=now("UTC"), event=event, resource={"prefect.resource.id": run}, id="00000000-0000-4000-8000-000000000000"
    )


def test_silence_is_more_than_three_heartbeats_and_no_more_than_five() -> None:
    assert 3 * HEARTBEAT_SECONDS < SILENCE_SECONDS <= 5 * HEARTBEAT_SECONDS
    assert trigger().posture == Posture.Proactive
    assert (trigger().within, trigger().threshold) == (timedelta(seconds=SILENCE_SECONDS), 1)


def test_every_process_of_the_pool_sends_heartbeats_as_often_as_the_automation_expects_them() -> None:
    for deployment in DEPLOYMENTS:
        environment = deployment["work_pool"]["job_variables"]["env"]
        assert environment == RUN_ENVIRONMENT, deployment["name"]
    assert RUN_ENVIRONMENT["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == str(HEARTBEAT_SECONDS)


def test_it_begins_with_a_heartbeat_and_any_news_of_the_run_ends_it() -> None:
    server = on_the_server()
    assert server.starts_after("prefect.flow-run.heartbeat")
    assert not server.starts_after("prefect.flow-run.Pending")
    for news in ("heartbeat", "Completed", "Stopped", "NeedsAttention", "AlreadyRunning", "Withdrawn"):
        assert server.expects(f"prefect.flow-run.{news}"), news
    assert server.covers(of_run("prefect.flow-run.heartbeat"))
    assert not server.covers(of_run("prefect.flow-run.heartbeat", "prefect.task-run.1"))


def test_each_run_is_watched_by_itself() -> None:
    server = on_the_server()
    first, second = (server.bucketing_key(of_run("prefect.flow-run.heartbeat", f"prefect.flow-run.{n}")) for n in "12")
    assert first != second


def test_what_is_silent_becomes_crashed_and_nothing_else_happens() -> None:
    (action,) = zombie_automation().actions
    assert isinstance(action, ChangeFlowRunState)
    assert action.state == StateType.CRASHED
