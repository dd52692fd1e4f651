"""What a campaign's totals say: the state that follows from its messages, and whether everything adds up, counted anew."""

from __future__ import annotations

import pytest

from posthorn.ledger import deliveries, sending, totals
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import MessageState
from tests.ledger.ledgers import PENDING, REJECTED, UNKNOWN, answer, claimed, planned

ENDS: dict[str, tuple[tuple[MessageState, ...], str]] = {
    "everybody taken": ((), "finished"),
    "one refused": ((REJECTED,), "needs_attention"),
    "one unknown": ((UNKNOWN,), "needs_attention"),
    "one left over": ((PENDING,), "stopped"),
    "one left over, one unknown": ((PENDING, UNKNOWN), "stopped"),
}


@pytest.mark.parametrize("case", ENDS)
def test_the_state_follows_from_the_messages(case: str, ledger: Ledger) -> None:
    given, state = ENDS[case]
    campaign = planned(ledger, 10)
    assert totals.status(ledger, campaign)["state"] == "stopped", "nothing was sent"
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, answer(claim, *given))
    assert totals.status(ledger, campaign)["state"] == state


def test_what_is_cancelled_stays_cancelled_whatever_else_is_open(ledger: Ledger) -> None:
    campaign = planned(ledger, 20)
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, answer(claim, UNKNOWN))
    deliveries.cancel(ledger, campaign)
    assert totals.status(ledger, deliveries.get(ledger, "sale"))["state"] == "cancelled"


@pytest.mark.parametrize("counter", ["pending", "accepted", "unknown"])
def test_what_does_not_add_up_is_called_unbalanced(counter: str, ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    assert totals.status(ledger, campaign)["balanced"]
    with ledger.write() as connection:
        connection.execute(sql(f"UPDATE chunk SET {counter} = {counter} + 1"))
    assert not totals.status(ledger, campaign)["balanced"]
