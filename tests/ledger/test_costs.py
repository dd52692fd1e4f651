"""A cap is kept in the claim's own transaction: never above it, whoever claims beside; what is given back counts no more."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import sqlalchemy as sa

from posthorn.ledger import amending, claiming, costs, deliveries, reconciling, resolving, sending
from posthorn.ledger.claims import Claim
from posthorn.ledger.costs import Cap, CapReached, Limits, Nearing
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.resolving import EVERYTHING, RESENDABLE
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MessageState
from posthorn.prices import Rate, Tariff
from tests.ledger.ledgers import (
    ACCEPTED,
    FIRST_PHONE,
    LATEST,
    OWNER,
    PENDING,
    REJECTED,
    UNKNOWN,
    another,
    answer,
    attempts,
    claim_one,
    everything_adds_up,
    planned,
    states,
)
from tests.ledger.test_tickets import gala, sent

TARIFF = Tariff.of(Decimal("0.1"), {})
TARIFFS = {"serwersms": TARIFF}
EURO = 1_000_000


def cap(euros: float, campaign: Delivery | None = None) -> Cap:
    if campaign is None:
        return Cap("day 2026-11-27", int(euros * EURO), "the day's cap", since=0.0, until=4e9)
    return Cap(f"delivery {campaign.id}", int(euros * EURO), "its max_cost", campaign_id=campaign.id)


def claim(ledger: Ledger, campaign: Delivery, *caps: Cap, **limits: object) -> Claim | None:
    """As a run claims: what seems reached is counted anew once."""
    given = Limits(caps=caps, tariff=TARIFF, **limits)  # type: ignore[arg-type]
    while True:
        try:
            return claim_one(ledger, campaign, OWNER, 1, LATEST, None, given)
        except CapReached as reached:
            if costs.count_anew(ledger, reached.cap, TARIFFS) + reached.cost > reached.cap.most:
                raise


def kept(ledger: Ledger) -> dict[str, int]:
    with ledger.read() as connection:
        return {row.scope: row.spent for row in connection.execute(sa.select(tables.spending))}


def test_without_a_cap_no_claim_touches_what_others_share(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    assert claim_one(ledger, campaign, OWNER, 1, LATEST) is not None
    assert kept(ledger) == {}


def test_a_claim_beyond_the_cap_is_not_made_and_leaves_no_trace(ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    most = cap(2.5)
    assert claim(ledger, campaign, most) is not None
    assert claim(ledger, campaign, most) is not None
    with pytest.raises(CapReached) as reached:
        claim(ledger, campaign, most)
    assert (reached.value.spent, reached.value.cost) == (2 * EURO, EURO)
    assert kept(ledger) == {most.scope: 2 * EURO}
    assert deliveries.find(ledger, "sale") is not None
    third = claiming.pending_chunks(ledger, campaign)
    assert (len(third), attempts(ledger, third[0])) == (1, [])
    everything_adds_up(ledger)


def test_several_that_together_go_beyond_the_cap_are_not_claimed(ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    limits = Limits(caps=(cap(2.5),), tariff=TARIFF)
    assert claim(ledger, campaign, cap(2.5)) is not None
    with pytest.raises(CapReached) as reached:
        claiming.claim(ledger, campaign, OWNER, 1, LATEST, limits=limits, most=2)
    assert (reached.value.spent, reached.value.cost) == (EURO, 2 * EURO)
    assert [len(attempts(ledger, chunk)) for chunk in claiming.pending_chunks(ledger, campaign)] == [0, 0]
    assert len(claiming.claim(ledger, campaign, OWNER, 1, LATEST, limits=limits, most=1)) == 1
    everything_adds_up(ledger)


def test_what_was_surely_not_taken_is_given_back_and_what_is_unknown_is_spent(ledger: Ledger) -> None:
    campaign = planned(ledger, 40)
    most = cap(2.0, campaign)
    first, second = claim(ledger, campaign, most), claim(ledger, campaign, most)
    assert first is not None
    assert second is not None
    sending.record(ledger, first, answer(first, REJECTED, REJECTED, PENDING, UNKNOWN))
    assert costs.count_anew(ledger, most, TARIFFS) == int(1.7 * EURO), "two refused, one not taken; what is under way counts"
    sending.release(ledger, second)
    assert costs.count_anew(ledger, most, TARIFFS) == int(0.7 * EURO)
    third = claim(ledger, campaign, most)
    assert third is not None
    sending.record_unknown(ledger, third)
    assert costs.count_anew(ledger, most, TARIFFS) == 700_000 + 100_000 * len(third.phones)


def test_what_is_withdrawn_is_given_back(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    one = claim(ledger, campaign, cap(5, campaign))
    assert one is not None
    sending.record(ledger, one, answer(one, *[MessageState.SCHEDULED] * 10))
    assert costs.count_anew(ledger, cap(5, campaign), TARIFFS) == EURO
    with ledger.write() as connection:
        connection.execute(tables.message.update().values(state=int(MessageState.CANCELLED)))
        deliveries.recount(connection, "id > 0")
    assert costs.count_anew(ledger, cap(5, campaign), TARIFFS) == 0


def test_a_cap_that_is_set_in_the_middle_of_the_day_counts_what_went_before(ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    assert claim_one(ledger, campaign, OWNER, 1, LATEST) is not None
    assert claim(ledger, campaign, cap(2)) is not None
    with pytest.raises(CapReached):
        claim(ledger, campaign, cap(2))
    assert kept(ledger) == {"day 2026-11-27": 2 * EURO}


def test_several_caps_hold_together(ledger: Ledger) -> None:
    first, second = planned(ledger, 30), planned(ledger, 30, name="gala", first=100)
    assert claim(ledger, first, cap(1, first), cap(3)) is not None
    with pytest.raises(CapReached, match="its max_cost"):
        claim(ledger, first, cap(1, first), cap(3))
    assert claim(ledger, second, cap(9, second), cap(3)) is not None
    assert claim(ledger, second, cap(9, second), cap(3)) is not None
    with pytest.raises(CapReached, match="the day's cap"):
        claim(ledger, second, cap(9, second), cap(3))


def test_prices_by_prefix_are_counted_by_the_numbers(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    assert claim_one(ledger, campaign, OWNER, 1, LATEST) is not None
    dear = {"serwersms": Tariff.of(Decimal("0.1"), {"48500000003": Decimal(1)})}
    assert costs.count_anew(ledger, cap(9, campaign), dear) == int(1.9 * EURO)
    assert costs.count_anew(ledger, cap(9, campaign), {}) == 0


def test_somebody_is_told_once_when_little_is_left(ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    told: list[Nearing] = []
    for _ in range(3):
        claim(ledger, campaign, cap(3.2), tell=told.append)
    assert [one.spent for one in told] == [3 * EURO]


def test_claims_at_the_same_time_stay_below_the_cap_together(ledger: Ledger, url: str) -> None:
    campaign = planned(ledger, 400)
    most = cap(12.5)
    got: list[Claim] = []

    def work() -> None:
        with another(url) as own:
            try:
                while (one := claim(own, campaign, most)) is not None:
                    got.append(one)
            except CapReached:
                return

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(got) == 12
    assert kept(ledger) == {most.scope: 12 * EURO}


def test_counting_anew_waits_for_a_claim_that_is_being_committed(ledger: Ledger, url: str) -> None:
    if ledger.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    campaign = planned(ledger, 30)
    most = cap(9)
    assert claim(ledger, campaign, most) is not None
    counted: list[int] = []
    with another(url) as other:
        with ledger.write() as connection:
            costs.reserve(connection, [most], EURO)
            connection.execute(
                tables.chunk.update()
                .where(tables.chunk.c.id.in_(claiming.pending_chunks(other, campaign)[:1]))
                .values(state=1, claimed_at=1.0)
            )
            thread = threading.Thread(target=lambda: counted.append(costs.count_anew(other, most, TARIFFS)))
            thread.start()
            thread.join(0.3)
            assert counted == []
        thread.join(30)
    assert counted == [2 * EURO]


def test_who_was_written_to_as_often_as_may_be_is_suppressed_and_the_rest_goes(ledger: Ledger) -> None:
    before = planned(ledger, 3, name="before")
    taken = claim_one(ledger, before, OWNER, 1, LATEST)
    assert taken is not None
    sending.record(ledger, taken, answer(taken, REJECTED, UNKNOWN))
    campaign = planned(ledger, 10)
    once = Limits(rate=Rate(1, 3600.0))
    one = claim_one(ledger, campaign, OWNER, 1, LATEST, None, once)
    assert one is not None
    assert [phone - FIRST_PHONE for phone in one.phones] == [1, *range(3, 10)], "the refused one got nothing; unknown counts"
    assert states(ledger, campaign) == {"pending": 8, "suppressed": 2}
    with ledger.read() as connection:
        errors = connection.execute(sa.select(tables.message.c.error).where(tables.message.c.state == 9)).scalars().all()
    assert errors == ["too often"] * 2
    assert claim_one(ledger, planned(ledger, 10, name="next"), OWNER, 1, LATEST, None, Limits(rate=Rate(3, 3600.0)))


def test_only_what_went_within_the_time_counts_and_a_chunk_of_nobody_closes(ledger: Ledger) -> None:
    before = planned(ledger, 10, name="before")
    assert claim_one(ledger, before, OWNER, 1, LATEST) is not None
    campaign = planned(ledger, 10)
    assert claim_one(ledger, campaign, OWNER, 1, LATEST, None, Limits(rate=Rate(1, 3600.0))) is None
    assert states(ledger, campaign) == {"suppressed": 10}
    with ledger.write() as connection:
        connection.execute(tables.attempt.update().values(started_at=tables.attempt.c.started_at - 3601.0))
    assert claim_one(ledger, planned(ledger, 10, name="next"), OWNER, 1, LATEST, None, Limits(rate=Rate(1, 3600.0)))


NOON = 4_000_000_000.0
HOUR = 3600.0
# When other campaigns are dispatched, in hours from ours; how many may reach a number a day; whether ours goes.
DISPATCHES = {
    "at the same moment": ([0], 1, False),
    "a day before, to the minute": ([-24], 1, True),
    "a day after, to the minute": ([24], 1, True),
    "a little less than a day after": ([23.9], 1, False),
    "a little less than a day before": ([-23.9], 1, False),
    "one before and one after, in no one day": ([-20, 20], 2, True),
    "one before and one after, in one day": ([-11, 11], 2, False),
    "two after": ([1, 2], 2, False),
}


@pytest.mark.parametrize("case", DISPATCHES)
def test_it_is_the_moment_of_dispatch_that_counts_not_the_claim(case: str, ledger: Ledger) -> None:
    others, most, goes = DISPATCHES[case]
    for at, hours in enumerate(others):
        claimed_for(ledger, f"other {at}", send_at=NOON + hours * HOUR)
    with ledger.write() as connection:  # they were claimed days before ours
        connection.execute(tables.attempt.update().values(started_at=tables.attempt.c.started_at - 48 * HOUR))
        connection.execute(tables.chunk.update().values(claimed_at=tables.chunk.c.claimed_at - 48 * HOUR))
    ours = claimed_for(ledger, "ours", send_at=NOON, rate=Rate(most, 24 * HOUR))
    assert (ours is not None) == goes


def test_what_is_held_counts_when_its_hold_is_over(ledger: Ledger) -> None:
    claimed_for(ledger, "held", hold_minutes=3 * 60)
    assert claimed_for(ledger, "at once", rate=Rate(1, 2 * HOUR)) is not None
    assert claimed_for(ledger, "held as well", hold_minutes=4 * 60, rate=Rate(1, 2 * HOUR)) is None


def test_a_canary_counts_when_it_goes_though_the_rest_has_a_moment(ledger: Ledger) -> None:
    canary = dataclasses.replace(planned(ledger, 10, name="canary"), options={"canary": 5}, open_wave=1)
    later = {"send_at": datetime.fromtimestamp(NOON, UTC)}
    as_sent = dataclasses.replace(canary, content=canary.content.model_copy(update=later))
    assert claim_one(ledger, as_sent, OWNER, 1, LATEST) is not None
    assert claimed_for(ledger, "at its moment", send_at=NOON, rate=Rate(1, HOUR)) is not None
    with ledger.write() as connection:
        connection.execute(tables.chunk.update().where(tables.chunk.c.campaign_id != canary.id).values(state=2))
    assert claimed_for(ledger, "at once", rate=Rate(1, HOUR)) is None


def claimed_for(
    ledger: Ledger, name: str, *, send_at: float | None = None, hold_minutes: int | None = None, rate: Rate | None = None
) -> Claim | None:
    """The claim of a campaign to always the same numbers that is dispatched then."""
    campaign = planned(ledger, 10, name=name)
    moment = {"send_at": datetime.fromtimestamp(send_at, UTC) if send_at else None, "hold_minutes": hold_minutes}
    as_sent = dataclasses.replace(campaign, content=campaign.content.model_copy(update=moment))
    return claim_one(ledger, as_sent, OWNER, 1, LATEST, None, Limits(rate=rate))


def test_settled_as_never_sent_is_given_back(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    one = claim(ledger, campaign, cap(5, campaign))
    assert one is not None
    sending.record_unknown(ledger, one)
    assert costs.count_anew(ledger, cap(5, campaign), TARIFFS) == EURO
    lost = reconciling.unconfirmed(ledger, campaign, 100, (0, 0))
    reconciling.settle(
        ledger, campaign, [reconciling.Settlement(message, "resend", PENDING, "never listed") for message in lost], by="Ada"
    )
    assert costs.count_anew(ledger, cap(5, campaign), TARIFFS) == 0


@pytest.mark.parametrize("prices", [{}, {"4850": Decimal(1)}], ids=["one price", "by prefix"])
def test_what_a_person_had_sent_again_was_spent_before_too_but_not_what_was_rejected(
    prices: dict[str, Decimal], ledger: Ledger
) -> None:
    campaign = planned(ledger, 10)
    tariffs = {"serwersms": Tariff.of(Decimal(1), prices)}
    claimed = claim_one(ledger, campaign, OWNER, 1, LATEST)
    assert claimed is not None
    sending.record(ledger, claimed, answer(claimed, REJECTED, REJECTED))
    for again in (1, 2):
        resolving.resend(ledger, campaign, EVERYTHING, RESENDABLE, by="Ada", why="a better picture")
        for most in (cap(99), cap(99, campaign)):
            assert costs.count_anew(ledger, most, tariffs) == (8 if again == 1 else 18) * EURO
        claimed = claim_one(ledger, campaign, OWNER, 1, LATEST)
        assert claimed is not None
        sending.record(ledger, claimed, answer(claimed))
    assert costs.count_anew(ledger, cap(99, campaign), tariffs) == 28 * EURO
    assert costs.count_anew(ledger, Cap("tomorrow", EURO, "the day's cap", since=4e9, until=5e9), tariffs) == 0


def test_a_ticket_with_a_new_code_was_paid_for_under_the_old_one_too(ledger: Ledger) -> None:
    event = gala(ledger, 2)
    sent(ledger, event, (ACCEPTED, "x"), (REJECTED, "y"))
    tariffs = {event.gateway: Tariff.of(Decimal(1), {})}
    before = costs.count_anew(ledger, cap(99, event), tariffs)
    for code in ("A-0", "A-1"):
        amending.replace_code(ledger, event, code, f"NEW-{code}", by="Ada", why="it leaked")
    sent(ledger, event, (ACCEPTED, "x-2"), (ACCEPTED, "y-2"))
    assert (before, costs.count_anew(ledger, cap(99, event), tariffs)) == (1 * EURO, 3 * EURO), "what was refused is free"
