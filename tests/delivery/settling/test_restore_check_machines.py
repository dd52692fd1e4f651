"""The restore check where two machines send from one ledger on PostgreSQL, each with marks of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from posthorn.delivery.deliver import Steps, deliver_campaign
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_media
from posthorn.delivery.running.run import Run, open_lookup, open_run
from posthorn.delivery.sending.send import Exchange, send_batch
from posthorn.delivery.settling.catchup import catch_up_campaign
from posthorn.errors import LedgerError
from posthorn.gateways.contract import Before
from posthorn.ledger.claims import Claim
from posthorn.ledger.store import tables
from posthorn.models import Answer
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.conftest import POSTGRES_URL, sandbox_settings
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign
from tests.ledger.ledgers import another

SEND = "messages/send_mms"


class Database:
    """A database of this test's own; ``backup`` copies it, ``restore`` puts the copy in its place."""

    def __init__(self, server: str) -> None:
        self._server, self._name = server, f"posthorn_test_{secrets.token_hex(5)}"
        self.url = make_url(server).set(drivername="postgresql+psycopg", database=self._name).render_as_string(False)
        self._tell(f"CREATE DATABASE {self._name}")

    def backup(self) -> None:
        self._tell(f"CREATE DATABASE {self._name}_copy TEMPLATE {self._name}")

    def restore(self) -> None:
        self._tell(f"DROP DATABASE {self._name} WITH (FORCE)", f"ALTER DATABASE {self._name}_copy RENAME TO {self._name}")

    def close(self) -> None:
        """End every session, and let in no other."""
        ends = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._name}'"
        self._tell(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS false", ends)

    def open(self) -> None:
        self._tell(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS true")

    def drop(self) -> None:
        self._tell(*(f"DROP DATABASE IF EXISTS {one} WITH (FORCE)" for one in (self._name, f"{self._name}_copy")))

    def _tell(self, *statements: str) -> None:
        plain = make_url(self._server).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@pytest.fixture
def database() -> Iterator[Database]:
    server = os.environ.get(POSTGRES_URL)
    if not server:
        pytest.skip(f"{POSTGRES_URL} is not set: nothing was tested on PostgreSQL")
    made = Database(server)
    yield made
    made.drop()


def machine(name: str, box: Sandbox, folder: Path, database: Database) -> Settings:
    settings = sandbox_settings(box.url, folder, concurrency=1, settle_seconds=0.2)
    settings.database_url, settings.guard_dir = database.url, folder / name
    return settings


async def test_two_machines_that_take_turns_are_not_behind_each_other(
    box: Sandbox, database: Database, tmp_path: Path
) -> None:
    first, second = (machine(name, box, tmp_path, database) for name in ("first", "second"))
    file = write_campaign(tmp_path, numbers(500))
    for at, settings in ((3, first), (4, second), (4, first)):
        box.faults.replace([{"call": SEND, "at": [at], "fault": "status_before", "status": 401}])
        await deliver(file, settings)
    box.faults.replace([])
    assert counted(await deliver(file, second)) == {"accepted": 500}
    assert (box.truth()["accepted"], box.truth()["twice"]) == (500, 0)


async def test_each_machine_catches_up_with_its_own_mark(box: Sandbox, database: Database, tmp_path: Path) -> None:
    first, second = (machine(name, box, tmp_path, database) for name in ("first", "second"))
    file = write_campaign(tmp_path, numbers(500))
    for settings in (first, first, second):
        box.faults.replace([{"call": SEND, "at": [3], "fault": "status_before", "status": 401}])
        assert (await deliver(file, settings))["state"] == "stopped"
        if settings is first and box.truth()["accepted"] == 100:
            database.backup()
    box.faults.replace([])
    assert box.truth()["accepted"] == 300
    not_taken = 50 * len(refused_for_good(second.database_url))
    assert not_taken in (50, 100), "the second machine may have sent what the first was refused"
    database.restore()
    for settings in (first, second):
        assert "--pending" in (await deliver(file, settings))["because"]
        await catch_up_campaign("sale", settings=settings)
    assert counted(await deliver(file, second)) == {"accepted": 500 - not_taken, "unknown": not_taken}
    assert (box.truth()["accepted"], box.truth()["twice"]) == (500 - not_taken, 0)


def refused_for_good(url: str) -> set[int]:
    """The chunks of whose requests one was refused and none was taken."""
    with another(url) as ledger, ledger.read() as connection:
        asked = sa.select(tables.attempt.c.chunk_id, tables.attempt.c.outcome, tables.attempt.c.status)
        found = connection.execute(asked).all()
    return {row.chunk_id for row in found if row.status == 401} - {
        row.chunk_id for row in found if row.outcome == "answered"
    }


class CutOff:
    """An exchange that has four requests under way when the database goes away, for every session and every new one."""

    def __init__(self, inner: Exchange, database: Database) -> None:
        self._inner, self._database, self._all = inner, database, asyncio.Barrier(4)

    async def send(self, claimed: Claim, before: Before) -> Answer:
        if await self._all.wait() == 0:
            self._database.close()
        await self._all.wait()
        return await self._inner.send(claimed, before)

    async def confirm_refused(self, claimed: Claim) -> None:
        await self._inner.confirm_refused(claimed)


async def test_a_database_that_is_gone_before_the_first_byte_leaves_nobody_unknown(
    box: Sandbox, database: Database, tmp_path: Path
) -> None:
    """Nothing was written to the provider, so nothing is in doubt: the outcome waits in the spool."""
    settings = machine("first", box, tmp_path, database)
    settings.serwersms.concurrency = 4
    file = write_campaign(tmp_path, numbers(200))

    async def cut_off(run: Run[Any], exchange: Exchange, first: int, last: int) -> int:
        return await send_batch(run, CutOff(exchange, database), first, last)

    async def send_it() -> None:
        async with open_run(plan_file(file, settings).name, settings=settings) as run:
            await upload_media(run)
            await verify_media(run)
            await deliver_campaign(run, Steps(send=cut_off))

    with pytest.raises(LedgerError):
        await send_it()
    left = box.truth()["accepted"]  # a session may say goodbye a moment after it was ended
    assert left < 200
    database.open()
    async with open_lookup("sale", settings=settings):  # it takes over what the run left, and looks nothing up
        now = status_of("sale", settings)["totals"]
        assert (now["accepted"], now["pending"], now["unknown"]) == (left, 200 - left, 0)
    assert counted(await deliver(file, settings)) == {"accepted": 200}
    assert (box.truth()["accepted"], box.truth()["twice"]) == (200, 0)
