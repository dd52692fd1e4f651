"""An event's own deployment: the same command again replaces its schedule, whatever kind it was."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate

from deployments.events import deploy_event
from deployments.setup import POOL


async def test_only_the_newest_schedule_starts_it(prefect: PrefectClient, tmp_path: Path) -> None:
    await prefect.create_work_pool(WorkPoolCreate(name=POOL, type="process"), overwrite=True)
    later = datetime.now() + timedelta(days=30)  # noqa: DTZ005 - as typed at a terminal
    for cron, at, slugs in [
        (None, later, ["once"]),
        ("0 9 10 12 *", None, ["cron"]),
        (None, later, ["once"]),
        (None, None, []),
    ]:
        name = await deploy_event("gala", tmp_path / "gala.toml", cron=cron, at=at, timezone="Europe/Warsaw")
        deployment = await prefect.read_deployment_by_name(name)
        assert [schedule.slug for schedule in deployment.schedules] == slugs
