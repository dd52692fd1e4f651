"""Second copies in the ledger: which count, which do not any more, and what a late answer proves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from posthorn.ledger import copies, deliveries, reconciling, sending, totals
from posthorn.ledger.claims import Claim, ClaimLost
from posthorn.ledger.copies import Copy
from posthorn.ledger.reconciling import Settlement
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Answer, MessageState, Receipt
from tests.ledger.ledgers import answer, claimed, ids, planned, states

ACCEPTED, SCHEDULED, PENDING, UNKNOWN = (
    MessageState.ACCEPTED,
    MessageState.SCHEDULED,
    MessageState.PENDING,
    MessageState.UNKNOWN,
)


def sent_again(ledger: Ledger) -> tuple[deliveries.Delivery, Claim, Claim]:
    """A campaign of one chunk whose first request has no outcome, and which was claimed again after two looks."""
    campaign = planned(ledger, 10)
    first = claimed(ledger, campaign)
    sending.record_unknown(ledger, first)
    unknown = reconciling.unconfirmed(ledger, campaign, 100)
    reconciling.settle(
        ledger, campaign, [Settlement(one, "resend", PENDING, "not listed, twice") for one in unknown], by="x"
    )
    return campaign, first, claimed(ledger, campaign)


def count(ledger: Ledger, campaign: deliveries.Delivery) -> int:
    told = totals.status(ledger, campaign)
    assert told["second_copies"] == len(copies.counted(ledger, campaign))
    return int(told["second_copies"])


def comes_late(ledger: Ledger, claim: Claim) -> None:
    with pytest.raises(ClaimLost):
        sending.record(ledger, claim, answer(claim))


def test_a_late_answer_that_names_ids_proves_second_copies(ledger: Ledger) -> None:
    campaign, first, second = sent_again(ledger)
    comes_late(ledger, first)
    assert count(ledger, campaign) == 0, "the second request has no outcome yet: perhaps there is only this copy"
    sending.record(ledger, second, answer(second))
    assert states(ledger, campaign) == {"accepted": 10}
    assert count(ledger, campaign) == 10
    assert totals.status(ledger, campaign)["state"] == "needs_attention"
    assert set(copies.counted(ledger, campaign)) == set(ids(first))


def test_a_late_answer_that_a_lookup_had_found_already_proves_nothing(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    first = claimed(ledger, campaign)
    sending.record_unknown(ledger, first)
    unknown = reconciling.unconfirmed(ledger, campaign, 100)
    found = [Settlement(one, "found", ACCEPTED, "listed", own) for one, own in zip(unknown, ids(first), strict=True)]
    reconciling.settle(ledger, campaign, found, by="x")
    comes_late(ledger, first)
    assert count(ledger, campaign) == 0
    assert totals.status(ledger, campaign)["state"] == "finished"


def test_what_a_late_answer_refused_or_does_not_name_is_no_copy(ledger: Ledger) -> None:
    campaign, first, second = sent_again(ledger)
    sending.record(ledger, second, answer(second))
    receipts = [Receipt(MessageState.REJECTED, "refused-1", "3103"), *[Receipt(ACCEPTED)] * 9]
    with pytest.raises(ClaimLost):
        sending.record(ledger, first, Answer(receipts))
    assert count(ledger, campaign) == 0


def copy(claim: Claim, provider_id: str, state: MessageState = ACCEPTED, position: int = 0) -> Copy:
    return Copy(provider_id, claim.chunk_id, position, state, "listed")


def test_a_copy_counts_once_until_it_is_withdrawn_and_again_when_it_is_listed_again(ledger: Ledger) -> None:
    campaign, _, second = sent_again(ledger)
    sending.record(ledger, second, answer(second))
    for _ in range(2):
        copies.keep(ledger, campaign, [copy(second, "surplus", SCHEDULED)])
    assert copies.counted(ledger, campaign) == {"surplus": SCHEDULED}
    copies.mark_withdrawn(ledger, ["surplus"])
    assert count(ledger, campaign) == 0
    copies.keep(ledger, campaign, [copy(second, "surplus", ACCEPTED)])
    assert copies.counted(ledger, campaign) == {"surplus": ACCEPTED}


def test_a_copy_of_one_campaign_is_not_anothers(ledger: Ledger) -> None:
    campaign, _, second = sent_again(ledger)
    sending.record(ledger, second, answer(second))
    other = planned(ledger, 10, name="other", first=100)
    copies.keep(ledger, campaign, [copy(second, "surplus")])
    assert (count(ledger, campaign), count(ledger, other)) == (1, 0)


def test_a_message_stands_for_the_copy_that_went_out_and_its_own_is_the_surplus(ledger: Ledger) -> None:
    campaign, _, second = sent_again(ledger)
    held: Sequence[Receipt] = [Receipt(SCHEDULED, own) for own in ids(second)]
    sending.record(ledger, second, Answer(held))
    suspect = copies.suspects(ledger, campaign, 1)[0]
    assert copies.adopt(ledger, campaign, suspect, copy(second, "went-out"))
    assert not copies.adopt(ledger, campaign, suspect, copy(second, "another")), "it has moved since"
    assert states(ledger, campaign) == {"accepted": 1, "scheduled": 9}
    assert copies.counted(ledger, campaign) == {ids(second)[0]: SCHEDULED}


def test_what_is_not_settled_is_no_suspect(ledger: Ledger) -> None:
    campaign, _, second = sent_again(ledger)
    assert copies.suspects(ledger, campaign, 100) == []
    sending.record(ledger, second, answer(second, UNKNOWN))
    assert [one.position for one in copies.suspects(ledger, campaign, 100)] == list(range(9))
    assert all(len(one.attempts) == 2 for one in copies.suspects(ledger, campaign, 100))
    paged = copies.suspects(ledger, campaign, 4, after=(second.chunk_id, 3))
    assert [one.position for one in paged] == [4, 5, 6, 7]


def test_a_number_is_in_doubt_while_another_campaign_of_that_title_has_it_open(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    other = planned(ledger, 10, name="other")
    first = claimed(ledger, other)
    assert set(copies.open_elsewhere(ledger, campaign, first.phones)) == set(first.phones), "it is in flight"
    sending.record_unknown(ledger, first)
    assert set(copies.open_elsewhere(ledger, campaign, first.phones)) == set(first.phones)
    assert copies.open_elsewhere(ledger, other, first.phones) == {}, "not by itself"
    unknown = reconciling.unconfirmed(ledger, other, 100)
    found = [Settlement(one, "found", ACCEPTED, "listed", own) for one, own in zip(unknown, ids(first), strict=True)]
    reconciling.settle(ledger, other, found, by="x")
    assert set(copies.open_elsewhere(ledger, campaign, first.phones)) == set()


def test_the_requests_that_a_surplus_copy_may_come_of(ledger: Ledger) -> None:
    campaign = planned(ledger, 20)
    lost = claimed(ledger, campaign)
    sending.record_unknown(ledger, lost)
    taken = claimed(ledger, campaign)
    sending.record(ledger, taken, answer(taken))
    assert copies.begun(ledger, campaign) == [], "nothing was sent again"
    deliveries.cancel(ledger, campaign)
    now = deliveries.get(ledger, "sale")
    assert len(copies.begun(ledger, now)) == 1, "of a cancelled one, what may still arrive"


def test_what_waits_for_a_moment_is_found_by_it(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    deliveries.note_last_look(ledger, campaign, 1_000.0)
    deliveries.note_going_on(ledger, campaign, "hours", 2_000.0)
    assert [one.name for one in deliveries.looks_due(ledger, 1_001.0)] == ["sale"]
    assert deliveries.looks_due(ledger, 1_000.0) == []
    deliveries.note_last_look(ledger, campaign, None)
    assert deliveries.looks_due(ledger, 1_001.0) == []
    assert [one.name for one in deliveries.going_on(ledger, 2_001.0)] == ["sale"], "the one wait is not the other"
    assert deliveries.going_on(ledger, 2_000.0) == []
    deliveries.stop_run(ledger, campaign, because="not approved by Ada")
    assert deliveries.going_on(ledger, 2_001.0) == []
