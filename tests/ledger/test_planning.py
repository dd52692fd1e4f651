"""Planning writes everybody once, or it was no plan."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from posthorn.errors import DeliveryNotFound, LedgerError
from posthorn.ledger import deliveries, media, planning, sending, totals
from posthorn.ledger.planning import NewDelivery, Row
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Phone
from tests.ledger.ledgers import (
    FIRST_PHONE,
    LATEST,
    OWNER,
    Listed,
    another,
    answer,
    claim_one,
    claimed,
    event_content,
    first_chunk,
    last_chunk,
    new_campaign,
    planned,
    states,
)
from tests.ledger.processes import owner, until

SIZES = {
    "one message": (1, 10, [1]),
    "exactly one chunk": (10, 10, [10]),
    "one more than a chunk": (11, 10, [10, 1]),
    "chunks that no batch of rows fits": (250, 7, [7] * 35 + [5]),
    "a chunk larger than a batch of rows": (250, 180, [180, 70]),
    "chunks of one": (5, 1, [1] * 5),
    "one chunk larger than a transaction": (60_000, 55_000, [55_000, 5_000]),
    "more than a transaction, of chunks that no batch fits": (50_008, 7, [7] * 7_144),
}


@pytest.mark.parametrize("case", SIZES)
def test_rows_are_cut_into_chunks_in_their_order(case: str, ledger: Ledger) -> None:
    count, chunk_size, sizes = SIZES[case]
    campaign = planned(ledger, count, chunk_size=chunk_size)
    chunk, message = tables.chunk.c, tables.message.c
    with ledger.read() as connection:
        pending = list(connection.execute(sa.select(chunk.pending).order_by(chunk.id)).scalars())
        phones = list(connection.execute(sa.select(message.phone).order_by(message.chunk_id, message.position)).scalars())
    assert pending == sizes
    assert phones == [FIRST_PHONE + line for line in range(count)]
    assert states(ledger, campaign) == {"pending": count}


def test_the_totals_count_every_row_of_the_input(ledger: Ledger) -> None:
    told = totals.totals(ledger, planned(ledger, 25))
    assert {name: count for name, count in told.items() if count} == {
        "input": 28,
        "invalid": 2,
        "duplicate": 1,
        "pending": 25,
    }


def test_an_interrupted_plan_is_no_campaign_and_the_next_one_starts_afresh(ledger: Ledger) -> None:
    with pytest.raises(InterruptedError):
        planning.plan(ledger, new_campaign(chunk_size=10), Listed(120_000, breaks_after=60_000, batch=20_000))
    with pytest.raises(DeliveryNotFound):
        deliveries.get(ledger, "sale")
    assert deliveries.all_records(ledger) == []
    campaign = planned(ledger, 20)
    with ledger.read() as connection:
        rows = [connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() for table in _TABLES]
    assert rows == [1, 2, 20]
    assert states(ledger, campaign) == {"pending": 20}


_TABLES = (tables.campaign, tables.chunk, tables.message)


def test_a_plan_killed_in_the_middle_is_no_campaign(url: str, ledger: Ledger) -> None:
    with owner(url, "plan", "sale") as (child, said):
        assert said == "planning"
        until(lambda: _count(ledger, tables.message) > 0, most=60)
        child.kill()
        child.wait()
    assert deliveries.find(ledger, "sale") is None
    assert states(ledger, planned(ledger, 20)) == {"pending": 20}


def _count(ledger: Ledger, table: sa.Table) -> int:
    with ledger.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def test_a_name_is_planned_once(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    with pytest.raises(LedgerError, match="sale is planned already"):
        planned(ledger, 20)
    assert states(ledger, campaign) == {"pending": 10}


def test_without_a_single_row_there_is_no_campaign(ledger: Ledger) -> None:
    assert planning.plan(ledger, new_campaign(), Listed(0)) is None
    assert deliveries.find(ledger, "sale") is None
    assert states(ledger, planned(ledger, 5)) == {"pending": 5}


def test_a_test_replaces_the_earlier_test_and_leaves_the_campaign_of_that_name_alone(ledger: Ledger) -> None:
    real = planned(ledger, 10)
    first = planned(ledger, 20, test=True)
    claim = claimed(ledger, first)
    sending.record(ledger, claim, answer(claim))
    second = planned(ledger, 30, test=True)
    assert second.id not in (first.id, real.id)
    assert states(ledger, second) == {"pending": 30}
    assert states(ledger, real) == {"pending": 10}
    assert states(ledger, first) == {}


def test_two_campaigns_share_no_chunk(ledger: Ledger) -> None:
    first, second = planned(ledger, 25, name="first"), planned(ledger, 25, name="second")
    assert last_chunk(ledger, first) < first_chunk(ledger, second)
    assert claim_one(ledger, second, OWNER, 1, last_chunk(ledger, first)) is None
    assert claim_one(ledger, second, OWNER, 1, LATEST) is not None


def test_media_are_planned_with_the_campaign(ledger: Ledger) -> None:
    (item,) = media.of(ledger, planned(ledger, 5))
    assert (item.media.name, item.file_id, item.verified_at) == ("poster.png", None, None)


class Attendees:
    """Two tickets of one number, one of another."""

    input, invalid, duplicate = 3, 0, 0

    def __iter__(self):
        yield [
            Row(1, Phone(FIRST_PHONE), 0, "A-1", {"name": "Łucja"}),
            Row(2, Phone(FIRST_PHONE), 1, "A-2", {}),
            Row(3, Phone(FIRST_PHONE + 1), 0, "A-3", {"seat": "7"}),
        ]


def test_tickets_are_planned_with_their_codes_and_fields(ledger: Ledger) -> None:
    event = NewDelivery("gala", "skycore", event_content(mms_id="1"), {}, chunk_size=1)
    campaign = planning.plan(ledger, event, Attendees())
    assert campaign is not None
    ticket = tables.ticket.c
    with ledger.read() as connection:
        found = connection.execute(sa.select(ticket.barcode, ticket.fields).order_by(ticket.chunk_id)).all()
    assert [tuple(row) for row in found] == [("A-1", {"name": "Łucja"}), ("A-2", {}), ("A-3", {"seat": "7"})]
    assert first_chunk(ledger, campaign) + 2 == last_chunk(ledger, campaign)
    assert states(ledger, campaign) == {"pending": 3}


def test_a_number_twice_is_refused_without_naming_it(ledger: Ledger) -> None:
    twice = Listed(5)
    twice._rows += twice._rows[:1]
    with pytest.raises(LedgerError) as caught:
        planning.plan(ledger, new_campaign(), twice)
    assert "48500" not in f"{caught.value}{caught.value.__cause__ or ''}"
    assert deliveries.find(ledger, "sale") is None


def test_one_plan_at_a_time_and_who_waits_too_long_plans_nothing(
    url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_PLANNING_WAIT_SECONDS", 0.1)
    with another(url) as other, other.locks.hold("planning") as held:
        assert held
        with pytest.raises(LedgerError, match="another process has been planning"):
            planned(ledger)
    assert deliveries.find(ledger, "sale") is None
    assert planned(ledger).name == "sale"


def test_a_plan_that_has_lost_its_lock_is_none(ledger: Ledger) -> None:
    def loses(_campaign_id: int) -> None:
        ledger.locks.release("planning")

    with pytest.raises(LedgerError, match="the lock of this plan is lost"):
        planning.plan(ledger, new_campaign(), Listed(20), loses)
    assert deliveries.find(ledger, "sale") is None
