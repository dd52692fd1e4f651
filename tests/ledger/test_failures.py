"""A ledger that is away, locked, read-only or full: nothing is sent, nothing is lost, and the error says which ledger."""

from __future__ import annotations

import socket
import sqlite3
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from posthorn.errors import LedgerError
from posthorn.ledger import deliveries, planning, sending
from posthorn.ledger.spool import Spool, import_spool, keep_answer
from posthorn.ledger.store.engine import Ledger, execute, ledger_place, pipelined, shown_url
from posthorn.ledger.store.failures import Conflict
from posthorn.models import Answer, ChunkState
from tests.ledger.ledgers import (
    LATEST,
    OWNER,
    Listed,
    another,
    answer,
    chunk_state,
    claim_one,
    claimed,
    everything_adds_up,
    first_chunk,
    last_chunk,
    new_campaign,
    planned,
    states,
)


@contextmanager
def full(ledger: Ledger) -> Iterator[None]:
    """The disk is full: SQLite may not take another page. (One thread uses one connection, so the limit holds.)"""
    with ledger.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        with ledger.read() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1073741823")


@contextmanager
def read_only(ledger: Ledger) -> Iterator[None]:
    """SQLite answers every write as it does on a file system that is mounted read-only."""
    with ledger.read() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    try:
        yield
    finally:
        with ledger.read() as connection:
            connection.exec_driver_sql("PRAGMA query_only = OFF")


@contextmanager
def locked(ledger: Ledger) -> Iterator[None]:
    """Another program holds the file's write lock for longer than we wait (which is 30 s, here 0.2 s)."""
    with ledger.read() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 200")
    database = make_url(ledger._url).database
    assert database is not None
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.fixture
def sqlite_ledger(sqlite_url: str) -> Iterator[Ledger]:
    opened = Ledger(sqlite_url)
    yield opened
    opened.close()


def claims_until_it_fails(ledger: Ledger, campaign: deliveries.Delivery) -> list[int]:
    """The chunks that were claimed before the ledger refused one."""
    found: list[int] = []

    def claim_all() -> None:
        while (claim := claim_one(ledger, campaign, OWNER * 4, 1, LATEST)) is not None:
            found.append(claim.chunk_id)

    with pytest.raises(LedgerError):
        claim_all()
    return found


TROUBLES: dict[str, Callable[[Ledger], object]] = {"full": full, "read-only": read_only, "locked": locked}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_claim_that_cannot_be_written_is_no_claim(trouble: str, sqlite_ledger: Ledger) -> None:
    campaign = planned(sqlite_ledger, 3_000, chunk_size=5)
    with TROUBLES[trouble](sqlite_ledger):
        found = claims_until_it_fails(sqlite_ledger, campaign)
    everything_adds_up(sqlite_ledger)
    sending_now = [
        chunk
        for chunk in range(first_chunk(sqlite_ledger, campaign), last_chunk(sqlite_ledger, campaign) + 1)
        if chunk_state(sqlite_ledger, chunk) == ChunkState.SENDING
    ]
    assert sending_now == found, "what was refused is still pending, what was granted is durable"
    assert claimed(sqlite_ledger, campaign).chunk_id not in found, "and it goes on once there is room"


@pytest.mark.parametrize("trouble", TROUBLES)
def test_an_answer_that_cannot_be_recorded_is_kept_for_the_next_start(
    trouble: str, sqlite_ledger: Ledger, sqlite_url: str, tmp_path: Path
) -> None:
    campaign = planned(sqlite_ledger, 10)
    claim = claimed(sqlite_ledger, campaign)
    spool = Spool(tmp_path / "spool", sqlite_ledger, OWNER)
    given = answer(claim)
    noted = Answer(given.receipts, anomalies=["one is mentioned twice"], raw=b"x" * 60_000)
    with TROUBLES[trouble](sqlite_ledger), pytest.raises(LedgerError):
        keep_answer(sqlite_ledger, spool, claim, noted)
    spool.close()
    assert states(sqlite_ledger, campaign) == {"pending": 10}
    sqlite_ledger.close()
    with another(sqlite_url) as next_start:
        assert import_spool(spool.folder, next_start) == 1
        assert sending.abandon_dead(next_start, campaign) == 0
        assert states(next_start, campaign) == {"accepted": 10}


