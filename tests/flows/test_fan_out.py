"""One campaign over several processes: each chunk is sent by one of them, and what a dead one had under way is settled."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State
from prefect.deployments.runner import RunnerDeployment
from prefect.settings import PREFECT_API_URL

from flows.campaign import send_campaign
from flows.share import DEPLOYMENT
from posthorn.ledger.store.engine import Ledger
from posthorn.sandbox.server import Sandbox
from posthorn.settings import SettingsError
from posthorn.views.status import status_now
from tests.delivery.journey import counted, numbers, write_campaign
from tests.ledger.conftest import postgres_template, postgres_url  # noqa: F401 - fixtures

CHILD = "import asyncio, sys; from flows.share import send_share; asyncio.run(send_share(sys.argv[1]))"


@pytest.fixture
async def shares(prefect: PrefectClient) -> PrefectClient:
    """The deployment that a run starts its shares with; no worker takes them here, the test does."""
    flow, name = DEPLOYMENT.split("/")
    await prefect.create_work_pool(WorkPoolCreate(name="shares", type="process"), overwrite=True)
    deployment = RunnerDeployment.from_entrypoint("flows.share.send_share", name, work_pool_name="shares")
    assert deployment.flow_name == flow
    await deployment.aapply()
    return prefect


@dataclass(frozen=True, slots=True)
class Team:
    """A run in this process and its share in another; both have had an answer."""

    run: asyncio.Task[State[Any]]
    share: asyncio.subprocess.Process
    ledger: str


@pytest.fixture
async def team(
    postgres_url: str,  # noqa: F811
    shares: PrefectClient,
    box: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Team]:
    monkeypatch.setenv("POSTHORN_DATABASE_URL", postgres_url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__TIMEOUT_SECONDS", "2")
    monkeypatch.setenv("POSTHORN_SERWERSMS__SETTLE_SECONDS", "2")
    box.latency_seconds = 0.25
    file = write_campaign(tmp_path, numbers(4000))
    run = asyncio.create_task(send_campaign(str(file), workers=2, return_state=True))
    share = None
    try:
        await has_sent(postgres_url, 1)
        share = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, "sale", env={**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()}
        )
        await has_sent(postgres_url, 2)
        yield Team(run, share, postgres_url)
    finally:
        run.cancel()
        if share is not None and share.returncode is None:
            share.kill()


@pytest.mark.parametrize("fate", ["lives", "dies"])
async def test_two_processes_send_one_campaign(fate: str, team: Team, box: Sandbox, shares: PrefectClient) -> None:
    if fate == "dies":
        team.share.send_signal(signal.SIGKILL)
    state = await team.run
    assert await team.share.wait() == (-signal.SIGKILL if fate == "dies" else 0)

    assert state.name == "Completed", state.message
    assert counted(status_now("sale")) == {"accepted": 4000}
    truth = box.truth()
    assert (truth["accepted"], truth["twice"]) == (4000, 0)
    outcomes = outcomes_by_owner(team.ledger)
    assert len({owner for owner, _ in outcomes}) == 2, "both took part"
    assert bool(settled_of_the_dead(team.ledger)) == (fate == "dies")
    asked_for = await shares.read_flow_runs()
    assert any(one.parameters == {"name": "sale"} and one.deployment_id for one in asked_for)


async def test_a_reason_to_stop_stops_every_process(team: Team, box: Sandbox) -> None:
    box.serwersms.set_credit(0, None)
    state = await team.run
    await team.share.wait()
    assert state.name == "Stopped"
    status = status_now("sale")
    assert status["totals"]["pending"] > 0
    assert status["totals"]["sending"] == 0
    assert box.truth()["twice"] == 0


async def test_several_processes_need_postgresql(box: Sandbox, tmp_path: Path) -> None:
    state = await send_campaign(str(write_campaign(tmp_path, numbers(60))), workers=2, return_state=True)
    assert state.is_failed()
    with pytest.raises(SettingsError, match="need the ledger on PostgreSQL"):
        await state.aresult()
    assert box.truth()["send_requests"] == 0


async def has_sent(url: str, processes: int) -> None:
    """Wait until so many processes have had an answer."""
    async with asyncio.timeout(60):
        while True:
            if len({owner for owner, outcome in outcomes_by_owner(url) if outcome == "answered"}) >= processes:
                return
            await asyncio.sleep(0.1)


def settled_of_the_dead(url: str) -> set[str]:
    """What became of claims whose process died: it may have sent them, or surely had not handed them over yet."""
    ledger = Ledger(url)
    try:
        with ledger.read() as connection:
            problems = connection.execute(sa.text("SELECT problem FROM attempt WHERE outcome IN ('abandoned', 'not_taken')"))
            return set(problems.scalars()) & {"the sending process died", "its process died before it was its turn"}
    finally:
        ledger.close()


def outcomes_by_owner(url: str) -> set[tuple[str, str]]:
    ledger = Ledger(url)
    try:
        with ledger.read() as connection:
            return {tuple(row) for row in connection.execute(sa.text("SELECT owner, outcome FROM attempt"))}
    finally:
        ledger.close()
