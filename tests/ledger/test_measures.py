"""What is measured of the ledger: open and recent campaigns, requests counted once, nothing of tests."""

from __future__ import annotations

import time

import sqlalchemy as sa

from posthorn.ledger import claims, deliveries, sending, totals
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.measures import BUCKETS_SECONDS, SHOWN_DAYS, RequestCount, standings
from posthorn.ledger.store.engine import Ledger
from tests.ledger.ledgers import OWNER, REJECTED, UNKNOWN, answer, claimed, planned

LONG_AGO = time.time() - (SHOWN_DAYS + 1) * 86_400


def tell(ledger: Ledger, statement: str, **values: object) -> None:
    with ledger.write() as connection:
        connection.execute(sa.text(statement), values)


def finished(ledger: Ledger, name: str, first: int, *said: object) -> Delivery:
    """A campaign of one chunk that was run and is over."""
    campaign = planned(ledger, 10, name=name, first=first)
    started = deliveries.start_run(ledger, campaign, by="the test")
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, answer(claim, *said))
    deliveries.end_run(ledger, campaign, started, stopped_because=None)
    return campaign


def test_the_states_are_those_of_the_status_and_the_age_is_that_of_the_oldest_unknown(ledger: Ledger) -> None:
    campaign = finished(ledger, "sale", 0, REJECTED, UNKNOWN)
    (one,) = standings(ledger)
    assert one.states == {name: count for name, count in totals.totals(ledger, campaign).items() if name != "input"}
    assert (one.is_balanced, one.is_running, one.is_stopped) == (True, False, False)
    assert one.oldest_unknown_at is not None
    assert abs(one.oldest_unknown_at - time.time()) < 60
    tell(ledger, "UPDATE campaign SET input = input + 1")
    assert not standings(ledger)[0].is_balanced


def test_one_that_began_and_that_nobody_runs_is_stopped(ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    assert not standings(ledger)[0].is_stopped, "it has not begun"
    deliveries.start_run(ledger, campaign, by="the test")
    assert ledger.locks.acquire(campaign.lock_key)
    claimed(ledger, campaign)
    assert [(one.is_running, one.is_stopped) for one in standings(ledger)] == [(True, False)]
    ledger.locks.release(campaign.lock_key)
    assert [(one.is_running, one.is_stopped) for one in standings(ledger)] == [(False, True)], "killed in the middle"
    assert ledger.locks.acquire(claims.owner_key(OWNER))
    assert [(one.is_running, one.is_stopped) for one in standings(ledger)] == [(True, False)], "a helper goes on"
    ledger.locks.release(claims.owner_key(OWNER))
    deliveries.cancel(ledger, campaign)
    assert [one.is_stopped for one in standings(ledger)] == [False]


def test_one_that_waits_for_its_moment_is_not_stopped_unless_nobody_went_on_at_it(ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    started = deliveries.start_run(ledger, campaign, by="the test")
    later, past = time.time() + 3600, time.time() - 3600
    for at, is_stopped in ((later, False), (past, True)):
        deliveries.end_run(ledger, campaign, started, goes_on_for="hours", goes_on_at=at)
        assert [(one.is_stopped, one.goes_on_at) for one in standings(ledger)] == [(is_stopped, at)]
    deliveries.end_run(ledger, campaign, started, stopped_because="no credit")
    assert [(one.is_stopped, one.goes_on_at) for one in standings(ledger)] == [(True, None)]


def test_a_delivery_that_is_only_looked_up_does_not_run(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    ledger.locks.acquire(campaign.lookup_key)
    ledger.locks.acquire(campaign.lock_key)
    assert [one.is_running for one in standings(ledger)] == [False]
    ledger.locks.release(campaign.lookup_key)
    assert [one.is_running for one in standings(ledger)] == [True]


def test_what_is_long_over_is_not_shown_unless_something_is_open(ledger: Ledger) -> None:
    for at, (name, said) in enumerate({"old": (), "old and unknown": (UNKNOWN,), "new": ()}.items()):
        finished(ledger, name, 100 * at, *said)
    planned(ledger, 10, name="check", test=True)
    tell(ledger, "UPDATE campaign SET run_started_at = :then WHERE name <> 'new'", then=LONG_AGO)
    assert [one.name for one in standings(ledger)] == ["old and unknown", "new"]


def test_requests_are_counted_by_outcome_and_duration_over_all_campaigns(ledger: Ledger) -> None:
    finished(ledger, "first", 0)
    second = planned(ledger, 20, name="second", first=100)
    sending.record_unknown(ledger, claimed(ledger, second))
    claimed(ledger, second)  # in flight: not ended, not counted
    count = RequestCount()
    assert [(one.gateway, one.outcome, one.count) for one in count.count(ledger)] == [
        ("serwersms", "answered", 1),
        ("serwersms", "unknown", 1),
    ]
    tell(ledger, "UPDATE attempt SET started_at = ended_at - 0.3 WHERE outcome = 'answered'")
    slow = count.count(ledger)[0]
    assert abs(slow.seconds - 0.3) < 0.001
    assert slow.timed == tuple(int(bound >= 0.3) for bound in BUCKETS_SECONDS) + (1,)


def test_what_can_no_longer_change_is_counted_once(ledger: Ledger) -> None:
    finished(ledger, "sale", 0)
    count = RequestCount()
    tell(ledger, "UPDATE campaign SET run_ended_at = :then", then=LONG_AGO)
    assert [one.count for one in count.count(ledger)] == [1]
    tell(ledger, "DELETE FROM attempt")
    assert [one.count for one in count.count(ledger)] == [1]
    tell(ledger, "UPDATE campaign SET run_ended_at = NULL, run_started_at = :now", now=time.time())
    assert count.count(ledger) == [], "a new run counts anew"
