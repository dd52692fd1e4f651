"""What is written at the same time shares a commit, and whoever was told that it is durable can rely on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from posthorn.errors import LedgerError
from posthorn.ledger import claiming, sending
from posthorn.ledger.spool import Spool, import_spool, keep_answer
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.ledger.store.writer import LedgerWriter
from posthorn.models import Answer, ChunkState, Receipt
from tests.ledger.ledgers import (
    ACCEPTED,
    LATEST,
    OWNER,
    another,
    answer,
    chunk_state,
    claim_one,
    claimed,
    first_chunk,
    last_chunk,
    planned,
    states,
)


@pytest.fixture
def writer(ledger: Ledger) -> Iterator[LedgerWriter]:
    opened = LedgerWriter(ledger)
    yield opened
    opened.close()


def spoil_the_commit(ledger: Ledger) -> None:
    """Make the commit of the group that this verb is in fail, as a lost connection or a full disk does."""
    with ledger.write() as connection:
        if ledger.is_sqlite:
            connection.exec_driver_sql("ROLLBACK")
        else:
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_claims_asked_for_at_once_are_different_and_durable(url: str, ledger: Ledger, writer: LedgerWriter) -> None:
    campaign = planned(ledger, 100)
    claims = await asyncio.gather(*(writer.do(claim_one, campaign, OWNER, 1, LATEST) for _ in range(12)))
    chunks = [claim.chunk_id for claim in claims if claim]
    assert sorted(chunks) == list(range(first_chunk(ledger, campaign), last_chunk(ledger, campaign) + 1))
    assert claims.count(None) == 2
    with another(url) as other:
        assert {chunk_state(other, chunk) for chunk in chunks} == {ChunkState.SENDING}


async def test_a_verb_that_fails_undoes_only_itself(ledger: Ledger, writer: LedgerWriter) -> None:
    campaign = planned(ledger, 30)
    first, second, third = (claimed(ledger, campaign) for _ in range(3))

    def half_done(ledger: Ledger) -> None:
        with ledger.write() as connection:
            connection.execute(sa.text("UPDATE message SET state = 3"))
            raise InterruptedError

    done = await asyncio.gather(
        writer.do(sending.record, first, answer(first)),
        writer.do(half_done),
        writer.do(sending.record, first, answer(first)),
        writer.do(sending.record, second, answer(second)),
        return_exceptions=True,
    )
    assert [type(one).__name__ for one in done] == ["NoneType", "InterruptedError", "ClaimLost", "NoneType"]
    sending.release(ledger, third)
    assert states(ledger, campaign) == {"accepted": 20, "pending": 10}


async def test_when_the_commit_fails_every_caller_is_told_and_nothing_has_happened(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    campaign = planned(ledger, 30)
    done = await asyncio.gather(
        writer.do(lambda ledger: _in_one_group(ledger, campaign)),
        return_exceptions=True,
    )
    assert isinstance(done[0], LedgerError)
    assert states(ledger, campaign) == {"pending": 30}
    assert chunk_state(ledger, first_chunk(ledger, campaign)) == ChunkState.PENDING
    assert await writer.do(claim_one, campaign, OWNER, 1, LATEST) is not None, "the thread lives on"


def _in_one_group(ledger: Ledger, campaign) -> None:
    with ledger.group():
        assert len(claiming.claim(ledger, campaign, OWNER, 1, LATEST, most=2)) == 2
        spoil_the_commit(ledger)


async def asked_for_at_once(
    writer: LedgerWriter, *verbs: Callable[[], Coroutine[Any, Any, object]]
) -> list[object | BaseException]:
    """What became of verbs that all wait while the ledger's thread is busy with something else."""
    started, go_on = threading.Event(), threading.Event()

    def hold_up(_ledger: Ledger) -> None:
        started.set()
        go_on.wait(10)

    held_up = asyncio.create_task(writer.do(hold_up))
    await asyncio.to_thread(started.wait, 10)
    waiting = asyncio.gather(*(verb() for verb in verbs), return_exceptions=True)
    await asyncio.sleep(0)  # all are asked for now
    go_on.set()
    done = await waiting
    await held_up
    return list(done)


async def test_verbs_share_no_commit_on_postgresql(ledger: Ledger, writer: LedgerWriter) -> None:
    """They wait for chunks. With a claim's chunk in the same transaction, two processes could wait for each other."""
    campaign = planned(ledger, 30)
    done = await asked_for_at_once(
        writer,
        lambda: writer.do(claim_one, campaign, OWNER, 1, LATEST),
        lambda: writer.do(Ledger.refuse_group),
        lambda: writer.do(Ledger.refuse_group),
        lambda: writer.do(claim_one, campaign, OWNER, 1, LATEST),
    )
    expected = "RuntimeError" if ledger.is_sqlite else "NoneType"
    assert [type(one).__name__ for one in done] == ["Claim", expected, expected, "Claim"]


