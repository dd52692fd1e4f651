"""A person's word: it settles everything it names or nothing, and is kept with who and why."""

from __future__ import annotations

import sqlalchemy as sa

from posthorn.ledger import deliveries, reconciling, resolving, sending
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Answer, MessageState, Phone, Receipt
from tests.ledger.ledgers import ACCEPTED, UNKNOWN, answer, claimed, planned, states


def in_doubt(ledger: Ledger) -> tuple[Delivery, list[Phone]]:
    """Two chunks of ten: of the first, three messages are unknown; the second is accepted."""
    campaign = planned(ledger, 20)
    for doubtful in ([UNKNOWN] * 3, []):
        claim = claimed(ledger, campaign)
        sending.record(ledger, claim, answer(claim, *doubtful))
    return campaign, resolving.unknown_phones(ledger, campaign)


def word(ledger: Ledger, campaign: Delivery, phones: list[Phone], *, taken: bool) -> list[Phone]:
    return resolving.resolve(ledger, campaign, phones, taken=taken, by="Ada", why="seen in the panel")


def kept(ledger: Ledger) -> list[tuple[str, str, str, int]]:
    settlement = tables.settlement.c
    with ledger.read() as connection:
        query = sa.select(settlement.decision, settlement.by, settlement.evidence, settlement.state)
        return [tuple(row) for row in connection.execute(query)]


def test_what_was_taken_is_accepted_and_what_was_not_is_pending(ledger: Ledger) -> None:
    campaign, phones = in_doubt(ledger)
    assert word(ledger, campaign, phones[:1], taken=True) == []
    assert word(ledger, campaign, phones[1:], taken=False) == []
    assert states(ledger, campaign) == {"accepted": 18, "pending": 2}
    assert kept(ledger) == [("resolved", "Ada", "seen in the panel", state) for state in (1, 0, 0)]
    assert set(claimed(ledger, campaign).phones) == set(phones[1:])


def test_a_number_of_no_unknown_message_undoes_the_whole_word(ledger: Ledger) -> None:
    campaign, phones = in_doubt(ledger)
    accepted, nobody = Phone(phones[0] - 1), Phone(48_700_000_000)
    assert word(ledger, campaign, [*phones, accepted, nobody], taken=False) == [accepted, nobody]
    assert states(ledger, campaign) == {"accepted": 17, "unknown": 3}
    assert kept(ledger) == []


def test_the_unknown_of_another_campaign_are_not_meant(ledger: Ledger) -> None:
    campaign, phones = in_doubt(ledger)
    other = planned(ledger, 20, name="other")
    sending.record_unknown(ledger, claimed(ledger, other))
    assert word(ledger, campaign, phones, taken=True) == []
    assert states(ledger, other) == {"unknown": 10, "pending": 10}


def test_of_a_cancelled_campaign_nothing_becomes_pending(ledger: Ledger) -> None:
    campaign, phones = in_doubt(ledger)
    deliveries.cancel(ledger, campaign)
    assert word(ledger, deliveries.get(ledger, "sale"), phones, taken=False) == []
    assert states(ledger, campaign) == {"accepted": 17, "cancelled": 3}


def test_a_second_word_finds_nothing_to_settle(ledger: Ledger) -> None:
    campaign, phones = in_doubt(ledger)
    word(ledger, campaign, phones, taken=True)
    assert word(ledger, campaign, phones, taken=False) == phones
    assert states(ledger, campaign) == {"accepted": 20}


def test_what_is_called_taken_is_still_looked_up_for_its_id(ledger: Ledger) -> None:
    campaign, phones = in_doubt(ledger)
    word(ledger, campaign, phones, taken=True)
    assert {one.phone for one in reconciling.without_id(ledger, campaign, 100)} == set(phones)


def test_an_id_of_what_was_called_not_sent_is_found_again_by_a_later_lookup(ledger: Ledger) -> None:
    """It may have gone out after all: then its row is the message's own, and it is not sent a third time."""
    campaign = planned(ledger, 1)
    sending.record(ledger, claimed(ledger, campaign), Answer([Receipt(UNKNOWN, "x")], anomalies=["two items"]))
    word(ledger, campaign, resolving.unknown_phones(ledger, campaign), taken=False)
    sending.record_unknown(ledger, claimed(ledger, campaign))
    assert reconciling.bound_ids(ledger, ["x"]) == set()
    (message,) = reconciling.unconfirmed(ledger, campaign, 10)
    found = reconciling.Decision(message, "found", MessageState(ACCEPTED), "listed as sent", "x")
    assert reconciling.settle(ledger, campaign, [found], by="test") == 1
