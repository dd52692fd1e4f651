"""The list of a campaign's messages: each once, in the order of its file, whatever its pages; nobody else's."""

from __future__ import annotations

from posthorn.ledger import listing, sending
from posthorn.ledger.store.engine import Ledger
from tests.ledger.ledgers import FIRST_PHONE, REJECTED, answer, claimed, planned


def test_every_message_is_listed_once_in_order_over_many_pages(ledger: Ledger) -> None:
    planned(ledger, 10, name="before", first=20_000)
    campaign = planned(ledger, 12_000, chunk_size=7)  # pages end in the middle of chunks
    planned(ledger, 10, name="after", first=30_000)
    listed = list(listing.messages(ledger, campaign))
    assert [one.line for one in listed] == list(range(12_000))
    assert [one.phone for one in listed] == [FIRST_PHONE + line for line in range(12_000)]


def test_what_is_in_a_request_right_now_is_sending(ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    first = claimed(ledger, campaign)
    sending.record(ledger, first, answer(first, REJECTED))
    claimed(ledger, campaign)
    listed = list(listing.messages(ledger, campaign))
    assert [one.state for one in listed] == ["accepted"] * 9 + ["rejected"] + ["sending"] * 10 + ["pending"] * 10
    assert [one.sent_at is not None for one in listed] == [True] * 20 + [False] * 10
