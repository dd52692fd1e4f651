"""Settling the unknown: only while it is unknown, with its evidence, and one provider id for one message."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from posthorn.ledger import campaigns, reconciling, sending
from posthorn.ledger.campaigns import CampaignRecord
from posthorn.ledger.reconciling import Decision, Unconfirmed
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Answer, MessageState, Receipt
from tests.ledger.ledgers import (
    ACCEPTED,
    LATEST,
    OWNER,
    PENDING,
    REJECTED,
    UNKNOWN,
    ZOMBIE,
    another,
    answer,
    claimed,
    ids,
    planned,
    states,
)


def in_doubt(ledger: Ledger, count: int = 10) -> tuple[CampaignRecord, list[Unconfirmed]]:
    """A campaign of one chunk whose outcome is unknown."""
    campaign = planned(ledger, count, chunk_size=count)
    sending.record_unknown(ledger, claimed(ledger, campaign, ZOMBIE))
    return campaign, reconciling.unconfirmed(ledger, campaign, 100)


def found(message: Unconfirmed, provider_id: str, state: MessageState = ACCEPTED) -> Decision:
    return Decision(message, "found", state, "listed as sent", provider_id)


def again(ledger: Ledger, campaign: CampaignRecord) -> list[Unconfirmed]:
    return reconciling.unconfirmed(ledger, campaign, 100)


def test_every_unknown_message_is_told_in_pages_in_order(ledger: Ledger) -> None:
    campaign = planned(ledger, 50)
    for _ in range(5):
        claim = claimed(ledger, campaign)
        sending.record(ledger, claim, answer(claim, UNKNOWN, REJECTED, UNKNOWN))
    told, after = [], (0, 0)
    while page := reconciling.unconfirmed(ledger, campaign, 3, after):
        assert len(page) <= 3
        told += [(message.chunk_id, message.position) for message in page]
        after = told[-1]
    chunks = range(campaign.first_chunk, campaign.last_chunk + 1)
    assert told == [(chunk, position) for chunk in chunks for position in (7, 9)]
    assert len(reconciling.unconfirmed(ledger, campaign, 100, last_chunk=campaign.first_chunk)) == 2


def test_what_is_found_is_taken_with_its_id(ledger: Ledger) -> None:
    campaign, messages = in_doubt(ledger)
    decisions = [found(message, f"id-{message.position}") for message in messages[:4]]
    decisions.append(found(messages[4], "id-4", MessageState.DELIVERED))
    assert reconciling.settle(ledger, campaign, decisions, by="test") == 5
    assert states(ledger, campaign) == {"accepted": 4, "delivered": 1, "unknown": 5}
    assert reconciling.bound_ids(ledger, ["id-1", "id-7"]) == {"id-1"}


def test_looks_are_dated_and_leave_the_message_unknown(ledger: Ledger) -> None:
    campaign, messages = in_doubt(ledger)
    assert messages[0].absent_since is None
    assert (
        reconciling.settle(ledger, campaign, [Decision(one, "look", UNKNOWN, "not listed") for one in messages], by="t") == 0
    )
    first = again(ledger, campaign)
    assert first[0].last_decision == "look"
    assert first[0].absent_since is not None
    reconciling.settle(ledger, campaign, [Decision(one, "look", UNKNOWN, "not listed") for one in first], by="t")
    assert again(ledger, campaign)[0].absent_since == first[0].absent_since, "a further look does not move the first"
    assert states(ledger, campaign) == {"unknown": 10}


def test_the_code_of_the_failure_survives_the_looks(ledger: Ledger) -> None:
    campaign = planned(ledger, 1)
    sending.record(ledger, claimed(ledger, campaign), Answer([Receipt(UNKNOWN, error="1010")]))
    looks = [Decision(one, "look", UNKNOWN, "not listed") for one in again(ledger, campaign)]
    reconciling.settle(ledger, campaign, looks, by="test")
    with ledger.read() as connection:
        assert connection.execute(sa.select(tables.message.c.error)).scalar_one() == "1010"


def test_absent_is_kept_as_evidence_only(ledger: Ledger) -> None:
    campaign, messages = in_doubt(ledger, 1)
    reconciling.settle(ledger, campaign, [Decision(messages[0], "absent", UNKNOWN, "not listed, twice")], by="reconcile")
    assert states(ledger, campaign) == {"unknown": 1}
    (evidence,) = reconciling.evidence_of(ledger, campaign)
    assert (evidence.evidence, evidence.problem) == ("not listed, twice", "interrupted")


def test_a_resent_message_is_pending_and_its_next_attempt_starts_with_a_clean_slate(ledger: Ledger) -> None:
    campaign, messages = in_doubt(ledger, 2)
    reconciling.settle(ledger, campaign, [Decision(one, "look", UNKNOWN, "not listed") for one in messages], by="test")
    resends = [Decision(one, "resend", PENDING, "not listed, twice") for one in again(ledger, campaign)]
    assert reconciling.settle(ledger, campaign, resends, by="test") == 2
    assert states(ledger, campaign) == {"pending": 2}
    claim = claimed(ledger, campaign)
    sending.record_unknown(ledger, claim)
    message = again(ledger, campaign)[0]
    assert (message.resends, message.absent_since, message.last_decision) == (1, None, None)
    assert message.attempts == 2
    assert reconciling.resent_messages(ledger, campaign) == dict.fromkeys(claim.phones)


def test_a_decision_comes_too_late_once_the_message_is_settled(ledger: Ledger) -> None:
    campaign, messages = in_doubt(ledger, 3)
    reconciling.settle(ledger, campaign, [found(one, f"id-{one.position}") for one in messages], by="first")
    too_late = [
        found(messages[0], "another"),
        Decision(messages[1], "resend", PENDING, "not listed"),
        Decision(messages[2], "look", UNKNOWN, "not listed"),
    ]
    assert reconciling.settle(ledger, campaign, too_late, by="second") == 0
    assert states(ledger, campaign) == {"accepted": 3}
    with ledger.read() as connection:
        assert set(connection.execute(sa.select(tables.settlement.c.by)).scalars()) == {"first"}


def test_a_late_answer_without_ids_is_not_sent_again_by_a_decision_made_before_it(ledger: Ledger) -> None:
    campaign = planned(ledger, 3)
    claim = claimed(ledger, campaign, ZOMBIE)
    sending.abandon_dead(ledger, campaign)
    decided = [Decision(one, "resend", PENDING, "not listed") for one in again(ledger, campaign)]
    sending.record(ledger, claim, Answer([Receipt(ACCEPTED)] * 3))
    assert reconciling.settle(ledger, campaign, decided, by="test") == 0
    assert states(ledger, campaign) == {"accepted": 3}


def test_what_was_taken_by_count_gets_its_ids_afterwards(ledger: Ledger) -> None:
    campaign = planned(ledger, 3)
    sending.record(ledger, claimed(ledger, campaign), Answer([Receipt(ACCEPTED), Receipt(ACCEPTED, "b"), Receipt(ACCEPTED)]))
    waiting = reconciling.without_id(ledger, campaign, 100)
    assert [(one.position, one.is_taken) for one in waiting] == [(0, True), (2, True)]
    reconciling.settle(ledger, campaign, [found(waiting[0], "a"), found(waiting[1], "c")], by="test")
    assert reconciling.without_id(ledger, campaign, 100) == []
    assert reconciling.bound_ids(ledger, ["a", "b", "c"]) == {"a", "b", "c"}
    assert states(ledger, campaign) == {"accepted": 3}


def test_an_id_goes_to_one_message_even_if_two_reconcile_at_once(ledger: Ledger) -> None:
    campaign, messages = in_doubt(ledger, 4)
    reconciling.settle(ledger, campaign, [found(messages[0], "a")], by="first")
    second = [found(messages[1], "a"), found(messages[2], "b"), found(messages[3], "b")]
    assert reconciling.settle(ledger, campaign, second, by="second") == 1
    assert states(ledger, campaign) == {"accepted": 2, "unknown": 2}


def test_an_unknown_message_may_be_found_under_the_id_it_was_answered_with(ledger: Ledger) -> None:
    campaign = planned(ledger, 1)
    sending.record(ledger, claimed(ledger, campaign), Answer([Receipt(UNKNOWN, "x")], anomalies=["two items"]))
    assert reconciling.bound_ids(ledger, ["x"]) == set()
    reconciling.settle(ledger, campaign, [Decision(again(ledger, campaign)[0], "look", UNKNOWN, "-")], by="test")
    assert reconciling.settle(ledger, campaign, [found(again(ledger, campaign)[0], "x")], by="test") == 1
    assert states(ledger, campaign) == {"accepted": 1}


def test_controls_are_messages_that_were_surely_taken_near_that_time(ledger: Ledger) -> None:
    campaign = planned(ledger, 50)
    claims = [claimed(ledger, campaign) for _ in range(5)]
    sending.record_unknown(ledger, claims[0])
    assert reconciling.controls(ledger, campaign, 0, 3) == {}
    for claim in claims[1:]:
        sending.record(ledger, claim, answer(claim, REJECTED))
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE chunk SET claimed_at = 1000 * id"))
    near_the_last = reconciling.controls(ledger, campaign, 1000.0 * claims[-1].chunk_id, 30)
    assert set(near_the_last) == set(ids(claims[-1])[:-1]) | set(ids(claims[-2])[:-1])
    assert len(reconciling.controls(ledger, campaign, 0, 3)) == 3


def test_settling_while_the_rest_of_the_chunk_is_in_flight_is_counted_at_once(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    first = claimed(ledger, campaign)
    sending.record(ledger, first, answer(first, UNKNOWN, UNKNOWN, PENDING))
    second = claimed(ledger, campaign)
    one, other = again(ledger, campaign)
    reconciling.settle(ledger, campaign, [found(one, "x"), Decision(other, "resend", PENDING, "absent")], by="test")
    assert states(ledger, campaign) == {"accepted": 8, "pending": 2}
    assert sending.claim(ledger, campaign, OWNER, 1, LATEST) is None, "the chunk is in flight"
    sending.record(ledger, second, answer(second))
    assert states(ledger, campaign) == {"accepted": 9, "pending": 1}
    assert claimed(ledger, campaign).positions == (other.position,)


def test_the_earliest_attempt_that_may_have_been_taken_opens_the_window(ledger: Ledger) -> None:
    campaign = planned(ledger, 1)
    sending.release(ledger, claimed(ledger, campaign))
    sending.record_unknown(ledger, claimed(ledger, campaign))
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE attempt SET started_at = 100 WHERE epoch = 1"))
        connection.execute(sa.text("UPDATE attempt SET started_at = 200, ended_at = 230 WHERE epoch = 2"))
    (message,) = again(ledger, campaign)
    assert (message.since, message.until, message.attempts) == (200, 230, 1)


@pytest.mark.parametrize("decision", ["look", "no control"])
def test_the_same_decision_is_not_kept_again_and_again(decision: str, ledger: Ledger) -> None:
    campaign, _ = in_doubt(ledger, 1)
    for _ in range(5):
        waiting = again(ledger, campaign)
        reconciling.settle(ledger, campaign, [Decision(one, decision, UNKNOWN, "not listed") for one in waiting], by="test")
    with ledger.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.settlement)).scalar() == 1


def test_a_cancelled_campaign_keeps_what_is_unknown(url: str, ledger: Ledger) -> None:
    campaign = planned(ledger, 20)
    sending.record_unknown(ledger, claimed(ledger, campaign))
    with another(url) as other:
        assert campaigns.cancel(other, campaign) == 10
    assert states(ledger, campaign) == {"unknown": 10, "cancelled": 10}
