"""Locks: one holder among all processes, freed by death and by nothing else."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa

from posthorn.errors import LedgerError
from posthorn.ledger.store.engine import Ledger
from tests.ledger.ledgers import another
from tests.ledger.processes import owner, until

KEY = "campaign-sale"


def test_a_lock_is_held_by_one_within_a_process(url: str, ledger: Ledger) -> None:
    assert ledger.locks.acquire(KEY)
    assert not ledger.locks.acquire(KEY)
    assert not ledger.locks.is_free(KEY)
    assert ledger.locks.still_held(KEY)
    with another(url) as other:
        assert not other.locks.acquire(KEY)
        assert not other.locks.is_free(KEY)
        assert not other.locks.still_held(KEY)
        assert other.locks.acquire("another"), "keys do not stand in each other's way"
    ledger.locks.release(KEY)
    assert ledger.locks.is_free(KEY)
    assert ledger.locks.acquire(KEY)


def test_giving_back_what_is_not_held_does_no_harm(url: str, ledger: Ledger) -> None:
    with another(url) as other:
        assert other.locks.acquire(KEY)
        ledger.locks.release(KEY)
        assert not ledger.locks.is_free(KEY)


def test_closing_the_ledger_gives_back_every_lock(url: str, ledger: Ledger) -> None:
    with another(url) as other:
        other.locks.acquire(KEY)
    assert ledger.locks.acquire(KEY)


def test_a_lock_is_free_after_its_holders_death(url: str, ledger: Ledger) -> None:
    with owner(url, "hold", KEY) as (child, said):
        assert said == "held"
        assert not ledger.locks.acquire(KEY)
        child.kill()
        until(lambda: ledger.locks.acquire(KEY))


def test_a_stopped_process_keeps_its_lock(url: str, ledger: Ledger) -> None:
    with owner(url, "hold", KEY) as (child, _):
        os.kill(child.pid, signal.SIGSTOP)
        with pytest.raises(AssertionError):
            until(lambda: ledger.locks.acquire(KEY), most=0.5)
        child.kill()  # SIGKILL ends the stopped, too
        until(lambda: ledger.locks.acquire(KEY))


def test_of_two_processes_one_is_refused(url: str, ledger: Ledger) -> None:
    with owner(url, "hold", KEY) as (_, first), owner(url, "hold", KEY) as (_, second):
        assert (first, second) == ("held", "refused")


def test_waiting_for_a_lock_gets_it_when_it_is_given_back(url: str, ledger: Ledger) -> None:
    with another(url) as other:
        with other.locks.hold(KEY) as held, ledger.locks.hold(KEY, wait_seconds=0.1) as refused:
            assert (held, refused) == (True, False)
        with ledger.locks.hold(KEY, wait_seconds=0.1) as got:
            assert got
    assert ledger.locks.is_free(KEY)


def test_asking_whether_a_lock_is_free_never_gets_in_the_way(url: str, ledger: Ledger) -> None:
    with another(url) as other:
        for _ in range(50):
            assert other.locks.is_free(KEY)
            assert ledger.locks.acquire(KEY)
            ledger.locks.release(KEY)


def test_lock_files_are_for_their_owner_only(sqlite_url: str, tmp_path: Path) -> None:
    with another(sqlite_url) as ledger:
        ledger.locks.acquire(KEY)
        folder = tmp_path / "state" / "ledger.db.locks"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_two_names_of_one_ledger_have_the_same_locks(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(sqlite_url.removeprefix("sqlite:///"))
    with another(sqlite_url) as ledger, another(f"sqlite:///{tmp_path / 'link.db'}") as other:
        assert ledger.locks.acquire(KEY)
        assert not other.locks.acquire(KEY)


def test_a_forked_child_does_not_keep_a_lock_that_was_given_back(sqlite_url: str) -> None:
    with another(sqlite_url) as ledger, another(sqlite_url) as other:
        ledger.locks.acquire(KEY)
        read, write = os.pipe()
        if (child := os.fork()) == 0:
            os.close(write)
            os.read(read, 1)  # until the parent closes its end
            os._exit(0)
        os.close(read)
        ledger.locks.release(KEY)
        assert other.locks.acquire(KEY)
        os.close(write)
        os.waitpid(child, 0)


def test_a_lock_is_lost_with_its_database_session_and_may_be_taken_anew(postgres_ledger: Ledger, postgres_url: str) -> None:
    assert postgres_ledger.locks.acquire(KEY)
    with another(postgres_url) as other:
        _end_sessions(other)
        until(lambda: other.locks.acquire(KEY))
        assert not postgres_ledger.locks.still_held(KEY)
        assert not postgres_ledger.locks.acquire(KEY), "the other has it now"
        other.locks.release(KEY)
        assert postgres_ledger.locks.acquire(KEY)
        assert postgres_ledger.locks.still_held(KEY)


# Whoever is the first to meet the broken session must not leave it behind as if the locks were still held.
FIRST_TO_NOTICE = {
    "is_free": lambda locks: locks.is_free("another"),
    "acquire": lambda locks: locks.acquire("another"),
}


@pytest.mark.parametrize("verb", FIRST_TO_NOTICE)
def test_a_broken_session_is_an_error_of_the_ledger_and_holds_nothing(
    verb: str, postgres_ledger: Ledger, postgres_url: str
) -> None:
    postgres_ledger.locks.acquire(KEY)
    with another(postgres_url) as other:
        _end_sessions(other)
        with pytest.raises(LedgerError):
            FIRST_TO_NOTICE[verb](postgres_ledger.locks)
        assert not postgres_ledger.locks.still_held(KEY)
        postgres_ledger.locks.release(KEY)
        assert other.locks.is_free(KEY)


def _end_sessions(ledger: Ledger) -> None:
    """End every other session of the database, as a restart of the server does."""
    with ledger.write() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def test_a_lock_that_cannot_be_opened_is_an_error_of_the_ledger(sqlite_url: str, tmp_path: Path) -> None:
    with another(sqlite_url) as ledger, pytest.raises(LedgerError, match="cannot be opened"):
        ledger.locks.acquire("x" * 300)  # longer than a file's name may be


def test_a_lock_of_another_database_on_the_server_is_no_lock_of_ours(
    postgres_ledger: Ledger, empty_postgres_url: str
) -> None:
    with another(empty_postgres_url) as other:
        assert other.locks.acquire(KEY)
        assert postgres_ledger.locks.is_free(KEY)
        assert postgres_ledger.locks.acquire(KEY)


def test_both_ends_of_a_session_notice_within_a_minute_that_the_other_is_gone(postgres_ledger: Ledger) -> None:
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
    with postgres_ledger.read() as connection:
        idle, interval, count, unanswered = (int(connection.execute(sa.text(f"SHOW {name}")).scalar_one()) for name in names)
        assert 0 < idle + interval * count < 60
        assert 0 < unanswered < 60_000
        driver = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as ours:
            seconds = [
                ours.getsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_KEEP{name}")) for name in ("IDLE", "INTVL", "CNT")
            ]
            assert 0 < seconds[0] + seconds[1] * seconds[2] < 60
            assert 0 < ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) < 60_000
