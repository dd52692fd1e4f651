"""What became of a request: recorded once, while its claim stands; late news adds what it knows and undoes nothing."""

from __future__ import annotations

import logging

import pytest
import sqlalchemy as sa

from posthorn.errors import Evidence, OutcomeUnknown, SlowDown
from posthorn.gateways.registry import code_words
from posthorn.ledger import reconciling, sending
from posthorn.ledger.claims import Claim, ClaimLost
from posthorn.ledger.reconciling import Settlement
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import AllTaken, Answer, ChunkState, MessageState, Receipt
from tests.ledger.ledgers import (
    ACCEPTED,
    OWNER,
    PENDING,
    REJECTED,
    UNKNOWN,
    ZOMBIE,
    answer,
    attempts,
    chunk_state,
    claim_one,
    claimed,
    everything_adds_up,
    ids,
    last_chunk,
    planned,
    states,
)

ANSWERS = {
    "everybody taken": ((), {"accepted": 10}, ChunkState.DONE),
    "some refused": ((REJECTED, REJECTED), {"accepted": 8, "rejected": 2}, ChunkState.DONE),
    "some not mentioned": ((UNKNOWN,), {"accepted": 9, "unknown": 1}, ChunkState.UNKNOWN),
    "the credit ran out midway": ((PENDING,) * 4, {"accepted": 6, "pending": 4}, ChunkState.PENDING),
    "all of it at once": (
        (REJECTED, UNKNOWN, PENDING, MessageState.SCHEDULED),
        {"accepted": 6, "rejected": 1, "unknown": 1, "pending": 1, "scheduled": 1},
        ChunkState.PENDING,
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_each_recipient_gets_its_own_state(case: str, ledger: Ledger) -> None:
    given, expected, chunk = ANSWERS[case]
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, answer(claim, *given))
    assert states(ledger, campaign) == expected
    assert chunk_state(ledger, claim.chunk_id) == chunk
    assert attempts(ledger, claim.chunk_id) == ["answered"]


@pytest.mark.parametrize("shape", [AllTaken, None], ids=["all taken", "one by one"])
@pytest.mark.parametrize("claims", ["the whole chunk", "the rest of it", "its end"])
def test_an_answer_that_took_everybody_is_recorded_whatever_its_shape(claims: str, shape: object, ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    if claims != "the whole chunk":
        left = (PENDING, REJECTED, PENDING) if claims == "the rest of it" else (PENDING, PENDING)
        sending.record(ledger, claim, answer(claim, *left))
        claim = claimed(ledger, campaign)
    names = [f"new-{place}" for place in claim.positions]
    listed = [Receipt(MessageState.SCHEDULED, name) for name in names]
    sending.record(ledger, claim, Answer(AllTaken(MessageState.SCHEDULED, names) if shape else listed))
    message = tables.message.c
    query = sa.select(message.position, message.provider_id).where(message.state == int(MessageState.SCHEDULED))
    with ledger.read() as connection:
        kept = list(map(tuple, connection.execute(query.order_by(message.position))))
    assert kept == list(zip(claim.positions, names, strict=True))
    everything_adds_up(ledger)


def test_in_a_large_chunk_too_each_message_gets_its_own_id(ledger: Ledger) -> None:
    """A chunk taken as a whole is written in slices, by position."""
    campaign = planned(ledger, 1_203, chunk_size=1_203)
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, answer(claim))
    message = tables.message.c
    with ledger.read() as connection:
        kept = connection.execute(sa.select(message.provider_id).order_by(message.position)).scalars().all()
    assert kept == ids(claim)
    assert states(ledger, campaign) == {"accepted": 1_203}


def test_an_unknown_outcome_is_recorded_with_its_evidence(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    error = OutcomeUnknown("no complete answer", code="1010", evidence=Evidence("body", 502, b"<html>"))
    sending.record_unknown(ledger, claim, error)
    assert states(ledger, campaign) == {"unknown": 10}
    with ledger.read() as connection:
        kept = connection.execute(sa.select(tables.attempt)).mappings().one()
    assert (kept["outcome"], kept["code"], kept["status"], kept["trace"]) == ("unknown", "1010", 502, "body")
    assert (bytes(kept["raw"]), kept["problem"]) == (b"<html>", "no complete answer")


def test_what_was_surely_not_carried_out_is_pending_again(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    sending.release(ledger, claimed(ledger, campaign), SlowDown("429"))
    assert states(ledger, campaign) == {"pending": 10}
    again = claimed(ledger, campaign)
    assert again.epoch == 2
    assert attempts(ledger, again.chunk_id) == ["not_taken", "sending"]


def test_a_late_answer_after_the_claim_was_abandoned_adds_what_it_knows(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign, ZOMBIE)
    assert sending.abandon_dead(ledger, campaign) == 1
    assert states(ledger, campaign) == {"unknown": 10}
    sending.record(ledger, claim, answer(claim, UNKNOWN))
    assert states(ledger, campaign) == {"accepted": 9, "unknown": 1}


def test_a_late_answer_comes_in_time_before_what_is_absent_is_sent_again(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign, ZOMBIE)
    sending.abandon_dead(ledger, campaign)
    resend_everything(ledger, campaign)
    assert states(ledger, campaign) == {"pending": 10}
    sending.record(ledger, claim, answer(claim))
    assert states(ledger, campaign) == {"accepted": 10}
    assert claim_one(ledger, campaign, OWNER, 1, last_chunk(ledger, campaign)) is None


def resend_everything(ledger: Ledger, campaign) -> None:
    waiting = reconciling.unconfirmed(ledger, campaign, 100)
    reconciling.settle(ledger, campaign, [Settlement(one, "resend", PENDING, "absent") for one in waiting], by="test")


# What a zombie tries once its chunk has been claimed again by another.
LATE = {
    "answer": lambda ledger, claim: sending.record(ledger, claim, answer(claim)),
    "unknown": sending.record_unknown,
    "release": sending.release,
}


@pytest.mark.parametrize("by", [OWNER, ZOMBIE], ids=["by another", "by the same process"])
@pytest.mark.parametrize("news", LATE)
def test_nothing_late_counts_once_the_chunk_is_claimed_again(news: str, by: str, ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    old = claimed(ledger, campaign, ZOMBIE)
    sending.abandon_dead(ledger, campaign)
    resend_everything(ledger, campaign)
    new = claimed(ledger, campaign, by)
    with pytest.raises(ClaimLost):
        LATE[news](ledger, old)
    assert chunk_state(ledger, new.chunk_id) == ChunkState.SENDING
    assert states(ledger, campaign) == {"pending": 10}
    sending.record(ledger, new, answer(new))
    with pytest.raises(ClaimLost):
        LATE[news](ledger, old)
    assert states(ledger, campaign) == {"accepted": 10}


def test_an_answer_that_came_too_late_is_kept_and_an_alarm_is_given(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    campaign = planned(ledger, 10)
    old = claimed(ledger, campaign, ZOMBIE)
    sending.abandon_dead(ledger, campaign)
    resend_everything(ledger, campaign)
    new = claimed(ledger, campaign)
    with caplog.at_level(logging.WARNING), pytest.raises(ClaimLost):
        sending.record(ledger, old, answer(old))
    assert "may have been taken twice" in caplog.text
    assert "48500" not in caplog.text
    assert attempts(ledger, new.chunk_id) == ["late", "sending"]


# Late or repeated news of an attempt whose chunk was never claimed again, and what it may still do.
@pytest.mark.parametrize("news", ["unknown", "release"])
def test_only_an_answer_moves_what_is_already_settled(news: str, ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, answer(claim))
    with pytest.raises(ClaimLost):
        LATE[news](ledger, claim)
    assert states(ledger, campaign) == {"accepted": 10}


def test_an_abandoned_chunk_is_never_released(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign, ZOMBIE)
    sending.abandon_dead(ledger, campaign)
    with pytest.raises(ClaimLost):
        sending.release(ledger, claim)
    assert states(ledger, campaign) == {"unknown": 10}


def test_recording_an_answer_again_changes_nothing(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, answer(claim, UNKNOWN, REJECTED, PENDING))
    before = states(ledger, campaign)
    with pytest.raises(ClaimLost):
        sending.record(ledger, claim, answer(claim, UNKNOWN, REJECTED))
    assert states(ledger, campaign) == before
    assert attempts(ledger, claim.chunk_id) == ["answered"]


def test_a_claim_of_another_owner_does_not_count(ledger: Ledger) -> None:
    """The number of a chunk is used again when a test is planned anew; a spool of the old one must not reach the new one."""
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    forged = Claim(claim.chunk_id, claim.epoch, ZOMBIE, claim.positions, claim.phones)
    with pytest.raises(ClaimLost):
        sending.record(ledger, forged, answer(claim))
    assert states(ledger, campaign) == {"pending": 10}


def test_an_id_that_another_message_has_is_not_bound_twice(ledger: Ledger) -> None:
    campaign = planned(ledger, 20)
    first, second = claimed(ledger, campaign), claimed(ledger, campaign)
    sending.record(ledger, first, answer(first))
    mixed = [Receipt(ACCEPTED, ids(first)[0]), Receipt(ACCEPTED, "x"), Receipt(ACCEPTED, "x")]
    mixed += [Receipt(ACCEPTED, provider_id) for provider_id in ids(second)[3:]]
    sending.record(ledger, second, Answer(mixed))
    assert states(ledger, campaign) == {"accepted": 18, "unknown": 2}
    with ledger.read() as connection:
        query = sa.select(tables.message.c.error).where(tables.message.c.state == int(UNKNOWN))
        assert list(connection.execute(query).scalars()) == ["id bound already"] * 2
    assert [one.problem for one in reconciling.evidence_of(ledger, campaign)] == [
        code_words("serwersms", "id bound already")
    ] * 2


def test_a_second_attempt_of_unknown_outcome_is_dated_by_itself(ledger: Ledger) -> None:
    """Else the settle time of the second attempt would be counted from the first."""
    campaign = planned(ledger, 2)
    first = claimed(ledger, campaign, ZOMBIE)
    sending.abandon_dead(ledger, campaign)
    sending.record(ledger, first, answer(first, PENDING))  # late, and the credit had run out
    second = claimed(ledger, campaign)
    sending.record_unknown(ledger, second)
    (waiting,) = reconciling.unconfirmed(ledger, campaign, 10)
    with ledger.read() as connection:
        attempt = tables.attempt.c
        query = sa.select(attempt.started_at, attempt.ended_at).order_by(attempt.epoch)
        (first_started, _), (_, second_ended) = connection.execute(query).all()
    assert (waiting.since, waiting.until) == (first_started, second_ended)


def test_large_chunks_with_an_id_bound_elsewhere_are_recorded_too(ledger: Ledger) -> None:
    campaign = planned(ledger, 70_001, chunk_size=70_000)
    big, small = claimed(ledger, campaign), claimed(ledger, campaign)
    sending.record(ledger, small, answer(small))
    receipts = [Receipt(ACCEPTED, provider_id) for provider_id in [*ids(small), *ids(big)[1:]]]
    sending.record(ledger, big, Answer(receipts))
    assert states(ledger, campaign) == {"accepted": 70_000, "unknown": 1}


@pytest.mark.parametrize("given", [(), (REJECTED,)], ids=["a usual answer", "another one"])
def test_a_late_answer_undoes_nothing_that_was_settled_meanwhile(given: tuple[MessageState, ...], ledger: Ledger) -> None:
    """The sender was taken for dead, a lookup found its first messages, a report came; then its answer is imported."""
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign, ZOMBIE)
    assert sending.abandon_dead(ledger, campaign) == 1
    first, second, third, *_ = reconciling.unconfirmed(ledger, campaign, 100)
    told = ids(claim)
    decisions = [
        Settlement(first, "found", MessageState.DELIVERED, "listed as delivered", told[0]),
        Settlement(second, "found", MessageState.UNDELIVERED, "listed as undelivered", told[1], error="wrong_number"),
        Settlement(third, "found", MessageState.SCHEDULED, "listed as saved", told[2]),
    ]
    reconciling.settle(ledger, campaign, decisions, by="test")
    sending.record(ledger, claim, answer(claim, *given))
    rest = {"accepted": 7 - len(given), **({"rejected": len(given)} if given else {})}
    assert states(ledger, campaign) == {"delivered": 1, "undelivered": 1, "scheduled": 1, **rest}


@pytest.mark.parametrize(
    ("given", "anomalies", "kept"),
    [((), [], None), ((REJECTED,), [], None), ((UNKNOWN,), ["x"], b"{...}"), ((), ["a stranger"], b"{...}")],
)
def test_the_text_of_an_answer_is_kept_where_it_left_something_open(
    given: tuple[MessageState, ...], anomalies: list[str], kept: bytes | None, ledger: Ledger
) -> None:
    claim = claimed(ledger, planned(ledger, 10))
    receipts = answer(claim, *given).receipts
    sending.record(ledger, claim, Answer(receipts, anomalies=anomalies, raw=b"{...}"))
    attempt = tables.attempt.c
    with ledger.read() as connection:
        query = sa.select(attempt.raw, attempt.problem).where(attempt.chunk_id == claim.chunk_id)
        raw, problem = connection.execute(query).one()
    assert (raw and bytes(raw), problem) == (kept, "; ".join(anomalies) or None)
