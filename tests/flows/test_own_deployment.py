"""A deployment of one campaign's or event's own: when it starts, alone; the same command again replaces its schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.server.schemas.schedules import CronSchedule, RRuleSchedule

from deployments.automations import HEARTBEAT_SECONDS, RUN_ENVIRONMENT
from deployments.own import deploy
from deployments.setup import POOL
from posthorn.errors import InputError
from posthorn.models import Kind

THREE_YEARS = timedelta(days=1_100)


async def test_only_the_newest_schedule_starts_it(prefect: PrefectClient, tmp_path: Path) -> None:
    await prefect.create_work_pool(WorkPoolCreate(name=POOL, type="process"), overwrite=True)
    later = datetime.now() + timedelta(days=30)  # noqa: DTZ005 - as typed at a terminal
    for cron, at, slugs in [
        (None, later, ["once"]),
        ("0 9 10 12 *", None, ["cron"]),
        (None, later, ["once"]),
        (None, None, []),
    ]:
        name = await deploy(Kind.EVENT, "gala", tmp_path / "gala.toml", cron=cron, at=at, timezone="Europe/Warsaw")
        deployment = await prefect.read_deployment_by_name(name)
        assert [schedule.slug for schedule in deployment.schedules] == slugs


async def deployed(
    prefect: PrefectClient, file: Path, *, cron: str | None = None, at: datetime | None = None, timezone: str
) -> DeploymentResponse:
    await prefect.create_work_pool(WorkPoolCreate(name=POOL, type="process"), overwrite=True)
    name = await deploy(Kind.EVENT, "gala", file, cron=cron, at=at, timezone=timezone)
    return await prefect.read_deployment_by_name(name)


async def starts(deployment: DeploymentResponse) -> list[datetime]:
    """When the server starts it within three years, in UTC, as the server itself reckons."""
    (one,) = deployment.schedules
    kind = CronSchedule if one.slug == "cron" else RRuleSchedule
    schedule = kind.model_validate(one.schedule.model_dump())
    now = datetime.now(UTC)
    return [moment.astimezone(UTC) for moment in await schedule.get_dates(n=100, start=now, end=now + THREE_YEARS)]


# A moment as typed, the zone beside it, and the one start in UTC. It is winter.
MOMENTS = {
    "in the zone's own hour": ("01-15T09:00:00", "Europe/Warsaw", "01-15 08:00"),
    "west of Greenwich": ("01-15T20:30:00", "America/New_York", "01-16 01:30"),
    "in UTC": ("01-15T09:00:00", "UTC", "01-15 09:00"),
    "with an offset of its own": ("01-15T09:00:00+05:00", "Europe/Warsaw", "01-15 04:00"),
}


@pytest.mark.parametrize("case", MOMENTS)
async def test_it_starts_once_at_the_hour_of_its_zone(case: str, prefect: PrefectClient, tmp_path: Path) -> None:
    typed, timezone, expected = MOMENTS[case]
    year = datetime.now(UTC).year + 1
    deployment = await deployed(
        prefect, tmp_path / "gala.toml", at=datetime.fromisoformat(f"{year}-{typed}"), timezone=timezone
    )
    assert [f"{moment:%Y-%m-%d %H:%M}" for moment in await starts(deployment)] == [f"{year}-{expected}"]


async def test_a_cron_is_read_in_its_zone(prefect: PrefectClient, tmp_path: Path) -> None:
    deployment = await deployed(prefect, tmp_path / "gala.toml", cron="0 9 15 1,7 *", timezone="Europe/Warsaw")
    assert {f"{moment:%m-%d %H:%M}" for moment in await starts(deployment)} == {"01-15 08:00", "07-15 07:00"}


@pytest.mark.parametrize("offset", [timedelta(minutes=-1), timedelta(hours=-1, minutes=-30)])
async def test_a_moment_that_has_passed_in_its_zone_is_refused(offset: timedelta, tmp_path: Path) -> None:
    at = (datetime.now(UTC) + timedelta(hours=14) + offset).replace(tzinfo=None)  # Kiribati is that far ahead
    with pytest.raises(InputError, match="has passed"):
        await deploy(Kind.EVENT, "gala", tmp_path / "gala.toml", cron=None, at=at, timezone="Pacific/Kiritimati")


async def test_two_runs_of_one_event_never_go_side_by_side(prefect: PrefectClient, tmp_path: Path) -> None:
    deployment = await deployed(prefect, tmp_path / "gala.toml", timezone="UTC")
    assert deployment.global_concurrency_limit is not None
    assert deployment.global_concurrency_limit.limit == 1


async def test_its_processes_send_heartbeats_and_run_in_this_folder(prefect: PrefectClient, tmp_path: Path) -> None:
    deployment = await deployed(prefect, tmp_path / "gala.toml", timezone="UTC")
    assert deployment.job_variables == {
        "working_dir": str(Path.cwd()),
        "env": RUN_ENVIRONMENT,
    }
    assert RUN_ENVIRONMENT["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == str(HEARTBEAT_SECONDS)
    assert deployment.parameters == {"event_file": str(tmp_path / "gala.toml")}


async def test_a_campaign_has_one_like_an_event(prefect: PrefectClient, tmp_path: Path) -> None:
    await prefect.create_work_pool(WorkPoolCreate(name=POOL, type="process"), overwrite=True)
    at = (datetime.now(UTC) + timedelta(days=30)).replace(microsecond=0)
    name = await deploy(Kind.CAMPAIGN, "sale", tmp_path / "sale.toml", cron=None, at=at, timezone="UTC")
    deployment = await prefect.read_deployment_by_name(name)
    assert name == "send-campaign/sale"
    assert deployment.parameters == {"campaign_file": str(tmp_path / "sale.toml")}
    assert deployment.entrypoint == "flows.campaign.send_campaign"
    assert await starts(deployment) == [at]


@pytest.mark.parametrize(("kind", "name"), [(Kind.CAMPAIGN, "campaign"), (Kind.EVENT, "tickets")])
async def test_the_deployment_for_any_file_is_never_replaced(kind: Kind, name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give the file another name"):
        await deploy(kind, name, tmp_path / "x.toml", cron=None, at=None, timezone="UTC")
