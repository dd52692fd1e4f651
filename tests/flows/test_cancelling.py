"""SIGTERM to a flow's process, which is how Prefect cancels a run: what is under way is finished, nothing is unknown."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from posthorn.delivery.status import status_now
from posthorn.sandbox.server import Sandbox
from tests.delivery.journey import counted, numbers, write_campaign

SEND = "messages/send_mms"
CHILD = "import asyncio, sys; from flows.campaign import send_campaign; asyncio.run(send_campaign(sys.argv[1]))"


async def test_a_cancelled_run_finishes_what_is_under_way(box: Sandbox, tmp_path: Path) -> None:
    box.latency_seconds = 0.5
    file = write_campaign(tmp_path, numbers(600))
    flow = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(file), env={**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()}
    )
    async with asyncio.timeout(60):
        while True:
            if box.truth()["requests"].get(SEND):
                break
            await asyncio.sleep(0.05)
        flow.send_signal(signal.SIGTERM)
        assert await flow.wait() == -signal.SIGTERM
    status = status_now("sale")
    assert status["because"] == "the run was cancelled"
    found = counted(status)
    assert set(found) == {"pending", "accepted"}
    assert found["accepted"] == box.truth()["accepted"] > 0


async def test_a_cancelled_run_does_not_sit_out_the_settle_time(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_SERWERSMS__SETTLE_SECONDS", "600")
    box.faults.replace([{"call": SEND, "at": [1], "fault": "reset_before"}])
    file = write_campaign(tmp_path, numbers(100), resend_unconfirmed="true")
    flow = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(file), env={**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()}
    )
    async with asyncio.timeout(60):
        while not box.truth()["requests"].get("messages/reports"):  # noqa: ASYNC110 - the sandbox has no event to offer
            await asyncio.sleep(0.05)
        flow.send_signal(signal.SIGTERM)
        assert await flow.wait() == -signal.SIGTERM
    status = status_now("sale")
    assert (status["because"], counted(status)) == ("the run was cancelled", {"accepted": 50, "unknown": 50})
