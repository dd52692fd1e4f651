"""Views over several campaigns: one number's history, and the same message to the same people under another name."""

from __future__ import annotations

import pytest

from posthorn.ledger import sending
from posthorn.ledger.history import history
from posthorn.ledger.repeats import repeats
from posthorn.ledger.store import Ledger
from posthorn.models import Phone
from tests.ledger.ledgers import FIRST_PHONE, REJECTED, answer, claimed, planned


def test_one_number_is_found_in_every_campaign_with_where_it_stands(ledger: Ledger) -> None:
    first, second = planned(ledger, 10, name="first"), planned(ledger, 10, name="second", first=5)
    claim = claimed(ledger, first)
    sending.record(ledger, claim, answer(claim, REJECTED))
    claimed(ledger, second)
    both = history(ledger, Phone(FIRST_PHONE + 9))
    assert [(entry.name, entry.state) for entry in both] == [("first", "rejected"), ("second", "sending")]
    assert [entry.name for entry in history(ledger, Phone(FIRST_PHONE + 1))] == ["first"]
    assert history(ledger, Phone(FIRST_PHONE - 1)) == []


# What became of the first campaign's messages, and how many numbers of a second with the same content it has then reached.
REACHED = {"nothing yet": ((), 5), "two of them refused": ((REJECTED, REJECTED), 3)}


@pytest.mark.parametrize("case", REACHED)
def test_the_same_message_to_numbers_in_common_is_a_repeat(case: str, ledger: Ledger) -> None:
    said, numbers = REACHED[case]
    first = planned(ledger, 10, name="first")
    if said:
        claim = claimed(ledger, first)
        sending.record(ledger, claim, answer(claim, *said))
    second = planned(ledger, 10, name="second", first=5)
    assert [(one.name, one.numbers) for one in repeats(ledger, second, since=0)] == [("first", numbers)]
    assert repeats(ledger, second, since=2e10) == []
    assert repeats(ledger, planned(ledger, 10, name="third", first=100), since=0) == []
