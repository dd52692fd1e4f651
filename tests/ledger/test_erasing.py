"""What may be erased and what erasing leaves: no number, no answer, no evidence; nothing that is open or was just run."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from posthorn.ledger import deliveries, erasing, reconciling, resolving, sending
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.reconciling import Settlement
from posthorn.ledger.resolving import Which
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Answer, MessageState, Receipt
from tests.ledger.ledgers import UNKNOWN, answer, claimed, ids, planned
from tests.ledger.test_tickets import gala, sent

S = MessageState
DAY_SECONDS = 86_400.0


def ended(ledger: Ledger, state: MessageState = S.DELIVERED) -> Delivery:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, Answer([Receipt(state, one) for one in ids(claim)]))
    return campaign


def age(ledger: Ledger, *columns: str) -> None:
    """Move these moments (``table.column``) back by a hundred days."""
    with ledger.write() as connection:
        for table, column in (name.split(".") for name in columns):
            values = {"by": 100 * DAY_SECONDS, "now": time.time()}
            connection.execute(sa.text(f"UPDATE {table} SET {column} = coalesce({column}, :now) - :by"), values)


PLANNED, ENDED, FINISHED = "campaign.planned_at", "campaign.run_ended_at", "chunk.finished_at"


def may_be_erased(ledger: Ledger) -> bool:
    return bool(erasing.erasable(ledger, ended_before=time.time() - DAY_SECONDS))


@pytest.mark.parametrize("state", [S.SCHEDULED, S.ACCEPTED])
def test_what_waits_for_its_dispatch_or_its_report_is_not_erasable(state: MessageState, ledger: Ledger) -> None:
    ended(ledger, state)
    age(ledger, PLANNED, ENDED, FINISHED)
    assert not may_be_erased(ledger)


@pytest.mark.parametrize("young", [PLANNED, ENDED, FINISHED])
def test_what_was_just_planned_run_or_sent_is_not_erasable(young: str, ledger: Ledger) -> None:
    campaign = ended(ledger)
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE campaign SET run_ended_at = :now"), {"now": time.time()})
    age(ledger, *({PLANNED, ENDED, FINISHED} - {young}))
    assert not may_be_erased(ledger)
    age(ledger, young)
    assert may_be_erased(ledger)
    assert erasing.is_erasable(ledger, campaign, ended_before=time.time() - DAY_SECONDS)


def test_a_run_that_has_begun_and_not_ended_counts_from_its_beginning(ledger: Ledger) -> None:
    campaign = ended(ledger)
    deliveries.start_run(ledger, campaign, by="host-1")
    age(ledger, PLANNED, FINISHED)
    assert not may_be_erased(ledger)


def rows(ledger: Ledger, query: str) -> int:
    with ledger.read() as connection:
        return int(connection.execute(sa.text(query)).scalar_one())


def test_no_kept_answer_outlives_the_numbers(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, answer(claim, UNKNOWN))
    assert rows(ledger, "SELECT count(*) FROM attempt WHERE raw IS NOT NULL") == 1
    erasing.erase(ledger, campaign)
    assert rows(ledger, "SELECT count(*) FROM attempt WHERE raw IS NOT NULL") == 0
    assert rows(ledger, "SELECT count(*) FROM message") == 0


def test_no_evidence_and_no_ticket_outlives_the_numbers(ledger: Ledger) -> None:
    event = gala(ledger, 3)
    sent(ledger, event, (S.ACCEPTED, "x"), (S.UNKNOWN, None))
    resolving.resolve(ledger, event, Which(codes=["A-1"]), taken=True, by="ops", why="asked +48500000001")
    assert rows(ledger, "SELECT count(*) FROM settlement") == 1
    erasing.erase(ledger, event)
    assert [rows(ledger, f"SELECT count(*) FROM {table}") for table in ("settlement", "ticket", "message")] == [0, 0, 0]


def test_the_evidence_of_a_campaign_is_erased_and_that_of_others_stays(ledger: Ledger) -> None:
    erased, other = planned(ledger, 10, name="erased"), planned(ledger, 10, name="other", first=100)
    for campaign in (erased, other):
        sending.record_unknown(ledger, claimed(ledger, campaign))
        found = [
            Settlement(message, "found", S.DELIVERED, "listed as delivered", f"{campaign.name}-{message.position}")
            for message in reconciling.unconfirmed(ledger, campaign, 10, (0, 0))
        ]
        reconciling.settle(ledger, campaign, found, by="reconcile")
    before = rows(ledger, "SELECT count(*) FROM settlement")
    erasing.erase(ledger, erased)
    assert rows(ledger, "SELECT count(*) FROM settlement") == before / 2 > 0


@pytest.mark.parametrize(("states", "is_kept"), [((), False), ((UNKNOWN,), True)])
def test_an_answer_is_kept_only_where_it_was_not_clean(
    states: tuple[MessageState, ...], is_kept: bool, ledger: Ledger
) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, answer(claim, *states))
    assert rows(ledger, "SELECT count(*) FROM attempt WHERE raw IS NOT NULL") == int(is_kept)
