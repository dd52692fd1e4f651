"""A separate deployment for one campaign or event: on a schedule or at one moment, without changing prefect.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from prefect.client.orchestration import get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron, RRule, Schedule
from pydantic import ValidationError

from deployments.automations import RUN_ENVIRONMENT
from deployments.setup import POOL
from posthorn.errors import InputError
from posthorn.models import Kind


@dataclass(frozen=True, slots=True)
class _Flow:
    """The flow that sends a kind: its entrypoint, its parameter for the file, the deployment for any file."""

    entrypoint: str
    parameter: str
    for_all: str
    what: str


FLOWS = {
    Kind.CAMPAIGN: _Flow("flows.campaign.send_campaign", "campaign_file", "campaign", "the message"),
    Kind.EVENT: _Flow("flows.tickets.send_tickets", "event_file", "tickets", "a ticket"),
}


async def deploy(kind: Kind, name: str, file: Path, *, cron: str | None, at: datetime | None, timezone: str) -> str:
    """Create or replace the deployment ``send-campaign/<name>`` or ``send-tickets/<name>``; returns its full name.

    Runs happen in the current folder, on the machine of any worker that takes them: the file and ``.env`` must be there.

    Raises:
        InputError: the schedule cannot be read, or the name is that of the deployment for any file.
    """
    flow = FLOWS[kind]
    if name == flow.for_all:
        raise InputError("name", f"the deployment called {name} is the one for any file; give the file another name")
    deployment = RunnerDeployment.from_entrypoint(
        flow.entrypoint,
        name=name,
        description=f"The {kind.name.lower()} {name}. Running it again is safe: nobody gets {flow.what} twice.",
        tags=["posthorn", flow.for_all],
        parameters={flow.parameter: str(file)},
        schedules=_schedules(cron, at, timezone),
        work_pool_name=POOL,
        concurrency_limit=1,
        job_variables={
            "working_dir": str(Path.cwd()),
            "env": RUN_ENVIRONMENT,
        },
    )
    await _forget_other_schedules(deployment)
    await deployment.aapply()
    return deployment.full_name


async def _forget_other_schedules(deployment: RunnerDeployment) -> None:
    """Remove old schedules: Prefect replaces only a schedule of the same slug, so an old one would still start runs."""
    kept = {schedule.slug for schedule in deployment.schedules or ()}
    async with get_client() as client:
        try:
            former = await client.read_deployment_by_name(deployment.full_name)
        except ObjectNotFound:
            return
        for schedule in former.schedules:
            if schedule.slug not in kept:
                await client.delete_deployment_schedule(former.id, schedule.id)


def _refuse_never(cron: str) -> None:
    """Refuse a schedule that never comes, such as 30 February: Prefect accepts it and never starts anything."""
    try:
        next(CronSim(cron, datetime.now(UTC)))
    except (CronSimError, StopIteration):
        raise InputError("--cron", f"{cron!r} never comes; expected a day that exists, as in '0 9 1 12 *'") from None


def _schedules(cron: str | None, at: datetime | None, timezone: str) -> list[Schedule]:
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise InputError("--timezone", f"{timezone!r} is not a time zone; expected one such as Europe/Warsaw") from None
    if cron is not None:
        try:
            schedule = Cron(cron, timezone=timezone, slug="cron")
        except (ValueError, ValidationError):
            raise InputError("--cron", f"{cron!r} is not a schedule; expected five fields, as in '0 9 1 12 *'") from None
        _refuse_never(cron)
        return [schedule]
    if at is None:
        return []
    moment = (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    if moment <= datetime.now(UTC):
        raise InputError("--at", f"{at:%Y-%m-%d %H:%M} in {timezone} has passed")
    return [RRule(f"DTSTART:{moment:%Y%m%dT%H%M%SZ}\nRRULE:FREQ=DAILY;COUNT=1", timezone="UTC", slug="once")]
