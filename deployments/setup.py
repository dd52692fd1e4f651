"""Set up a Prefect server for Posthorn: work pool, limits, automation, every deployment of prefect.yaml.

Idempotent. Works on the server of PREFECT_API_URL, or of `make serve`; ``python -m deployments.setup`` is `make deploy`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from deployments.automations import ensure_automations, ensure_notices
from deployments.limits import ensure_limits
from posthorn.process.crash import run_to_exit_code
from posthorn.process.notices import ways
from posthorn.process.prefect_server import PrefectServerError, required_api
from posthorn.process.surroundings import settle
from posthorn.process.terminal import fail
from posthorn.settings import Settings, SettingsError, load_settings
from posthorn.views.cards import overview_now
from tasks.publish import address, show_overview

POOL = "posthorn"
ROOT = Path(__file__).parents[1]


async def prepare(settings: Settings, *, reset_limits: bool = False) -> None:
    """Create the work pool, the limits and the automation if they are missing."""
    async with get_client() as client:
        try:
            await client.read_work_pool(POOL)
        except ObjectNotFound:
            await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        await ensure_limits(client, settings, reset=reset_limits)
        await ensure_automations(client)


async def switch_notices_on(settings: Settings) -> None:
    """Switch notifications on, if the settings name anybody. Call it after ``deploy_all``."""
    if ways(settings.notify):
        async with get_client() as client:
            await ensure_notices(client)


async def overview_address() -> str:
    """The UI path of the page of all deliveries, created even before the first delivery."""
    return address(await show_overview(await asyncio.to_thread(overview_now)))


def deploy_all() -> None:
    """Create or update every deployment of prefect.yaml, as `prefect deploy --all` does.

    Raises:
        subprocess.CalledProcessError: Prefect refused; its output says why.
    """
    command = ["-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml"]
    subprocess.run(  # noqa: S603 - our own command
        [sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "NO_COLOR": "1"}
    )


def main() -> int:
    """Set up the configured server, or that of `make serve` in this folder; returns the exit code."""
    try:
        settings = load_settings()
        api = required_api(settings.state_dir)
        os.environ.update(api.variables())
        with temporary_settings({PREFECT_API_URL: api.url, **({PREFECT_API_AUTH_STRING: api.login} if api.login else {})}):
            asyncio.run(prepare(settings, reset_limits=True))
            deploy_all()
            asyncio.run(switch_notices_on(settings))
    except (SettingsError, PrefectServerError) as error:
        return fail(error, 2)
    except subprocess.CalledProcessError as error:
        return fail(error, 1)
    print("the work pool, the limits, the automation and all deployments are up to date")
    return 0


if __name__ == "__main__":
    settle()
    sys.exit(run_to_exit_code(main))
