"""Settling the unknown: only while it is unknown, with its evidence, and one provider id for one message."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from posthorn.ledger import copies, deliveries, reconciling, sending
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.reconciling import Settlement, Unconfirmed
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
    claim_one,
    claimed,
    first_chunk,
    ids,
    last_chunk,
    planned,
    states,
)


def in_doubt(ledger: Ledger, count: int = 10) -> tuple[Delivery, list[Unconfirmed]]:
    """A campaign of one chunk whose outcome is unknown."""
    campaign = planned(ledger, count, chunk_size=count)
    sending.record_unknown(ledger, claimed(ledger, campaign, ZOMBIE))
    return campaign, reconciling.unconfirmed(ledger, campaign, 100)


def found(message: Unconfirmed, provider_id: str, state: MessageState = ACCEPTED) -> Settlement:
    return Settlement(message, "found", state, "listed as sent", provider_id)


def again(ledger: Ledger, campaign: Delivery) -> list[Unconfirmed]:
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
    chunks = range(first_chunk(ledger, campaign), last_chunk(ledger, campaign) + 1)
    assert told == [(chunk, position) for chunk in chunks for position in (7, 9)]
    assert len(reconciling.unconfirmed(ledger, campaign, 100, last_chunk=first_chunk(ledger, campaign))) == 2


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
        reconciling.settle(ledger, campaign, [Settlement(one, "look", UNKNOWN, "not listed") for one in messages], by="t")
        == 0
    )
    first = again(ledger, campaign)
    assert first[0].last_decision == "look"
    assert first[0].absent_since is not None
    reconciling.settle(ledger, campaign, [Settlement(one, "look", UNKNOWN, "not listed") for one in first], by="t")
    assert again(ledger, campaign)[0].absent_since == first[0].absent_since, "a further look does not move the first"
    assert states(ledger, campaign) == {"unknown": 10}


def test_the_code_of_the_failure_survives_the_looks(ledger: Ledger) -> None:
    campaign = planned(ledger, 1)
    sending.record(ledger, claimed(ledger, campaign), Answer([Receipt(UNKNOWN, error="1010")]))
    looks = [Settlement(one, "look", UNKNOWN, "not listed") for one in again(ledger, campaign)]
    reconciling.settle(ledger, campaign, looks, by="test")
    with ledger.read() as connection:
        assert connection.execute(sa.select(tables.message.c.error)).scalar_one() == "1010"


def test_absent_is_kept_as_evidence_only(ledger: Ledger) -> None:
    campaign, messages = in_doubt(ledger, 1)
    reconciling.settle(ledger, campaign, [Settlement(messages[0], "absent", UNKNOWN, "not listed, twice")], by="reconcile")
    assert states(ledger, campaign) == {"unknown": 1}
    (evidence,) = reconciling.evidence_of(ledger, campaign)
    assert (evidence.evidence, evidence.problem) == ("not listed, twice", "interrupted")


def test_a_resent_message_is_pending_and_its_next_attempt_starts_with_a_clean_slate(ledger: Ledger) -> None:
    campaign, messages = in_doubt(ledger, 2)
    reconciling.settle(ledger, campaign, [Settlement(one, "look", UNKNOWN, "not listed") for one in messages], by="test")
    resends = [Settlement(one, "resend", PENDING, "not listed, twice") for one in again(ledger, campaign)]
    assert reconciling.settle(ledger, campaign, resends, by="test") == 2
    assert states(ledger, campaign) == {"pending": 2}
    claim = claimed(ledger, campaign)
    sending.record_unknown(ledger, claim)
    message = again(ledger, campaign)[0]
    assert (message.resends, message.absent_since, message.last_decision) == (1, None, None)
    assert message.attempts == 2
    assert len(copies.begun(ledger, campaign)) == 2, "of either request a copy may still come"


def test_a_decision_comes_too_late_once_the_message_is_settled(ledger: Ledger) -> None:
    campaign, messages = in_doubt(ledger, 3)
    reconciling.settle(ledger, campaign, [found(one, f"id-{one.position}") for one in messages], by="first")
    too_late = [
        found(messages[0], "another"),
        Settlement(messages[1], "resend", PENDING, "not listed"),
        Settlement(messages[2], "look", UNKNOWN, "not listed"),
    ]
    assert reconciling.settle(ledger, campaign, too_late, by="second") == 0
    assert states(ledger, campaign) == {"accepted": 3}
    with ledger.read() as connection:
        assert set(connection.execute(sa.select(tables.settlement.c.by)).scalars()) == {"first"}


def test_a_late_answer_without_ids_is_not_sent_again_by_a_decision_made_before_it(ledger: Ledger) -> None:
    campaign = planned(ledger, 3)
    claim = claimed(ledger, campaign, ZOMBIE)
    sending.abandon_dead(ledger, campaign)
    decided = [Settlement(one, "resend", PENDING, "not listed") for one in again(ledger, campaign)]
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
    reconciling.settle(ledger, campaign, [Settlement(again(ledger, campaign)[0], "look", UNKNOWN, "-")], by="test")
    assert reconciling.settle(ledger, campaign, [found(again(ledger, campaign)[0], "x")], by="test") == 1
    assert states(ledger, campaign) == {"accepted": 1}


def controls(ledger: Ledger, campaign: Delivery, near: float = 0, size: int = 30, since: float = 0) -> list[str]:
    return [one.provider_id for one in reconciling.controls(ledger, campaign, near, size, not_before=since)]


def test_controls_are_messages_that_were_surely_taken_near_that_time(ledger: Ledger) -> None:
    campaign = planned(ledger, 50)
    claims = [claimed(ledger, campaign) for _ in range(5)]
    sending.record_unknown(ledger, claims[0])
    assert controls(ledger, campaign) == []
    for claim in claims[1:]:
        sending.record(ledger, claim, answer(claim, REJECTED))
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE attempt SET started_at = 1000 * chunk_id, ended_at = 1000 * chunk_id + 5"))
    nearest_first = [ids(claim)[0] for claim in reversed(claims[1:])]
    assert controls(ledger, campaign, 1000.0 * claims[-1].chunk_id) == nearest_first
    assert controls(ledger, campaign, 0, 3) == [ids(claim)[0] for claim in claims[1:4]]
    assert controls(ledger, campaign, since=1000.0 * claims[-1].chunk_id) == nearest_first[:1], "only what is surely listed"
    middle = [ids(claims[number])[0] for number in (3, 4, 2, 1)]
    assert controls(ledger, campaign, 1000.0 * claims[3].chunk_id - 1) == middle, "first what was taken later"
    (control,) = reconciling.controls(ledger, campaign, 1000.0 * claims[1].chunk_id, 1, not_before=0)
    assert (control.since, control.until) == (1000.0 * claims[1].chunk_id, 1000.0 * claims[1].chunk_id + 5)
    assert (control.phone, control.campaign, control.title) == (claims[1].phones[0], "sale", campaign.content.title)


@pytest.mark.parametrize("state", [REJECTED, UNKNOWN, PENDING, MessageState.CANCELLED])
def test_a_message_that_the_provider_need_not_list_is_no_control(state: MessageState, ledger: Ledger) -> None:
    """A refused one has an id, too, and a withdrawn one had one."""
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    first, *others = ids(claim)
    sending.record(ledger, claim, Answer([Receipt(state, first), *(Receipt(ACCEPTED, one) for one in others)]))
    assert controls(ledger, campaign) == others[:1]


def test_a_chunk_with_two_requests_has_no_control_for_nobody_knows_which_one_took_it(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    first = claimed(ledger, campaign)
    sending.record(ledger, first, answer(first, PENDING))
    second = claimed(ledger, campaign)
    sending.record(ledger, second, answer(second))
    assert controls(ledger, campaign) == []


def test_a_request_that_surely_did_nothing_spoils_no_control(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    sending.release(ledger, claimed(ledger, campaign))
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, answer(claim))
    assert controls(ledger, campaign) == ids(claim)[:1]


def test_controls_of_other_campaigns_serve_where_there_are_none_of_its_own(ledger: Ledger) -> None:
    campaign, other, test = (
        planned(ledger, 20),
        planned(ledger, 10, name="other"),
        planned(ledger, 10, name="try", test=True),
    )
    sending.record_unknown(ledger, claimed(ledger, campaign))
    for one in (other, test):
        claim = claimed(ledger, one)
        sending.record(ledger, claim, answer(claim))
    (control,) = reconciling.controls(ledger, campaign, 0, 30, not_before=0)
    assert control.campaign == "other"
    own = claimed(ledger, campaign)
    sending.record(ledger, own, answer(own))
    assert controls(ledger, campaign) == ids(own)[:1]


def test_an_id_that_was_a_messages_before_it_was_sent_again_is_no_other_messages(ledger: Ledger) -> None:
    campaign, (message, *_) = in_doubt(ledger, 2)
    reconciling.settle(ledger, campaign, [found(message, "now")], by="test")
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE settlement SET replaced_id = 'before'"))
    assert reconciling.bound_ids(ledger, ["now", "before", "nobodys"]) == {"now", "before"}


def test_settling_while_the_rest_of_the_chunk_is_in_flight_is_counted_at_once(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    first = claimed(ledger, campaign)
    sending.record(ledger, first, answer(first, UNKNOWN, UNKNOWN, PENDING))
    second = claimed(ledger, campaign)
    one, other = again(ledger, campaign)
    reconciling.settle(ledger, campaign, [found(one, "x"), Settlement(other, "resend", PENDING, "absent")], by="test")
    assert states(ledger, campaign) == {"accepted": 8, "pending": 2}
    assert claim_one(ledger, campaign, OWNER, 1, LATEST) is None, "the chunk is in flight"
    sending.record(ledger, second, answer(second))
    assert states(ledger, campaign) == {"accepted": 9, "pending": 1}
    assert claimed(ledger, campaign).positions == (other.position,)


def test_the_window_opens_with_the_first_of_two_requests_that_may_have_been_carried_out(ledger: Ledger) -> None:
    campaign, messages = in_doubt(ledger, 1)
    reconciling.settle(ledger, campaign, [Settlement(messages[0], "resend", PENDING, "not listed, twice")], by="test")
    sending.record_unknown(ledger, claimed(ledger, campaign))
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE attempt SET started_at = 100, ended_at = 130 WHERE epoch = 1"))
        connection.execute(sa.text("UPDATE attempt SET started_at = 200, ended_at = 230 WHERE epoch = 2"))
    (message,) = again(ledger, campaign)
    assert (message.since, message.until, message.attempts) == (100, 230, 2)


def test_why_nothing_is_proven_is_kept_anew_when_the_reason_changes(ledger: Ledger) -> None:
    campaign, _ = in_doubt(ledger, 2)
    for reason in ("its title differs", "its title differs", "it is dated 3,600 s before its request"):
        doubts = [Settlement(one, reconciling.MISMATCH, UNKNOWN, reason) for one in again(ledger, campaign)]
        reconciling.settle(ledger, campaign, doubts, by="test")
    with ledger.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.settlement)).scalar() == 4
    (finding,) = reconciling.findings(ledger, campaign)
    assert (finding.campaign, finding.what, finding.messages) == ("sale", "it is dated 3,600 s before its request", 2)
    assert reconciling.findings(ledger) == [finding]


def test_a_finding_is_over_once_the_message_is_settled_or_the_listing_fits(ledger: Ledger) -> None:
    campaign, messages = in_doubt(ledger, 2)
    reconciling.settle(
        ledger, campaign, [Settlement(one, reconciling.MISMATCH, UNKNOWN, "-") for one in messages], by="test"
    )
    assert reconciling.findings(ledger)[0].messages == 2
    one, other = again(ledger, campaign)
    reconciling.settle(ledger, campaign, [found(one, "x"), Settlement(other, "look", UNKNOWN, "not listed")], by="test")
    assert reconciling.findings(ledger) == []


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
        reconciling.settle(
            ledger, campaign, [Settlement(one, decision, UNKNOWN, "not listed") for one in waiting], by="test"
        )
    with ledger.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.settlement)).scalar() == 1


def test_a_cancelled_campaign_keeps_what_is_unknown(url: str, ledger: Ledger) -> None:
    campaign = planned(ledger, 20)
    sending.record_unknown(ledger, claimed(ledger, campaign))
    with another(url) as other:
        assert deliveries.cancel(other, campaign) == 10
    assert states(ledger, campaign) == {"unknown": 10, "cancelled": 10}
