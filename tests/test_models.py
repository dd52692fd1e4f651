"""The nouns: what is stored keeps its numbers, and a masked phone shows neither too much nor nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthorn.models import (
    FINAL_STATES,
    LEFT_STATES,
    MAY_BE_TAKEN_STATES,
    REPORTABLE_STATES,
    TAKEN_STATES,
    TOTALS,
    UNREPORTED_STATES,
    UNSETTLED_STATES,
    AllTaken,
    Answer,
    ChunkState,
    Kind,
    MessageState,
    Receipt,
    mask_phone,
    taken_of,
)


@pytest.mark.parametrize(
    ("phone", "shown"),
    [
        (48500600700, "+48 *** *** 700"),
        (12015550123, "+1 *** *** 123"),
        (79161234567, "+7 *** *** 567"),
        (420601123456, "+420 *** *** 456"),
        (4915123456789, "+49 *** *** 789"),
        (390669821234, "+39 *** *** 234"),
        (48112, "***"),
        (112, "***"),
    ],
)
def test_a_phone_is_shown_by_its_country_and_last_digits(phone, shown):
    assert mask_phone(phone) == shown


@settings(deadline=None)
@given(st.integers(10**7, 10**16))
def test_a_masked_phone_never_holds_more_than_its_country_and_three_digits(phone):
    digits = [character for character in mask_phone(phone) if character.isdigit()]
    assert len(digits) <= 6
    assert str(phone) not in mask_phone(phone)


@pytest.mark.parametrize(
    ("states", "numbers"),
    [
        (MessageState, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (ChunkState, [0, 1, 2, 3]),
        (Kind, [0, 1]),
    ],
)
def test_stored_numbers_stay(states, numbers):
    assert [int(state) for state in states] == numbers


def test_the_names_of_stored_states_stay():
    assert " ".join(state.name for state in MessageState) == (
        "PENDING ACCEPTED SCHEDULED REJECTED UNKNOWN DELIVERED UNDELIVERED NO_REPORT CANCELLED SUPPRESSED"
    )
    assert " ".join(state.name for state in ChunkState) == "PENDING SENDING DONE UNKNOWN"


def test_every_state_has_a_total():
    assert {state.name.lower() for state in MessageState} == set(TOTALS) - {"input", "invalid", "duplicate", "sending"}


def test_a_late_report_is_still_news():
    assert MessageState.NO_REPORT not in FINAL_STATES
    assert MessageState.UNKNOWN not in FINAL_STATES
    assert MessageState.DELIVERED in FINAL_STATES


S = MessageState
MEANINGS = {
    # state: (the provider took it, it may have, it has left for good, a report may change it, nobody said what became of it)
    S.PENDING: (False, False, False, False, True),
    S.ACCEPTED: (True, True, True, True, False),
    S.SCHEDULED: (True, True, False, True, False),
    S.REJECTED: (False, False, False, False, False),
    S.UNKNOWN: (False, True, False, False, True),
    S.DELIVERED: (True, True, True, False, False),
    S.UNDELIVERED: (True, True, True, False, False),
    S.NO_REPORT: (True, True, True, True, False),
    S.CANCELLED: (False, False, False, False, False),
    S.SUPPRESSED: (False, False, False, False, False),
}


@pytest.mark.parametrize("state", MessageState)
def test_each_set_of_states_is_what_it_says(state):
    sets = (TAKEN_STATES, MAY_BE_TAKEN_STATES, LEFT_STATES, REPORTABLE_STATES, UNSETTLED_STATES)
    assert tuple(state in one for one in sets) == MEANINGS[state]


def test_a_receipt_of_success_waits_for_its_report():
    assert UNREPORTED_STATES == (S.ACCEPTED, S.SCHEDULED)


def test_the_taken_of_totals_are_what_is_paid_for():
    totals = {key: 10**place for place, key in enumerate(TOTALS)}
    keys = ("accepted", "scheduled", "delivered", "undelivered", "no_report")
    assert taken_of(totals) == sum(totals[key] for key in keys)


def test_the_receipts_of_an_answer_that_took_everybody_are_as_if_they_had_been_listed() -> None:
    listed = [Receipt(MessageState.SCHEDULED, provider_id) for provider_id in ("7", "8", "9")]
    taken = AllTaken(MessageState.SCHEDULED, ["7", "8", "9"])
    assert (len(taken), list(taken), taken[1], taken[-1]) == (3, listed, listed[1], listed[2])
    assert (taken[1:], taken == listed, taken != listed[:2]) == (listed[1:], True, True)
    assert Answer(taken).states == Answer(listed).states == {MessageState.SCHEDULED}
    with pytest.raises(IndexError):
        taken[3]