def test_a_disk_that_fills_up_while_several_verbs_share_a_commit_undoes_all_of_them(sqlite_ledger: Ledger) -> None:
    campaign = planned(sqlite_ledger, 20)
    claim = claimed(sqlite_ledger, campaign)

    def all_at_once() -> None:
        with sqlite_ledger.group():
            assert claim_one(sqlite_ledger, campaign, OWNER, 1, LATEST) is not None
            with pytest.raises(LedgerError):
                sending.record(sqlite_ledger, claim, Answer(answer(claim).receipts, anomalies=["-"], raw=b"x" * 60_000))
            with pytest.raises(LedgerError, match="rolled back"):
                claim_one(sqlite_ledger, campaign, OWNER, 1, LATEST)

    with full(sqlite_ledger), pytest.raises(LedgerError):
        all_at_once()
    assert chunk_state(sqlite_ledger, last_chunk(sqlite_ledger, campaign)) == ChunkState.PENDING
    assert states(sqlite_ledger, campaign) == {"pending": 20}


def test_a_full_disk_ends_a_plan_without_a_campaign(sqlite_ledger: Ledger) -> None:
    with full(sqlite_ledger), pytest.raises(LedgerError, match="full"):
        planning.plan(sqlite_ledger, new_campaign(), Listed(5_000))
    assert deliveries.find(sqlite_ledger, "sale") is None
    assert states(sqlite_ledger, planned(sqlite_ledger, 10)) == {"pending": 10}


def test_a_writer_waits_for_another_program_to_let_go(sqlite_ledger: Ledger) -> None:
    campaign = planned(sqlite_ledger, 10)
    database = make_url(sqlite_ledger._url).database
    assert database is not None
    other = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    letting_go = threading.Timer(0.5, other.execute, ["ROLLBACK"])
    letting_go.start()
    assert claimed(sqlite_ledger, campaign).epoch == 1
    letting_go.join()
    other.close()


UNOPENABLE = {
    "a folder stands in its place": lambda path: path.mkdir(),
    "it is not a database": lambda path: path.write_bytes(b"certainly no database" * 1000),
    "its folder is a file": lambda path: path.parent.rmdir() or path.parent.write_text(""),
}


@pytest.mark.parametrize("case", UNOPENABLE)
def test_a_file_that_is_no_ledger_is_refused_by_name(case: str, tmp_path: Path) -> None:
    path = tmp_path / "state" / "ledger.db"
    path.parent.mkdir()
    UNOPENABLE[case](path)
    with pytest.raises(LedgerError, match=r"ledger\.db"):
        Ledger(f"sqlite:///{path}")


def test_a_server_that_is_away_is_named_without_the_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(LedgerError) as caught:
        Ledger(f"postgresql+psycopg://posthorn:s3cret@127.0.0.1:{port}/ledger")
    said = str(caught.value)
    assert f"127.0.0.1:{port}/ledger" in said
    assert "s3cret" not in said + str(caught.value.__cause__)


def test_a_server_that_ends_our_session_in_a_transaction_undoes_it_and_the_next_one_works(postgres_ledger: Ledger) -> None:
    campaign = planned(postgres_ledger, 10)

    def cut_off_while_claiming() -> None:
        with postgres_ledger.write() as connection:
            connection.execute(sa.text("UPDATE chunk SET state = 1"))
            connection.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(LedgerError, match="posthorn_test"):
        cut_off_while_claiming()
    assert states(postgres_ledger, campaign) == {"pending": 10}
    assert claimed(postgres_ledger, campaign).epoch == 1


