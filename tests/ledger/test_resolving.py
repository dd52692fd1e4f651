"""A person's word: it settles, or sends again, everything it names or nothing, and is kept with who and why."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from posthorn.ledger import amending, deliveries, reconciling, reporting, resolving, sending, suppression
from posthorn.ledger.costs import Limits
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.resolving import EVERYTHING, FAILED, RESENDABLE, Which
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Answer, MessageState, OptOut, Phone, Receipt, Report, Scope
from posthorn.prices import Rate
from tests.ledger.ledgers import (
    ACCEPTED,
    FIRST_PHONE,
    LATEST,
    OWNER,
    PENDING,
    REJECTED,
    UNKNOWN,
    answer,
    claim_one,
    claimed,
    ids,
    planned,
    states,
)


def in_doubt(ledger: Ledger) -> tuple[Delivery, list[Phone]]:
    """Two chunks of ten: of the first, three messages are unknown; the second is accepted."""
    campaign = planned(ledger, 20)
    for doubtful in ([UNKNOWN] * 3, []):
        claim = claimed(ledger, campaign)
        sending.record(ledger, claim, answer(claim, *doubtful))
    return campaign, unknown_phones(ledger, campaign)


def unknown_phones(ledger: Ledger, campaign: Delivery) -> list[Phone]:
    return [one.phone for one in reconciling.evidence_of(ledger, campaign)]


def word(ledger: Ledger, campaign: Delivery, phones: list[Phone], *, taken: bool) -> list[Phone | str]:
    """Who is named and is not an unknown message of the campaign."""
    said = resolving.resolve(ledger, campaign, Which(phones), taken=taken, by="Ada", why="seen in the panel")
    return [*(one.phone for one in said.others), *said.strangers]


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
    word(ledger, campaign, unknown_phones(ledger, campaign), taken=False)
    sending.record_unknown(ledger, claimed(ledger, campaign))
    assert reconciling.bound_ids(ledger, ["x"]) == set()
    (message,) = reconciling.unconfirmed(ledger, campaign, 10)
    found = reconciling.Settlement(message, "found", MessageState(ACCEPTED), "listed as sent", "x")
    assert reconciling.settle(ledger, campaign, [found], by="test") == 1


def in_every_state(ledger: Ledger) -> tuple[Delivery, dict[MessageState, Phone]]:
    """A chunk with one message in each state that an answer can leave, and one number of each."""
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    outcomes = [*MessageState, MessageState.ACCEPTED][:10]
    receipts = [
        Receipt(state, None if state in (PENDING, REJECTED, UNKNOWN) else provider_id)
        for state, provider_id in zip(outcomes, ids(claim), strict=True)
    ]
    sending.record(ledger, claim, Answer(receipts))
    return campaign, dict(zip(outcomes, claim.phones, strict=True))


def again(ledger: Ledger, campaign: Delivery, which: Which, chosen: tuple[MessageState, ...]) -> resolving.Word:
    return resolving.resend(ledger, campaign, which, chosen, by="Ada", why="the picture was refused")


def test_what_failed_is_sent_again_and_nothing_else_of_its_chunk(ledger: Ledger) -> None:
    campaign, phones = in_every_state(ledger)
    before = states(ledger, campaign)
    assert again(ledger, campaign, EVERYTHING, FAILED).moved == 2
    after = states(ledger, campaign)
    assert after.pop("pending") == 3
    assert after == {name: count for name, count in before.items() if name not in ("pending", "rejected", "undelivered")}
    wanted = {phones[state] for state in (PENDING, *FAILED)}
    assert set(claimed(ledger, campaign).phones) == wanted
    assert [(decision, by) for decision, by, _, _ in kept(ledger)] == [("resend", "Ada")] * 2
    assert "the picture was refused; was undelivered as id-" in " ".join(evidence for _, _, evidence, _ in kept(ledger))


def test_the_id_of_an_attempt_that_is_replaced_is_nobodys_for_ever(ledger: Ledger) -> None:
    campaign, phones = in_every_state(ledger)
    with ledger.read() as connection:
        where = tables.message.c.phone == phones[MessageState.UNDELIVERED]
        (former,) = connection.execute(sa.select(tables.message.c.provider_id).where(where)).scalars()
    again(ledger, campaign, Which([phones[MessageState.UNDELIVERED]]), FAILED)
    assert reconciling.bound_ids(ledger, [former]) == {former}


@pytest.mark.parametrize("state", [one for one in MessageState if one not in RESENDABLE])
def test_no_word_has_these_sent_again(state: MessageState, ledger: Ledger) -> None:
    campaign, phones = in_every_state(ledger)
    before = states(ledger, campaign)
    said = again(ledger, campaign, Which([phones[MessageState.REJECTED], phones[state]]), RESENDABLE)
    assert [(one.phone, one.state) for one in said.others] == [(phones[state], state)]
    assert states(ledger, campaign) == before
    assert kept(ledger) == []


def test_what_is_under_way_is_not_moved(ledger: Ledger) -> None:
    """One of its chunk was refused before; the rest is in a request right now."""
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, answer(claim, REJECTED, PENDING))
    under_way = claimed(ledger, campaign)
    assert again(ledger, campaign, EVERYTHING, FAILED).moved == 0
    (one,) = again(ledger, campaign, Which([claim.phones[8]]), FAILED).others
    assert one.is_sending
    sending.record(ledger, under_way, answer(under_way))
    assert states(ledger, campaign) == {"accepted": 9, "rejected": 1}


def test_a_number_of_another_campaign_is_a_stranger(ledger: Ledger) -> None:
    campaign, _ = in_every_state(ledger)
    other = planned(ledger, 1, name="other", first=100)
    sending.record(ledger, (claim := claimed(ledger, other)), answer(claim, REJECTED))
    assert again(ledger, campaign, Which(claim.phones), RESENDABLE).strangers == claim.phones
    assert states(ledger, other) == {"rejected": 1}


@pytest.mark.parametrize("which", ["opted out", "written to by another"])
def test_a_resend_that_may_not_go_after_all_leaves_what_had_left_as_it_was(which: str, ledger: Ledger) -> None:
    campaign, phones = in_every_state(ledger)
    with ledger.read() as connection:
        before = set(connection.execute(sa.select(tables.message.c.provider_id)).scalars())
    assert again(ledger, campaign, EVERYTHING, RESENDABLE).moved == 5
    if which == "opted out":
        suppression.add(ledger, [OptOut(phone, Scope.MARKETING, "reply") for phone in phones.values()], by="test")
        limits = Limits()
    else:
        claimed(ledger, planned(ledger, 10, name="another"))
        limits = Limits(rate=Rate(1, 3600.0))
    assert claim_one(ledger, campaign, OWNER, 1, LATEST, None, limits) is None
    assert states(ledger, campaign) == {
        "accepted": 1,
        "scheduled": 1,
        "unknown": 1,
        "delivered": 1,
        "undelivered": 1,
        "no_report": 1,
        "cancelled": 1,
        "suppressed": 3,
    }, "what never left is suppressed: it was pending, or was rejected"
    with ledger.read() as connection:
        assert set(connection.execute(sa.select(tables.message.c.provider_id)).scalars()) == before
        replaced = connection.execute(sa.select(tables.settlement.c.replaced_id)).scalars()
        assert [one for one in replaced if one is not None] == [], "news of it counts again, and it is paid for once"


def test_a_resend_whose_second_attempt_has_left_is_not_undone_by_an_older_one(ledger: Ledger) -> None:
    campaign = planned(ledger, 1)
    for _ in range(2):
        sending.record(ledger, one := claimed(ledger, campaign), Answer([Receipt(ACCEPTED, f"id-{one.epoch}")]))
        again(ledger, campaign, EVERYTHING, RESENDABLE)
    suppression.add(ledger, [OptOut(one.phones[0], Scope.ALL, "reply")], by="test")
    assert claim_one(ledger, campaign, OWNER, 1, LATEST) is None
    assert states(ledger, campaign) == {"accepted": 1}
    with ledger.read() as connection:
        assert connection.execute(sa.select(tables.message.c.provider_id)).scalars().all() == ["id-2"]
        assert [*connection.execute(sa.select(tables.settlement.c.replaced_id)).scalars()] == ["id-1", None, None]


def sent_twice(ledger: Ledger, *outcomes: Receipt, why: str = "the picture was refused") -> Delivery:
    """One message: each outcome was recorded in its turn, and sent again."""
    campaign = planned(ledger, 1)
    for outcome in outcomes:
        sending.record(ledger, claimed(ledger, campaign), Answer([outcome]))
        assert resolving.resend(ledger, campaign, EVERYTHING, RESENDABLE, by="Ada", why=why).moved == 1
    return campaign


def as_it_stands(ledger: Ledger) -> tuple[MessageState, str | None]:
    with ledger.read() as connection:
        state, provider_id = connection.execute(sa.select(tables.message.c.state, tables.message.c.provider_id)).one()
    return MessageState(state), provider_id


def ends(ledger: Ledger, campaign: Delivery, how: str) -> None:
    """What was to be sent again is not to go after all."""
    if how == "cancelled":
        assert deliveries.cancel(ledger, campaign) == (as_it_stands(ledger)[0] is MessageState.CANCELLED)
    elif how == "taken out":
        amending.take_out(ledger, campaign, EVERYTHING_OF_ONE, by="Ada", why="asked for it")
    elif how == "taken out, called not sent":
        sending.record_unknown(ledger, claimed(ledger, campaign))
        amending.take_out(ledger, campaign, EVERYTHING_OF_ONE, by="Ada", why="asked for it")
        resolving.resolve(ledger, campaign, EVERYTHING, taken=False, by="Ada", why="the panel does not list it")
    elif how == "cancelled, called not sent":
        sending.record_unknown(ledger, claimed(ledger, campaign))
        deliveries.cancel(ledger, campaign)
        campaign = deliveries.get(ledger, "sale")
        resolving.resolve(ledger, campaign, EVERYTHING, taken=False, by="Ada", why="the panel does not list it")
    else:
        suppression.add(ledger, [OptOut(Phone(FIRST_PHONE), Scope.ALL, "reply")], by="test")
        assert claim_one(ledger, campaign, OWNER, 1, LATEST) is None


EVERYTHING_OF_ONE = Which([Phone(FIRST_PHONE)])
ENDINGS = ["cancelled", "cancelled, called not sent", "taken out", "taken out, called not sent", "opted out"]


@pytest.mark.parametrize("how", ENDINGS)
def test_what_had_left_and_is_not_to_go_again_after_all_is_what_it_was(how: str, ledger: Ledger) -> None:
    campaign = sent_twice(ledger, Receipt(ACCEPTED, "id-1"))
    ends(ledger, campaign, how)
    assert as_it_stands(ledger) == (ACCEPTED, "id-1")
    with ledger.read() as connection:
        assert [one for one in connection.execute(sa.select(tables.settlement.c.replaced_id)).scalars() if one] == []


@pytest.mark.parametrize("how", ENDINGS)
def test_what_was_refused_the_second_time_had_left_the_first(how: str, ledger: Ledger) -> None:
    campaign = sent_twice(ledger, Receipt(ACCEPTED, "id-1"), Receipt(REJECTED, "id-2", "3103"))
    ends(ledger, campaign, how)
    assert as_it_stands(ledger) == (ACCEPTED, "id-1")


@pytest.mark.parametrize("how", ENDINGS)
def test_what_never_left_is_not_called_accepted_whatever_the_reason_says(how: str, ledger: Ledger) -> None:
    campaign = sent_twice(ledger, Receipt(REJECTED, "id-1", "3103"), why="odd; was accepted as spam")
    ends(ledger, campaign, how)
    assert as_it_stands(ledger)[0] in (MessageState.CANCELLED, MessageState.SUPPRESSED)


def test_what_was_taken_and_then_refused_under_one_id_had_not_left(ledger: Ledger) -> None:
    campaign = sent_twice(ledger, Receipt(ACCEPTED, "id-1"))
    ends(ledger, campaign, "opted out")
    suppression.remove(ledger, Phone(FIRST_PHONE), list(Scope), by="Ada", why="asked for it")
    report = Report("id-1", MessageState.REJECTED, "unsent", Phone(FIRST_PHONE))
    assert reporting.apply_reports(ledger, [report]) == 1
    assert again(ledger, campaign, EVERYTHING, RESENDABLE).moved == 1
    ends(ledger, campaign, "cancelled")
    assert as_it_stands(ledger) == (MessageState.CANCELLED, None)


def test_a_cancel_mends_what_an_older_version_called_cancelled(ledger: Ledger) -> None:
    campaign = sent_twice(ledger, Receipt(ACCEPTED, "id-1"))
    with ledger.write() as connection:
        connection.execute(tables.message.update().values(state=int(MessageState.CANCELLED)))
        deliveries.recount(connection, "campaign_id = :campaign", campaign=campaign.id)
    assert deliveries.cancel(ledger, campaign) == 0
    assert states(ledger, campaign) == {"accepted": 1}


def test_a_second_attempt_that_is_withdrawn_leaves_the_first_as_it_was(ledger: Ledger) -> None:
    campaign = sent_twice(ledger, Receipt(ACCEPTED, "id-1"))
    sending.record(ledger, claimed(ledger, campaign), Answer([Receipt(MessageState.SCHEDULED, "id-2")]))
    deliveries.cancel(ledger, campaign)
    assert reporting.mark_cancelled(ledger, ["id-2"]) == 1
    assert as_it_stands(ledger) == (ACCEPTED, "id-1")
