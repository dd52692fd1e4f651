"""The list of all deliveries says of each what its own status says, in a handful of queries however many there are."""

from __future__ import annotations

import time

import sqlalchemy as sa
from sqlalchemy import event as sa_event

from posthorn.ledger import approvals, copies, deliveries, sending, totals
from posthorn.ledger.copies import Copy
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MessageState, WaitsFor
from tests.ledger.ledgers import PENDING, REJECTED, UNKNOWN, another, answer, claimed, first_chunk, planned


def sent(ledger: Ledger, name: str, first: int, *states: MessageState) -> Delivery:
    campaign = planned(ledger, 10, name=name, first=first)
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, answer(claim, *states))
    return campaign


def various(ledger: Ledger) -> None:
    """One delivery of each state that a ledger can tell by itself."""
    sent(ledger, "finished", 0)
    sent(ledger, "refused", 100, REJECTED)
    sent(ledger, "unknown", 200, UNKNOWN)
    sent(ledger, "stopped", 300, PENDING)
    deliveries.cancel(ledger, sent(ledger, "cancelled", 400, PENDING))
    copied = sent(ledger, "copied", 500)
    copies.keep(ledger, copied, [Copy("surplus", first_chunk(ledger, copied), 0, MessageState.ACCEPTED, "listed beside it")])
    approvals.ask(ledger, planned(ledger, 10, name="asked", first=600), "ab" * 32)
    asked = planned(ledger, 10, name="asked before its last run", first=700)
    approvals.ask(ledger, asked, "ab" * 32)
    deliveries.start_run(ledger, asked, by="ops")
    decided = planned(ledger, 10, name="approved", first=800)
    approvals.decide(ledger, decided, "ab" * 32, approved=True, by="Ada")
    planned(ledger, 10, name="test", test=True, first=900)
    waits = sent(ledger, "waiting", 1000)
    deliveries.note_last_look(ledger, waits, time.time() + 600)
    rests = planned(ledger, 10, name="outside its hours", first=1100)
    deliveries.note_going_on(ledger, rests, WaitsFor.HOURS, time.time() + 600)


def told_alone(ledger: Ledger) -> dict[str, tuple[str, dict[str, int], int]]:
    found = {}
    for record in deliveries.all_records(ledger):
        status = totals.status(ledger, record)
        found[record.name] = (status["state"], status["totals"], status["second_copies"])
    return found


def test_each_stands_in_the_list_as_its_own_status_says(ledger: Ledger) -> None:
    various(ledger)
    listed = totals.summaries(ledger)
    assert {one.delivery.name: (one.state, one.totals, one.second_copies) for one in listed} == told_alone(ledger)
    assert {one.state for one in listed} == {"finished", "needs_attention", "stopped", "cancelled", "waiting"}
    assert [one.delivery.id for one in listed] == sorted((one.delivery.id for one in listed), reverse=True)
    assert {one.delivery.name: one.taken for one in listed}["refused"] == 9


def test_who_runs_is_running_and_who_only_looks_is_not(ledger: Ledger, url: str) -> None:
    runs, looks = planned(ledger, 10, name="runs"), planned(ledger, 10, name="looks", first=100)
    with another(url) as elsewhere:
        elsewhere.locks.acquire(runs.lock_key)
        elsewhere.locks.acquire(looks.lookup_key)
        elsewhere.locks.acquire(looks.lock_key)
        assert {one.delivery.name: one.state for one in totals.summaries(ledger)} == {"runs": "running", "looks": "stopped"}
        assert ledger.locks.held([runs.lock_key, "nobody's"]) == {runs.lock_key}
    assert {one.state for one in totals.summaries(ledger)} == {"stopped"}


def test_many_deliveries_cost_no_more_queries_than_one(ledger: Ledger) -> None:
    statements: list[str] = []

    def note(_connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    planned(ledger, 3, name="first")
    counts = []
    sa_event.listen(ledger._engine, "before_cursor_execute", note)
    for first in (100, 200):
        statements.clear()
        totals.summaries(ledger)
        counts.append(len(statements))
        for at in range(5):
            planned(ledger, 3, name=f"more-{first}-{at}", first=first + 10 * at)
    assert counts[0] == counts[1] <= 8
