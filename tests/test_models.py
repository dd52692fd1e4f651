"""The nouns: what is stored keeps its numbers, and a masked phone shows neither too much nor nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthorn.models import FINAL_STATES, TOTALS, ChunkState, Kind, MessageState, mask_phone


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