async def test_when_only_the_commit_fails_nobody_is_told_that_it_is_durable(ledger: Ledger, writer: LedgerWriter) -> None:
    """Every verb of the group has ended well by then."""
    campaign = planned(ledger, 30)
    started, go_on = threading.Event(), threading.Event()

    def hold_up(_ledger: Ledger) -> None:
        started.set()
        go_on.wait(10)

    held_up = asyncio.create_task(writer.do(hold_up))  # what follows waits together, and shares a commit on SQLite
    await asyncio.to_thread(started.wait, 10)
    verbs = [writer.do(claim_one, campaign, OWNER, 1, LATEST), writer.do(_refused_at_the_commit)]
    waiting = asyncio.gather(*verbs, return_exceptions=True)
    await asyncio.sleep(0)  # both are asked for now
    go_on.set()
    done = await waiting
    await held_up
    assert isinstance(done[1], LedgerError)
    if ledger.is_sqlite:
        assert isinstance(done[0], LedgerError), "its claim shared that commit"
        assert chunk_state(ledger, first_chunk(ledger, campaign)) == ChunkState.PENDING
    assert count_of_changed_chunks(ledger) == 0


def _refused_at_the_commit(ledger: Ledger) -> None:
    with ledger.write() as connection:
        _have_the_commit_refused(connection)


