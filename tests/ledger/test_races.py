"""Two at once on PostgreSQL, where writers overlap: each test holds one transaction open while another goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from posthorn.ledger import claims, deliveries, media, reconciling, reporting, sending
from posthorn.ledger.claims import ClaimLost
from posthorn.ledger.reconciling import Settlement
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MessageState, Report
from tests.ledger.ledgers import (
    ACCEPTED,
    LATEST,
    OWNER,
    PENDING,
    UNKNOWN,
    ZOMBIE,
    answer,
    claim_one,
    claimed,
    everything_adds_up,
    first_chunk,
    ids,
    planned,
    states,
)
from tests.ledger.processes import until


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[list[BaseException]]:
    """Do ``work`` in a thread while the block goes on; it has ended after the block, and what it raised is in the list."""
    problems: list[BaseException] = []

    def work_or_note() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - for the test to look at
            problems.append(error)

    thread = threading.Thread(target=work_or_note)
    thread.start()
    yield problems
    thread.join(30)
    assert not thread.is_alive(), "the two wait for each other"


def wait_until_it_waits(ledger: Ledger) -> None:
    """Until some session of this database waits for a lock."""

    def waits() -> bool:
        with ledger.read() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            return bool(connection.execute(sa.text(query)).scalar())

    until(waits)


def test_a_claim_and_a_cancellation_at_once_leave_no_number_both_sent_to_and_cancelled(postgres_ledger: Ledger) -> None:
    """The claim reads its numbers while the cancellation wants to take them away."""
    campaign = planned(postgres_ledger, 10)
    with postgres_ledger.write() as connection:  # a claim, stopped before its commit
        connection.execute(sa.text("UPDATE chunk SET state = 1, epoch = 1, owner = :owner"), {"owner": OWNER})
        connection.execute(
            sa.text(
                "INSERT INTO attempt (chunk_id, epoch, owner, started_at, outcome) VALUES (:id, 1, :owner, 1, 'sending')"
            ),
            {"id": first_chunk(postgres_ledger, campaign), "owner": OWNER},
        )
        context = meanwhile(lambda: deliveries.cancel(postgres_ledger, campaign))
        problems = context.__enter__()
        wait_until_it_waits(postgres_ledger)
    context.__exit__(None, None, None)
    assert problems == []
    claim = claims.Claim(first_chunk(postgres_ledger, campaign), 1, OWNER, tuple(range(10)), ())
    assert states(postgres_ledger, campaign) == {"pending": 10}, "they are in flight"
    sending.record(postgres_ledger, claim, answer(claim))
    assert states(postgres_ledger, campaign) == {"accepted": 10}


def test_reports_and_a_record_of_the_same_chunk_at_once_are_both_counted(postgres_ledger: Ledger) -> None:
    campaign = planned(postgres_ledger, 10)
    first = claimed(postgres_ledger, campaign)
    sending.record(postgres_ledger, first, answer(first, PENDING))
    second = claimed(postgres_ledger, campaign)
    news = [Report(provider_id, MessageState.DELIVERED, "delivered") for provider_id in ids(first)[:9]]
    with postgres_ledger.write() as connection:  # holds the chunk, so that both queue behind it
        connection.execute(sa.text("UPDATE chunk SET reported_at = 1"))
        record = meanwhile(lambda: sending.record(postgres_ledger, second, answer(second)))
        problems = record.__enter__()
        wait_until_it_waits(postgres_ledger)
        reports = meanwhile(lambda: reporting.apply_reports(postgres_ledger, news))
        problems_too = reports.__enter__()
        time.sleep(0.2)  # the second waits behind the first, which cannot be told from waiting once
    reports.__exit__(None, None, None)
    record.__exit__(None, None, None)
    assert (problems, problems_too) == ([], [])
    assert states(postgres_ledger, campaign) == {"accepted": 1, "delivered": 9}


def test_a_release_and_an_abandonment_at_once_leave_the_chunk_whole(postgres_ledger: Ledger) -> None:
    """A zombie whose lock was lost releases its claim just when another gives its chunk up."""
    campaign = planned(postgres_ledger, 10)
    claim = claimed(postgres_ledger, campaign, ZOMBIE)
    with postgres_ledger.write() as connection:
        connection.execute(sa.text("UPDATE chunk SET reported_at = 1"))
        release = meanwhile(lambda: sending.release(postgres_ledger, claim))
        problems = release.__enter__()
        wait_until_it_waits(postgres_ledger)
        abandon = meanwhile(lambda: sending.abandon_dead(postgres_ledger, campaign))
        problems_too = abandon.__enter__()
        time.sleep(0.2)
    abandon.__exit__(None, None, None)
    release.__exit__(None, None, None)
    assert problems_too == []
    expected = {"unknown": 10} if problems else {"pending": 10}
    assert [type(problem) for problem in problems] in ([], [ClaimLost])
    assert states(postgres_ledger, campaign) == expected
    if not problems:
        assert claimed(postgres_ledger, campaign).positions == tuple(range(10))


def test_many_verbs_at_once_on_the_same_chunks_never_deadlock_and_always_add_up(postgres_ledger: Ledger) -> None:
    campaign = planned(postgres_ledger, 400, chunk_size=20)
    claims = [claimed(postgres_ledger, campaign, ZOMBIE) for _ in range(20)]
    everything = [provider_id for claim in claims for provider_id in ids(claim)]

    def record() -> None:
        for claim in reversed(claims):
            try:
                sending.record(postgres_ledger, claim, answer(claim, UNKNOWN, UNKNOWN, PENDING))
            except ClaimLost:
                continue

    def report() -> None:
        for _ in range(10):
            news = [Report(provider_id, MessageState.DELIVERED, "delivered") for provider_id in everything[::3]]
            reporting.apply_reports(postgres_ledger, news)

    def settle() -> None:
        for _ in range(10):
            waiting = reconciling.unconfirmed(postgres_ledger, campaign, 50)
            found = [
                Settlement(one, "found", ACCEPTED, "-", f"found-{one.chunk_id}-{one.position}")
                for one in reversed(waiting[::2])
            ]
            reconciling.settle(postgres_ledger, campaign, found, by="test")

    def claim_again() -> None:
        for _ in range(20):
            claim = claim_one(postgres_ledger, campaign, OWNER, 1, LATEST)
            if claim is not None:
                sending.record(postgres_ledger, claim, answer(claim))

    with (
        meanwhile(record) as one,
        meanwhile(report) as two,
        meanwhile(settle) as three,
        meanwhile(lambda: sending.abandon_dead(postgres_ledger, campaign)) as four,
        meanwhile(claim_again) as five,
    ):
        pass
    assert [*one, *two, *three, *four, *five] == []
    everything_adds_up(postgres_ledger)


def test_two_campaigns_that_upload_the_same_file_at_once_both_keep_an_id(postgres_ledger: Ledger) -> None:
    monday, friday = planned(postgres_ledger, 10, name="monday"), planned(postgres_ledger, 10, name="friday", first=100)
    (item,) = media.of(postgres_ledger, monday)
    values = {"gateway": monday.gateway, "fingerprint": item.fingerprint, "file_id": "file-1", "stored_at": 1.0}
    with postgres_ledger.write() as connection:
        connection.execute(tables.stored_file.insert().values(values))
        other = meanwhile(lambda: media.keep_file_id(postgres_ledger, friday, item, "file-2"))
        problems = other.__enter__()
        wait_until_it_waits(postgres_ledger)
    other.__exit__(None, None, None)
    assert problems == []
    assert media.known_file_id(postgres_ledger, "serwersms", item.fingerprint) == "file-2"
