"""A chunk is claimed by one, durably, before anything is sent."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from contextlib import ExitStack

import pytest
import sqlalchemy as sa

from posthorn.errors import DeliveryNotFound, LedgerError
from posthorn.ledger import claiming, deliveries, sending, suppression
from posthorn.ledger.claims import Claim
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.ledger.suppression import Watch
from posthorn.models import ChunkState, OptOut, Phone, Scope
from tests.ledger.ledgers import (
    FIRST_PHONE,
    LATEST,
    OWNER,
    UNKNOWN,
    another,
    answer,
    attempts,
    chunk_state,
    claim_one,
    claimed,
    everything_adds_up,
    first_chunk,
    last_chunk,
    planned,
    states,
)
from tests.ledger.processes import owner


def test_a_claim_names_exactly_the_numbers_to_send_to(ledger: Ledger) -> None:
    campaign = planned(ledger, 25)
    claim = claimed(ledger, campaign)
    assert claim == Claim(
        first_chunk(ledger, campaign), 1, OWNER, tuple(range(10)), tuple(FIRST_PHONE + line for line in range(10))
    )
    assert attempts(ledger, claim.chunk_id) == ["sending"]


def test_a_claim_is_seen_by_others_before_the_request_leaves(url: str, ledger: Ledger) -> None:
    claim = claimed(ledger, planned(ledger, 25))
    with another(url) as other:
        assert chunk_state(other, claim.chunk_id) == ChunkState.SENDING
        everything_adds_up(other)


def test_chunks_are_claimed_in_order_and_each_once(ledger: Ledger) -> None:
    campaign = planned(ledger, 50)
    found = [claimed(ledger, campaign).chunk_id for _ in range(5)]
    assert found == list(range(first_chunk(ledger, campaign), last_chunk(ledger, campaign) + 1))
    assert claim_one(ledger, campaign, OWNER, 1, LATEST) is None


def test_several_that_are_claimed_at_once_are_what_one_after_the_other_would_be(ledger: Ledger) -> None:
    campaign = planned(ledger, 45)
    first = claimed(ledger, campaign)
    sending.record(ledger, first, answer(first, UNKNOWN, UNKNOWN, sending.MessageState.PENDING))
    several = claiming.claim(ledger, campaign, OWNER, 1, LATEST, most=3)
    assert [(one.epoch, one.positions) for one in several] == [(2, (9,)), (1, tuple(range(10))), (1, tuple(range(10)))]
    assert [one.phones[0] - FIRST_PHONE for one in several] == [9, 10, 20]
    assert [attempts(ledger, one.chunk_id) for one in several] == [["answered", "sending"], ["sending"], ["sending"]]
    rest = claiming.claim(ledger, campaign, OWNER, 1, LATEST, most=16)
    assert [[phone - FIRST_PHONE for phone in one.phones] for one in rest] == [[*range(30, 40)], [*range(40, 45)]]
    assert claiming.claim(ledger, campaign, OWNER, 1, LATEST, most=16) == []
    everything_adds_up(ledger)


def test_only_chunks_of_the_batch_are_claimed(ledger: Ledger) -> None:
    campaign = planned(ledger, 50)
    assert (
        claim_one(ledger, campaign, OWNER, first_chunk(ledger, campaign) + 2, first_chunk(ledger, campaign) + 2) is not None
    )
    assert claim_one(ledger, campaign, OWNER, first_chunk(ledger, campaign) + 2, first_chunk(ledger, campaign) + 2) is None


def test_nothing_is_claimed_of_a_cancelled_campaign(ledger: Ledger) -> None:
    campaign = planned(ledger, 50)
    in_flight = claimed(ledger, campaign)
    assert deliveries.cancel(ledger, campaign) == 40
    assert claim_one(ledger, campaign, OWNER, 1, LATEST) is None
    sending.release(ledger, in_flight)
    assert claim_one(ledger, campaign, OWNER, 1, LATEST) is None
    assert states(ledger, campaign) == {"pending": 10, "cancelled": 40}
    assert deliveries.cancel(ledger, campaign) == 10
    assert states(ledger, campaign) == {"cancelled": 50}


def test_cancelling_one_campaign_cancels_no_other(ledger: Ledger) -> None:
    campaign = planned(ledger, 50)
    other = planned(ledger, 30, name="other", first=100)
    assert deliveries.cancel(ledger, campaign) == 50
    assert states(ledger, other) == {"pending": 30}
    assert deliveries.get(ledger, "other").cancelled_at is None
    assert claim_one(ledger, other, OWNER, 1, LATEST) is not None


@pytest.mark.parametrize("most", [1, 7])
def test_eight_threads_claim_each_chunk_once(most: int, ledger: Ledger) -> None:
    campaign = planned(ledger, 2_000, chunk_size=5)
    found: list[int] = []

    def work(number: int) -> None:
        while claims := claiming.claim(ledger, campaign, f"{OWNER}-{number}", 1, LATEST, most=most):
            assert len(claims) <= most
            found.extend(one.chunk_id for one in claims)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(first_chunk(ledger, campaign), last_chunk(ledger, campaign) + 1))


def test_four_processes_claim_each_chunk_once(url: str, ledger: Ledger) -> None:
    campaign = planned(ledger, 3_000, chunk_size=5)
    with ExitStack() as stack:
        children = [stack.enter_context(owner(url, "claim-all", "sale"))[0] for _ in range(4)]
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        found = Counter(int(chunk) for child in children if child.stdout for chunk in child.stdout.readline().split())
    assert found == Counter(range(first_chunk(ledger, campaign), last_chunk(ledger, campaign) + 1))


def test_a_claim_of_the_rest_leaves_out_who_is_settled(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    first = claimed(ledger, campaign)
    sending.record(ledger, first, answer(first, UNKNOWN, UNKNOWN, sending.MessageState.PENDING))
    second = claimed(ledger, campaign)
    assert (second.chunk_id, second.epoch, second.positions) == (first.chunk_id, 2, (9,))
    assert second.phones == (first.phones[9],)
    everything_adds_up(ledger)


def test_a_chunk_whose_counters_lie_is_not_sent(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE message SET state = 1"))
    with pytest.raises(LedgerError, match="holds no pending message"):
        claimed(ledger, campaign)
    assert chunk_state(ledger, first_chunk(ledger, campaign)) == ChunkState.PENDING


def test_a_claim_does_not_wait_for_a_chunk_that_another_is_busy_with(postgres_ledger: Ledger) -> None:
    campaign = planned(postgres_ledger, 30)
    with postgres_ledger.write() as connection:
        connection.execute(
            sa.select(tables.chunk.c.id).where(tables.chunk.c.id == first_chunk(postgres_ledger, campaign)).with_for_update()
        )
        assert [
            one.chunk_id - first_chunk(postgres_ledger, campaign)
            for one in claiming.claim(postgres_ledger, campaign, OWNER, 1, LATEST, most=3)
        ] == [1, 2]


def test_nothing_is_claimed_of_a_run_that_was_stopped_until_it_is_started_again(url: str, ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    claimed(ledger, campaign)
    with another(url) as other:
        deliveries.stop_run(other, campaign, because="a helper found the account locked")
    assert claim_one(ledger, campaign, OWNER, 1, LATEST) is None
    assert states(ledger, campaign) == {"pending": 30}
    deliveries.start_run(ledger, campaign, by="ops")
    assert claimed(ledger, campaign).chunk_id == first_chunk(ledger, campaign) + 1


def test_what_may_stop_a_delivery_is_asked_again_while_its_claims_wait(url: str, ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    assert claiming.asked_again(ledger, campaign) == (campaign, 0)
    with another(url) as other:
        suppression.add(other, [OptOut(Phone(FIRST_PHONE), Scope.MARKETING, "reply", "STOP")], by="ops")
        deliveries.stop_run(other, campaign, because="a helper found the account locked")
        deliveries.cancel(other, campaign)
    now, newest = claiming.asked_again(ledger, campaign)
    assert (now.stopped_because, now.cancelled_at is None, newest) == ("a helper found the account locked", False, 1)
    with pytest.raises(DeliveryNotFound, match="sale is gone"):
        claiming.asked_again(ledger, dataclasses.replace(campaign, id=campaign.id + 1))


def test_a_session_that_ends_while_several_are_claimed_claims_none_of_them(
    postgres_ledger: Ledger, postgres_url: str
) -> None:
    campaign = planned(postgres_ledger, 40)

    class Ends(Watch):
        """Asked in the middle of the claim's transaction."""

        def finds(self, connection: sa.Connection, *_: object) -> bool:
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            with another(postgres_url) as other, other.read() as elsewhere:
                elsewhere.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 10000)")
            return False

    with pytest.raises(LedgerError):
        claiming.claim(postgres_ledger, campaign, OWNER, 1, LATEST, Ends(), most=3)
    assert states(postgres_ledger, campaign) == {"pending": 40}
    assert chunk_state(postgres_ledger, first_chunk(postgres_ledger, campaign)) == ChunkState.PENDING
    assert len(claiming.claim(postgres_ledger, campaign, OWNER, 1, LATEST, most=16)) == 4