def _have_the_commit_refused(connection: sa.Connection) -> None:
    """Make a change that only the end of the transaction refuses."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.exec_driver_sql("UPDATE chunk SET campaign_id = -1, epoch = epoch + 100 WHERE state = 0")
    else:
        connection.exec_driver_sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN RAISE EXCEPTION ''refused at the commit''; END'"
        )
        connection.exec_driver_sql(
            "CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON chunk DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        connection.exec_driver_sql("UPDATE chunk SET epoch = epoch + 100")


def count_of_changed_chunks(ledger: Ledger) -> int:
    with ledger.read() as connection:
        count: int = connection.execute(sa.text("SELECT count(*) FROM chunk WHERE epoch >= 100")).scalar_one()
    return count


async def test_an_answer_whose_commit_fails_stays_in_the_spool(
    url: str, ledger: Ledger, writer: LedgerWriter, tmp_path: Path
) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    spool = Spool(tmp_path / "spool", ledger, OWNER)

    def keep(ledger: Ledger) -> None:
        with ledger.group():
            keep_answer(ledger, spool, claim, answer(claim))
            spoil_the_commit(ledger)

    with pytest.raises(LedgerError):
        await writer.do(keep)
    spool.close()
    assert states(ledger, campaign) == {"pending": 10}
    with another(url) as next_run:
        assert import_spool(spool.folder, next_run) == 1
    assert states(ledger, campaign) == {"accepted": 10}


async def test_an_import_whose_commit_fails_is_done_again(ledger: Ledger, writer: LedgerWriter, tmp_path: Path) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    spool = Spool(tmp_path / "spool", ledger, OWNER)
    receipts = [[int(one.state), one.provider_id, one.error] for one in answer(claim).receipts]
    spool.append(claim, {"receipts": receipts, "anomalies": [], "raw": ""})
    spool.close()

    def take_in(ledger: Ledger) -> None:
        with ledger.group():
            assert import_spool(spool.folder, ledger) == 1
            spoil_the_commit(ledger)

    with pytest.raises(LedgerError):
        await writer.do(take_in)
    assert states(ledger, campaign) == {"pending": 10}
    assert await writer.do(lambda ledger: import_spool(spool.folder, ledger)) == 1
    assert states(ledger, campaign) == {"accepted": 10}
    assert list(spool.folder.iterdir()) == []


async def test_what_waits_for_a_commit_is_told_after_it_and_not_at_all_where_it_fails(url: str, ledger: Ledger) -> None:
    planned(ledger, 10)
    told: list[int] = []

    def look() -> None:
        with another(url) as other, other.read() as connection:
            told.append(connection.execute(sa.text("SELECT count(*) FROM chunk WHERE epoch = 7")).scalar_one())

    def change(then: Callable[[sa.Connection], None] = lambda _connection: None) -> None:
        with ledger.write() as connection:
            connection.execute(sa.text("UPDATE chunk SET epoch = 7"))
            ledger.when_durable(look)
            then(connection)

    with pytest.raises(LedgerError):
        change(_have_the_commit_refused)
    assert told == []
    change()
    assert told == [1]


async def test_on_postgresql_a_record_does_not_wait_for_a_claim_but_other_verbs_do(postgres_ledger: Ledger) -> None:
    """Claims share what a run keeps in memory, so there is one at a time."""
    campaign = planned(postgres_ledger, 20)
    claim = claimed(postgres_ledger, campaign)
    writer = LedgerWriter(postgres_ledger)
    started, go_on = threading.Event(), threading.Event()

    def held_up(_ledger: Ledger) -> None:
        started.set()
        assert go_on.wait(20)

    waiting = asyncio.create_task(writer.do(held_up))
    await asyncio.to_thread(started.wait, 20)
    behind = threading.Event()
    second = asyncio.create_task(writer.do(lambda _ledger: behind.set()))
    await asyncio.wait_for(writer.record(sending.record, claim, answer(claim)), 10)
    assert not waiting.done()
    assert not behind.is_set()
    go_on.set()
    await waiting
    await second
    writer.close()
    assert states(postgres_ledger, campaign) == {"accepted": 10, "pending": 10}


async def test_answers_that_name_one_id_at_the_same_time_are_all_recorded(ledger: Ledger, writer: LedgerWriter) -> None:
    """A provider that gives many messages one id: one of them keeps it, the others are unknown."""
    campaign = planned(ledger, 300)
    for one_id in ("a", "b", "c", "d", "e"):
        claims = [await writer.do(claim_one, campaign, OWNER, 1, LATEST) for _ in range(6)]
        recorded = (
            writer.record(sending.record, claim, Answer([Receipt(ACCEPTED, one_id)] * len(claim.positions)))
            for claim in claims
            if claim
        )
        assert await asyncio.gather(*recorded) == [None] * 6
    assert states(ledger, campaign) == {"accepted": 5, "unknown": 295}


async def test_answers_that_name_the_same_ids_in_another_order_are_all_recorded(postgres_ledger: Ledger) -> None:
    """Each binds what the other wants to bind: PostgreSQL undoes one of them, which is recorded after the other."""
    campaign = planned(postgres_ledger, 3_000, chunk_size=500)
    writer = LedgerWriter(postgres_ledger)
    for number in range(3):
        told = [Receipt(ACCEPTED, f"{number}-{place}") for place in range(500)]
        claims = [await writer.do(claim_one, campaign, OWNER, 1, LATEST) for _ in range(2)]
        recorded = (
            writer.record(sending.record, claim, Answer(receipts))
            for claim, receipts in zip(claims, (told, told[::-1]), strict=True)
            if claim
        )
        assert await asyncio.gather(*recorded) == [None] * 2
    writer.close()
    assert states(postgres_ledger, campaign) == {"accepted": 1_500, "unknown": 1_500}


async def test_a_session_that_the_server_ended_meanwhile_costs_no_claim(postgres_ledger: Ledger, postgres_url: str) -> None:
    """Its end is known before the next statement is sent: another session is used."""
    campaign = planned(postgres_ledger, 20)
    writer = LedgerWriter(postgres_ledger)
    assert await writer.do(claim_one, campaign, OWNER, 1, LATEST) is not None
    with another(postgres_url) as other, other.read() as connection:
        ended = connection.execute(
            sa.text(
                "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).scalar_one()
    assert ended > 0
    assert await writer.do(claim_one, campaign, OWNER, 1, LATEST) is not None
    writer.close()


async def test_a_caller_that_gives_up_does_not_undo_what_it_asked_for(ledger: Ledger, writer: LedgerWriter) -> None:
    campaign = planned(ledger, 10)
    started, go_on = threading.Event(), threading.Event()

    def slow_claim(ledger: Ledger) -> None:
        started.set()
        go_on.wait(10)
        claim_one(ledger, campaign, OWNER, 1, LATEST)

    task = asyncio.create_task(writer.do(slow_claim))
    await asyncio.to_thread(started.wait, 10)
    task.cancel()
    await asyncio.wait([task])
    go_on.set()
    assert await writer.do(lambda ledger: chunk_state(ledger, first_chunk(ledger, campaign))) == ChunkState.SENDING


async def test_two_processes_that_need_the_same_chunks_do_not_wait_for_each_other_forever(
    postgres_ledger: Ledger, postgres_url: str
) -> None:
    campaign = planned(postgres_ledger, 20)
    first, second = claimed(postgres_ledger, campaign), claimed(postgres_ledger, campaign)
    writer = LedgerWriter(postgres_ledger)
    chunk = tables.chunk.c.id
    with another(postgres_url) as other, other.write() as connection:
        connection.execute(sa.select(chunk).where(chunk == first.chunk_id).with_for_update())
        done = [
            asyncio.create_task(writer.do(sending.record, claim, answer(claim)))
            for claim in (second, first)  # the other way round than whoever goes by their ids
        ]
        await done[0]
        connection.execute(sa.select(chunk).where(chunk == second.chunk_id).with_for_update())
    await asyncio.gather(*done)
    writer.close()
    assert states(postgres_ledger, campaign) == {"accepted": 20}


async def test_a_group_inside_the_threads_group_is_a_part_of_it(ledger: Ledger, writer: LedgerWriter) -> None:
    campaign = planned(ledger, 30)

    def claim_twice(ledger: Ledger, *, fail: bool) -> None:
        with ledger.group():
            assert claim_one(ledger, campaign, OWNER, 1, LATEST) is not None
            if fail:
                raise KeyError
            assert claim_one(ledger, campaign, OWNER, 1, LATEST) is not None

    await writer.do(claim_twice, fail=False)
    with pytest.raises(KeyError):
        await writer.do(claim_twice, fail=True)
    chunks = range(first_chunk(ledger, campaign), last_chunk(ledger, campaign) + 1)
    assert [chunk_state(ledger, chunk) for chunk in chunks] == [ChunkState.SENDING, ChunkState.SENDING, ChunkState.PENDING]
