"""Reports move what is open and nothing that is final; silence ends, and a late report is news all the same."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from posthorn.ledger import reporting, sending
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import UNREPORTED_STATES, Answer, MessageState, Receipt, Report
from tests.ledger.ledgers import UNKNOWN, answer, claimed, ids, planned, states

S = MessageState
WORDS = {
    S.DELIVERED: "delivered",
    S.UNDELIVERED: "undelivered",
    S.ACCEPTED: "sent",
    S.SCHEDULED: "saved",
    S.REJECTED: "unsent",
}


def one_in(ledger: Ledger, state: MessageState) -> Delivery:
    """A campaign of one message with the id ``x``, brought into a state."""
    campaign = planned(ledger, 1)
    sending.record(ledger, claimed(ledger, campaign), Answer([Receipt(state, "x")]))
    return campaign


def report(state: MessageState, provider_id: str = "x", **more: object) -> Report:
    return Report(provider_id, state, WORDS[state], **more)


# State, report, state after it.
MOVES = [
    (S.ACCEPTED, S.DELIVERED, S.DELIVERED),
    (S.ACCEPTED, S.UNDELIVERED, S.UNDELIVERED),
    (S.ACCEPTED, S.REJECTED, S.REJECTED),
    (S.ACCEPTED, S.ACCEPTED, S.ACCEPTED),
    (S.ACCEPTED, S.SCHEDULED, S.ACCEPTED),
    (S.SCHEDULED, S.ACCEPTED, S.ACCEPTED),
    (S.SCHEDULED, S.DELIVERED, S.DELIVERED),
    (S.SCHEDULED, S.SCHEDULED, S.SCHEDULED),
    (S.NO_REPORT, S.DELIVERED, S.DELIVERED),
    (S.NO_REPORT, S.ACCEPTED, S.NO_REPORT),
    (S.DELIVERED, S.UNDELIVERED, S.DELIVERED),
    (S.DELIVERED, S.ACCEPTED, S.DELIVERED),
    (S.UNDELIVERED, S.DELIVERED, S.UNDELIVERED),
    (S.REJECTED, S.DELIVERED, S.REJECTED),
    (S.CANCELLED, S.DELIVERED, S.CANCELLED),
    (S.UNKNOWN, S.DELIVERED, S.UNKNOWN),
    (S.PENDING, S.DELIVERED, S.PENDING),
]


@pytest.mark.parametrize(("now", "reported", "after"), MOVES, ids=lambda state: state.name.lower())
def test_a_report_moves_what_is_open_and_nothing_else(
    now: MessageState, reported: MessageState, after: MessageState, ledger: Ledger
) -> None:
    campaign = one_in(ledger, now)
    assert reporting.apply_reports(ledger, [report(reported)]) == (now != after)
    assert states(ledger, campaign) == {after.name.lower(): 1}


def test_reasons_and_times_are_kept(ledger: Ledger) -> None:
    one_in(ledger, S.ACCEPTED)
    moment = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
    reporting.apply_reports(ledger, [report(S.UNDELIVERED, reason="message_expired", delivered_at=moment)])
    with ledger.read() as connection:
        row = connection.execute(sa.select(tables.message.c.error, tables.message.c.delivered_at)).one()
    assert (row.error, row.delivered_at) == ("message_expired", moment.timestamp())


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_reports_at_once_a_final_one_counts_whatever_their_order(order: int, ledger: Ledger) -> None:
    campaign = one_in(ledger, S.SCHEDULED)
    told = [report(S.SCHEDULED), report(S.DELIVERED), report(S.ACCEPTED)]
    assert reporting.apply_reports(ledger, told[::order]) == 1
    assert states(ledger, campaign) == {"delivered": 1}


def test_what_was_scheduled_ends_too_where_its_time_is_known(ledger: Ledger) -> None:
    campaign = one_in(ledger, S.SCHEDULED)
    waiting = UNREPORTED_STATES
    assert reporting.expire(ledger, campaign, sent_before=time.time() + 1, states=waiting) == 1
    assert states(ledger, campaign) == {"no_report": 1}


def test_unknown_ids_change_nothing(ledger: Ledger) -> None:
    campaign = one_in(ledger, S.ACCEPTED)
    assert reporting.apply_reports(ledger, [report(S.DELIVERED, "y"), report(S.DELIVERED, "z")]) == 0
    assert reporting.apply_reports(ledger, []) == 0
    assert states(ledger, campaign) == {"accepted": 1}


def test_reports_of_many_chunks_are_counted_in_each(ledger: Ledger) -> None:
    campaign = planned(ledger, 50)
    claims = [claimed(ledger, campaign) for _ in range(5)]
    for claim in claims:
        sending.record(ledger, claim, answer(claim))
    news = [report(S.DELIVERED, provider_id) for claim in reversed(claims) for provider_id in ids(claim)[:7]]
    assert reporting.apply_reports(ledger, news) == 35
    assert states(ledger, campaign) == {"accepted": 15, "delivered": 35}


def test_of_a_thousand_reports_each_moves_its_own_message(ledger: Ledger) -> None:
    campaign = planned(ledger, 1_203, chunk_size=401)
    claims = [claimed(ledger, campaign) for _ in range(3)]
    for claim in claims:
        sending.record(ledger, claim, answer(claim))
    moment = datetime(2026, 11, 30, 9, 0, 0, 123_457, tzinfo=UTC)
    expected = {}
    news = []
    for number, provider_id in enumerate(one for claim in claims for one in ids(claim)):
        reason, at = ("é'" * number)[:70] or None, moment + timedelta(seconds=number) if number % 3 else None
        state = (S.DELIVERED, S.UNDELIVERED, S.REJECTED)[number % 3]
        news.append(report(state, provider_id, reason=reason, delivered_at=at))
        expected[provider_id] = (state, reason and reason[:64], at and at.timestamp())
    assert reporting.apply_reports(ledger, news) == 1_203
    with ledger.read() as connection:
        row = tables.message.c
        kept = connection.execute(sa.select(row.provider_id, row.state, row.error, row.delivered_at)).all()
    assert {one.provider_id: (one.state, one.error, one.delivered_at) for one in kept} == expected
    assert states(ledger, campaign) == {"delivered": 401, "undelivered": 401, "rejected": 401}


def test_reports_about_a_chunk_that_is_being_sent_again_are_counted_at_once(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    first = claimed(ledger, campaign)
    sending.record(ledger, first, answer(first, S.PENDING))
    second = claimed(ledger, campaign)
    assert reporting.apply_reports(ledger, [report(S.DELIVERED, provider_id) for provider_id in ids(first)[:4]]) == 4
    assert states(ledger, campaign) == {"accepted": 5, "delivered": 4, "pending": 1}
    sending.record(ledger, second, answer(second))
    assert states(ledger, campaign) == {"accepted": 6, "delivered": 4}


def test_open_ids_are_told_in_pages_in_order_and_only_once(ledger: Ledger) -> None:
    campaign = planned(ledger, 35)
    expected = []
    for _ in range(4):
        claim = claimed(ledger, campaign)
        given = answer(claim, UNKNOWN)
        sending.record(ledger, claim, given)
        expected += [receipt.provider_id for receipt in given.receipts if receipt.provider_id]
    chunks = [chunk.id for chunk in reporting.open_chunks(ledger, campaign)]
    asked = list(reporting.questions(ledger, chunks, 8))
    assert [len(question.ids) for question in asked] == [8, 8, 8, 7]
    assert [provider_id for question in asked for provider_id in question.ids] == expected
    assert [question.completes for question in asked] == [set(), {chunks[0]}, {chunks[1]}, set(chunks[2:])]


def test_what_was_asked_is_noted_by_chunk_until_a_hint_has_it_asked_again(ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    claims = [claimed(ledger, campaign) for _ in range(3)]
    for claim in claims:
        sending.record(ledger, claim, answer(claim))

    def asked() -> list[float | None]:
        return [chunk.asked_at for chunk in reporting.open_chunks(ledger)]

    reporting.note_asked(ledger, {claims[0].chunk_id, claims[2].chunk_id}, 7.0)
    assert asked() == [7.0, None, 7.0]
    assert reporting.apply_reports(ledger, [report(S.DELIVERED, ids(claims[0])[0])]) == 1
    assert asked() == [7.0, None, 7.0], "news is no question"
    reporting.ask_soon(ledger, [ids(claims[0])[0], ids(claims[2])[5], "y"])
    assert asked() == [7.0, None, None], "what is final is not asked about again"


def test_silence_ends_as_no_report_and_what_is_recent_waits_on(ledger: Ledger) -> None:
    campaign = planned(ledger, 20)
    old, recent = claimed(ledger, campaign), claimed(ledger, campaign)
    for claim in (old, recent):
        sending.record(ledger, claim, answer(claim, S.REJECTED, S.SCHEDULED))
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE chunk SET finished_at = 100 WHERE id = :id"), {"id": old.chunk_id})
    assert reporting.expire(ledger, campaign, sent_before=time.time() - 3600) == 8
    assert states(ledger, campaign) == {"accepted": 8, "no_report": 8, "rejected": 2, "scheduled": 2}
    assert reporting.expire(ledger, campaign, sent_before=time.time() - 3600) == 0
    late = [report(S.DELIVERED, provider_id) for provider_id in ids(old)[:3]]
    assert reporting.apply_reports(ledger, late) == 3
    assert states(ledger, campaign) == {"accepted": 8, "delivered": 3, "no_report": 5, "rejected": 2, "scheduled": 2}


def test_only_what_was_scheduled_can_be_called_withdrawn(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, answer(claim, *[S.SCHEDULED] * 4))
    assert reporting.mark_cancelled(ledger, [*ids(claim), "y"]) == 4
    assert states(ledger, campaign) == {"accepted": 6, "cancelled": 4}
    assert reporting.mark_cancelled(ledger, ids(claim)) == 0
    assert reporting.mark_cancelled(ledger, []) == 0