def test_a_session_that_ends_in_a_pipeline_is_given_up_and_the_reason_is_said(
    postgres_ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    campaign = planned(postgres_ledger, 10)

    def cut_off() -> None:
        with postgres_ledger.write() as connection, pipelined(connection):
            execute(connection, "UPDATE chunk SET state = 1", {})
            execute(connection, "SELECT pg_terminate_backend(pg_backend_pid())", {})
            execute(connection, "UPDATE chunk SET state = 2", {})

    with pytest.raises(LedgerError, match=r"terminating connection|server closed the connection"):
        cut_off()
    assert caplog.records == []
    assert states(postgres_ledger, campaign) == {"pending": 10}
    assert claimed(postgres_ledger, campaign).epoch == 1


def test_what_fails_in_a_pipeline_is_said_once(postgres_ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    """Its first error, and not that what followed was skipped; the session goes on."""
    campaign = planned(postgres_ledger, 10)

    def fail() -> None:
        with postgres_ledger.write() as connection, pipelined(connection):
            execute(connection, "UPDATE chunk SET state = 1", {})
            execute(connection, "INSERT INTO identity SELECT * FROM identity", {})
            for _ in range(1_000):  # the error arrives meanwhile
                execute(connection, "UPDATE chunk SET state = 2", {})

    for _ in range(8):  # psycopg prepares what it meets often
        with pytest.raises(Conflict):
            fail()
    assert caplog.records == []
    assert states(postgres_ledger, campaign) == {"pending": 10}
    assert claimed(postgres_ledger, campaign).epoch == 1


def test_a_session_that_is_closed_in_the_pool_is_replaced(postgres_ledger: Ledger) -> None:
    with postgres_ledger.read() as connection:
        driver = connection.connection.driver_connection
    assert driver is not None
    driver.close()
    assert claimed(postgres_ledger, planned(postgres_ledger, 10)).epoch == 1


def test_a_transaction_that_postgresql_has_given_up_is_not_taken_for_committed(postgres_ledger: Ledger) -> None:
    """After an error it answers COMMIT with a rollback, and its driver says nothing of it."""
    campaign = planned(postgres_ledger, 10)

    def give_up() -> None:
        with postgres_ledger.write() as connection:
            connection.execute(sa.text("UPDATE chunk SET state = 1"))
            with pytest.raises(sa.exc.DBAPIError):
                connection.execute(sa.text("SELECT 1 / 0"))

    with pytest.raises(LedgerError, match="rolled back"):
        give_up()
    assert states(postgres_ledger, campaign) == {"pending": 10}


def test_no_error_quotes_a_number(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)

    def bind_twice() -> None:
        with ledger.write() as connection:
            connection.execute(
                sa.text("UPDATE message SET phone = (SELECT min(phone) FROM message WHERE campaign_id = :id)"),
                {"id": campaign.id},
            )

    with pytest.raises(LedgerError) as caught:
        bind_twice()
    assert "4850000" not in f"{caught.value} {caught.value.__cause__}"
    assert caught.value.__suppress_context__


def test_a_commit_on_sqlite_is_on_the_disk_when_it_returns(sqlite_ledger: Ledger) -> None:
    """No test can cut the power; SQLite's own word for it can be asked."""
    with sqlite_ledger.read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2, "FULL"
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"


def test_a_transaction_that_reads_before_it_writes_keeps_other_writers_waiting(sqlite_ledger: Ledger) -> None:
    """A plain BEGIN would let the other write in between, and then refuse ours at once."""
    campaign = planned(sqlite_ledger, 10)
    with another(str(sqlite_ledger._url)) as other:
        theirs = threading.Thread(target=claimed, args=(other, campaign))
        with sqlite_ledger.write() as connection:
            connection.execute(sa.text("SELECT count(*) FROM chunk")).scalar_one()
            theirs.start()
            theirs.join(0.5)  # with a plain BEGIN it has written by then
            connection.execute(sa.text("UPDATE chunk SET epoch = 7"))
        theirs.join()
    with sqlite_ledger.read() as connection:
        assert connection.execute(sa.text("SELECT epoch FROM chunk")).scalar_one() == 8


def test_no_error_quotes_a_number_in_the_databases_first_line(sqlite_ledger: Ledger) -> None:
    with sqlite_ledger.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON campaign BEGIN SELECT RAISE(ABORT, 'no place for +48500600700'); END"
        )
    with pytest.raises(LedgerError, match="no place for") as caught:
        planned(sqlite_ledger)
    assert "500600700" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://ops:s3cret@127.0.0.1:9/ledger",
        "postgresql+psycopg://ops@127.0.0.1:9/ledger?password=s3cret",
        "postgresql+psycopg://127.0.0.1:9/ledger?user=ops&password=s3cret&sslpassword=s3cret",
    ],
)
def test_a_password_is_shown_nowhere_in_whatever_place_it_is_given(url: str) -> None:
    assert "s3cret" not in shown_url(url)
    assert "s3cret" not in ledger_place(url)
    with pytest.raises(LedgerError) as caught:
        Ledger(url)
    told = "".join(traceback.format_exception(caught.value))
    assert "127.0.0.1:9" in told
    assert "s3cret" not in told
