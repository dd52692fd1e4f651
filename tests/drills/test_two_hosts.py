"""Two hosts, one ledger on PostgreSQL: the first one's link is cut while it sends, the second takes over, nobody twice."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from posthorn.sandbox.server import Sandbox
from tests.delivery.journey import numbers, write_campaign
from tests.drills.hosts import CannotBeMade, Network, Postgres, network, within_reach

COUNT = 4_000
TAKE_OVER_SECONDS = 60.0
END_SECONDS = 240.0
POSTHORN = str(Path(sys.executable).with_name("posthorn"))


@pytest.fixture
def two_hosts() -> Iterator[tuple[Network, Postgres]]:
    hosts = network("a", "b")
    try:
        made = hosts.__enter__()
    except CannotBeMade as error:
        if os.environ.get("CI") == "true" and os.geteuid() == 0 and shutil.which("ip"):
            pytest.fail(str(error))
        pytest.skip(f"two hosts were not tried: {error}")
    yield made
    hosts.__exit__(None, None, None)


class Host:
    """One host with a folder of its own, in which somebody sends the campaign."""

    def __init__(self, made: Network, name: str, url: str, folder: Path) -> None:
        self._network, self._name, self._folder = made, name, folder / name
        self._folder.mkdir()
        write_campaign(self._folder, numbers(COUNT))
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "LANG": "C.UTF-8",
            "USER": f"operator-{name}",
            "POSTHORN_DATABASE_URL": made.database_url,
            "POSTHORN_SERWERSMS__BASE_URL": url,
            "POSTHORN_SERWERSMS__TOKEN": "sandbox-token",
            "POSTHORN_SERWERSMS__CHUNK_SIZE": "50",
            "POSTHORN_SERWERSMS__CONCURRENCY": "4",
            "POSTHORN_SERWERSMS__TIMEOUT_SECONDS": "2",
            "POSTHORN_SERWERSMS__SETTLE_SECONDS": "2",
        }

    async def start(self) -> asyncio.subprocess.Process:
        """Start ``posthorn campaign send`` there."""
        return await asyncio.create_subprocess_exec(
            *self._network.inside(self._name, POSTHORN, "campaign", "send", "sale.toml", "--json"),
            cwd=self._folder,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def send(self) -> tuple[int | None, str, str]:
        """Send it there, to the end: exit code, what was reported, what was said."""
        process = await self.start()
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()


@pytest.mark.timeout(400)
async def test_a_second_host_takes_over_from_one_that_is_cut_off_and_nobody_gets_it_twice(
    two_hosts: tuple[Network, Postgres], box: Sandbox, tmp_path: Path
) -> None:
    made, _ = two_hosts
    box.latency_seconds = 0.5
    async with within_reach(made, box.url, "a", "b"):
        first, second = (Host(made, name, box.url, tmp_path) for name in ("a", "b"))
        sending = await first.start()
        await _until_it_sends(sending, box, 8)
        made.cut("a")
        async with asyncio.timeout(TAKE_OVER_SECONDS):
            taking_over = await _taken_over(second)
        async with asyncio.timeout(END_SECONDS):
            at_that_moment = box.truth()["accepted"]
            while box.truth()["accepted"] < at_that_moment + 200:
                assert taking_over.returncode is None, await taking_over.communicate()
                await asyncio.sleep(0.05)
            made.heal("a")
            (out, err), (_, said) = await asyncio.gather(taking_over.communicate(), sending.communicate())
            again = await first.send()
    assert sending.returncode in (1, 4), said
    assert b"Traceback" not in said, said.decode()
    assert b"posthorn: the l" in said, said.decode()  # the ledger failed, or the lock was lost
    assert taking_over.returncode in (0, 3), err.decode()
    truth = box.truth()
    assert (truth["twice"], truth["in_flight"]) == (0, 0)
    for status in (json.loads(out), json.loads(again[1])):
        _assert_accounted_for(status, truth)


@pytest.mark.timeout(400)
async def test_a_database_server_that_is_killed_while_it_is_sent_costs_nobody_anything(
    two_hosts: tuple[Network, Postgres], box: Sandbox, tmp_path: Path
) -> None:
    made, database = two_hosts
    box.latency_seconds = 0.2
    async with within_reach(made, box.url, "a"), asyncio.timeout(END_SECONDS):
        host = Host(made, "a", box.url, tmp_path)
        for requests in (4, 20, 40):
            sending = await host.start()
            await _until_it_sends(sending, box, requests)
            database.kill()
            _, said = await sending.communicate()
            assert (sending.returncode, b"posthorn: the l" in said, b"Traceback" in said) == (1, True, False), said.decode()
            database.start()
        code, out, err = await host.send()
    assert code in (0, 3), err
    assert box.truth()["twice"] == 0
    _assert_accounted_for(json.loads(out), box.truth(), most_unknown=3 * 4 * 50)


async def _until_it_sends(sending: asyncio.subprocess.Process, box: Sandbox, requests: int) -> None:
    async with asyncio.timeout(END_SECONDS):
        while box.truth()["send_requests"] < requests:
            assert sending.returncode is None, await sending.communicate()
            await asyncio.sleep(0.05)


async def _taken_over(host: Host) -> asyncio.subprocess.Process:
    """Send there again and again until it is not told that another host runs it."""
    while True:
        process = await host.start()
        assert process.stderr is not None
        while line := (await process.stderr.readline()).decode():
            if "starting" in line:
                return process
            if "already running" not in line:
                raise AssertionError(line)
        await process.communicate()


def _assert_accounted_for(status: dict[str, Any], truth: dict[str, Any], most_unknown: int = 4 * 50) -> None:
    counted = {name: count for name, count in status["totals"].items() if count}
    assert status["balanced"]
    assert set(counted) <= {"input", "accepted", "unknown"}
    assert counted["accepted"] == truth["accepted"], "whatever the provider took is known to be taken"
    assert counted.get("unknown", 0) <= most_unknown, "only what was claimed and had not left at that moment"
