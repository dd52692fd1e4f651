"""Between a claim and its request: a process that slept while another took over sends nothing any more."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from posthorn.delivery.planning.plan import plan_file
from posthorn.ledger.store.engine import Ledger
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign
from tests.delivery.takeover import settings_of
from tests.ledger.conftest import postgres_template, postgres_url
from tests.ledger.processes import until

__all__ = ["postgres_template", "postgres_url"]

_ROOT = Path(__file__).parents[3]


@contextmanager
def sleeper(settings: Settings, box: Sandbox, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has claimed one chunk (two, with the one that waits for the place) and not made its request."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.delivery.sending.sleeper", "sale", settings.database_url, box.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def freeze(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGSTOP)
    stat = Path(f"/proc/{child.pid}/stat")
    until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T")


def end_sessions(url: str) -> None:
    """End every session of that database, as a server does that loses sight of its client."""
    database = make_url(url)
    admin = database.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database.database,))


def held_back(settings: Settings) -> list[str]:
    """Why requests did not leave, as their attempts tell."""
    ledger = Ledger(settings.database_url)
    try:
        with ledger.read() as connection:
            query = sa.text("SELECT problem FROM attempt WHERE outcome = 'not_taken'")
            return list(connection.execute(query).scalars())
    finally:
        ledger.close()


async def say(child: subprocess.Popen[str], words: str) -> str:
    """Answer every claim of it until it ends; what it said last."""
    out, _ = await asyncio.to_thread(child.communicate, words * 20, 60)
    return str(out).strip().splitlines()[-1]


async def claimed(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    assert await asyncio.to_thread(child.stdout.readline) == "claimed\n"


@pytest.mark.parametrize("sends_again", [True, False], ids=["sends again what is absent", "parks it"])
async def test_a_frozen_sender_whose_lock_was_lost_sends_nothing_when_it_wakes(
    sends_again: bool, box: Sandbox, postgres_url: str, tmp_path: Path
) -> None:
    settings = settings_of(postgres_url, box.url, tmp_path)
    file = write_campaign(tmp_path, numbers(300), media="[]", resend_unconfirmed=str(sends_again).lower())
    plan_file(file, settings)
    with sleeper(settings, box, tmp_path) as child:
        await claimed(child)
        freeze(child)
        end_sessions(settings.database_url)
        taken_over = await deliver(file, settings)
        assert counted(taken_over) == ({"accepted": 300} if sends_again else {"accepted": 250, "unknown": 50})
        child.send_signal(signal.SIGCONT)
        assert "was lost while a request waited to leave" in await say(child, "\n")
    truth = box.truth()
    assert (truth["accepted"], truth["twice"]) == (300 if sends_again else 250, 0)
    assert status_of("sale", settings)["totals"] == taken_over["totals"]
    after = status_of("sale", settings)
    kept = ("state", "because")
    assert [after[key] for key in kept] == [taken_over[key] for key in kept], "who was overtaken does not speak for the run"


async def test_a_sender_whose_session_ends_before_its_request_holds_it_back(
    box: Sandbox, postgres_url: str, tmp_path: Path
) -> None:
    """Not frozen at all: the claim is young, but the lock's session has said goodbye. What was held back is pending."""
    settings = settings_of(postgres_url, box.url, tmp_path)
    plan_file(write_campaign(tmp_path, numbers(300), media="[]"), settings)
    with sleeper(settings, box, tmp_path) as child:
        await claimed(child)
        end_sessions(settings.database_url)
        told = await say(child, "\n")
    assert "the lock of sale" in told, "its claim may tell it first, or the one that is made beside it"
    assert any("was lost while a request waited to leave" in problem for problem in held_back(settings))
    assert box.truth()["send_requests"] == 0
    assert counted(status_of("sale", settings)) == {"pending": 300}
    assert counted(await deliver(tmp_path / "sale.toml", settings)) == {"accepted": 300}
    assert box.truth()["twice"] == 0


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_a_sender_that_slept_and_still_has_its_lock_goes_on(
    database: str, box: Sandbox, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Its claim is old, so it is proven anew."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}" if database == "sqlite" else request.getfixturevalue("postgres_url")
    settings = settings_of(url, box.url, tmp_path)
    plan_file(write_campaign(tmp_path, numbers(100), media="[]"), settings)
    with sleeper(settings, box, tmp_path) as child:
        await claimed(child)
        freeze(child)
        await asyncio.sleep(2.5)  # older than a proof may be: what the test is about
        child.send_signal(signal.SIGCONT)
        assert await say(child, "\n") == "finished"
    assert (box.truth()["accepted"], box.truth()["twice"]) == (100, 0)


async def test_a_frozen_sender_whose_claim_was_given_away_sends_nothing_when_it_wakes(box: Sandbox, tmp_path: Path) -> None:
    """Its lock's file was deleted, so another process runs the campaign: SQLite has no session to lose, but claims end."""
    settings = settings_of(f"sqlite:///{tmp_path / 'ledger.db'}", box.url, tmp_path)
    file = write_campaign(tmp_path, numbers(300), media="[]", resend_unconfirmed="true")
    plan_file(file, settings)
    with sleeper(settings, box, tmp_path) as child:
        await claimed(child)
        freeze(child)
        for lock in (tmp_path / "ledger.db.locks").iterdir():
            lock.unlink()
        assert counted(await deliver(file, settings)) == {"accepted": 300}
        await asyncio.sleep(2.5)
        child.send_signal(signal.SIGCONT)
        assert "waited to leave" in await say(child, "\n")
    assert (box.truth()["accepted"], box.truth()["twice"]) == (300, 0)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_what_a_killed_sender_had_only_claimed_is_sent_by_the_next_one(
    database: str, box: Sandbox, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The request that it was at is unknown. The claim that waited behind it surely never left: nobody is asked about it."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}" if database == "sqlite" else request.getfixturevalue("postgres_url")
    settings = settings_of(url, box.url, tmp_path)
    file = write_campaign(tmp_path, numbers(300), media="[]")
    plan_file(file, settings)
    with sleeper(settings, box, tmp_path) as child:
        await claimed(child)
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        await claimed(child)
        await asyncio.to_thread(until, lambda: sending_messages(settings) == 100)
        child.kill()
        child.wait()
    taken_over = await deliver(file, settings)
    assert counted(taken_over) == {"accepted": 250, "unknown": 50}
    assert (box.truth()["accepted"], box.truth()["twice"]) == (250, 0)


def sending_messages(settings: Settings) -> int:
    """How many messages are claimed, and not answered yet."""
    found: int = counted(status_of("sale", settings)).get("sending", 0)
    return found
