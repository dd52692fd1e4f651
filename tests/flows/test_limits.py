"""The limit that processes of one account share: nothing is sent without it, a lower one is kept to, a full one awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.concurrency.asyncio import concurrency

from deployments.limits import ensure_limits
from flows.campaign import send_campaign
from posthorn.sandbox.server import Sandbox
from posthorn.settings import load_settings
from tests.delivery.journey import numbers, write_campaign

LIMIT = "posthorn-serwersms"


@pytest.fixture(autouse=True)
async def _put_back(prefect: PrefectClient) -> AsyncIterator[None]:
    yield
    await ensure_limits(prefect, load_settings(), reset=True)


async def test_without_the_limit_nothing_is_sent(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    await prefect.delete_global_concurrency_limit_by_name(LIMIT)
    state = await send_campaign(str(write_campaign(tmp_path, numbers(60))), return_state=True)
    assert state.is_failed()
    assert box.truth()["send_requests"] == 0


async def test_a_lower_limit_is_kept_to(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    box.latency_seconds = 0.05
    file = write_campaign(tmp_path, numbers(600))
    await prefect.upsert_global_concurrency_limit_by_name(LIMIT, 1)
    assert (await send_campaign(str(file), return_state=True)).name == "Completed"
    assert (box.truth()["accepted"], box.truth()["max_in_flight"]) == (600, 1)


async def test_a_limit_that_is_taken_is_awaited(box: Sandbox, tmp_path: Path, prefect: PrefectClient) -> None:
    await prefect.upsert_global_concurrency_limit_by_name(LIMIT, 3)
    async with concurrency(LIMIT, occupy=2, strict=True):
        run = asyncio.create_task(send_campaign(str(write_campaign(tmp_path, numbers(60))), return_state=True))
        async with asyncio.timeout(30):
            while True:
                if box.truth()["requests"].get("account/limits"):
                    break
                await asyncio.sleep(0.05)
        done, _ = await asyncio.wait([run], timeout=2)
        assert not done
        assert box.truth()["send_requests"] == 0
    assert (await run).name == "Completed"
    assert box.truth()["accepted"] == 60
