"""An event's tickets in the ledger: their codes, what a person decides about them, and news that is pushed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from posthorn.errors import LedgerError
from posthorn.ledger import claiming, planning, resolving, sending, tickets
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.news import News, apply_parked, take_news
from posthorn.ledger.planning import NewDelivery, Row
from posthorn.ledger.resolving import EVERYTHING, Which
from posthorn.ledger.spool import Spool, import_spool
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Answer, MessageState, Phone, Receipt
from tests.ledger.ledgers import FIRST_PHONE, LATEST, OWNER, claimed, event_content, states
from tests.ledger.test_races import meanwhile, wait_until_it_waits

S = MessageState


class Attendees:
    """Rows of an event: the first number has two tickets."""

    invalid = duplicate = 0

    def __init__(self, count: int) -> None:
        self.input = count
        self._rows = [Row(0, Phone(FIRST_PHONE), 0, "A-0", {"seat": "1"}), Row(1, Phone(FIRST_PHONE), 1, "A-1", {})]
        self._rows += [Row(line, Phone(FIRST_PHONE + line), 0, f"A-{line}", {}) for line in range(2, count)]

    def __iter__(self) -> Iterator[Sequence[Row]]:
        yield self._rows


def gala(ledger: Ledger, count: int = 4, name: str = "gala") -> Delivery:
    event = NewDelivery(name, "skycore", event_content(), {}, chunk_size=1)
    planned = planning.plan(ledger, event, Attendees(count))
    assert planned is not None
    return planned


def sent(ledger: Ledger, event: Delivery, *outcomes: tuple[MessageState, str | None]) -> None:
    """Send one ticket after the other, with these outcomes and ids."""
    for state, provider_id in outcomes:
        sending.record(ledger, claimed(ledger, event), Answer([Receipt(state, provider_id)]))


def by_code(ledger: Ledger, event: Delivery) -> dict[str, tuple[MessageState, str | None]]:
    return {ticket.barcode: (ticket.state, ticket.provider_id) for ticket in tickets.all_tickets(ledger, event)}


def test_a_claim_knows_the_code_and_the_fields_of_its_ticket(ledger: Ledger) -> None:
    event = gala(ledger)
    assert claimed(ledger, event).tickets == (("A-0", {"seat": "1"}),)
    others = claiming.claim(ledger, event, OWNER, 1, LATEST, most=5)
    assert [(one.phones[0] - FIRST_PHONE, one.tickets) for one in others] == [
        (0, (("A-1", {}),)),
        (2, (("A-2", {}),)),
        (3, (("A-3", {}),)),
    ]


def test_the_door_list_tells_every_ticket_in_pages(ledger: Ledger) -> None:
    event = gala(ledger, 7)
    sent(ledger, event, (S.ACCEPTED, "x"), (S.REJECTED, None))
    listed = list(tickets.all_tickets(ledger, event, page_size=3))
    assert [(ticket.barcode, ticket.state) for ticket in listed] == [
        ("A-0", S.ACCEPTED),
        ("A-1", S.REJECTED),
        *((f"A-{line}", S.PENDING) for line in range(2, 7)),
    ]


@pytest.mark.parametrize(("taken", "state"), [(True, "accepted"), (False, "pending")])
def test_a_person_settles_an_unknown_ticket_once(taken: bool, state: str, ledger: Ledger) -> None:
    event = gala(ledger, 2)
    sent(ledger, event, (S.UNKNOWN, None), (S.ACCEPTED, "x"))
    assert resolving.resolve(ledger, event, Which(codes=["A-0"]), taken=taken, by="ops", why="asked the attendee").moved
    assert states(ledger, event) == ({"accepted": 2} if taken else {"accepted": 1, "pending": 1})
    assert not resolving.resolve(ledger, event, Which(codes=["A-0"]), taken=taken, by="ops", why="again").moved
    assert not resolving.resolve(ledger, event, Which(codes=["A-1"]), taken=taken, by="ops", why="it is not unknown").moved
    with ledger.read() as connection:
        kept = connection.execute(sa.select(tables.settlement.c.by, tables.settlement.c.evidence)).all()
    assert [tuple(row) for row in kept] == [("ops", "asked the attendee")]


def test_a_person_has_failed_tickets_sent_again(ledger: Ledger) -> None:
    event = gala(ledger)
    sent(ledger, event, (S.REJECTED, None), (S.UNKNOWN, None), (S.ACCEPTED, "x"), (S.UNDELIVERED, "y"))
    assert resolving.resend(ledger, event, EVERYTHING, resolving.FAILED, by="ops", why="phone was off").moved == 2
    assert states(ledger, event) == {"pending": 2, "unknown": 1, "accepted": 1}
    again = claimed(ledger, event)
    assert (again.epoch, again.tickets) == (2, (("A-0", {"seat": "1"}),))


def test_tickets_in_flight_are_left_alone(ledger: Ledger) -> None:
    event = gala(ledger, 2)
    claim = claimed(ledger, event)
    assert resolving.resend(ledger, event, EVERYTHING, (S.PENDING,), by="ops", why="-").moved == 1
    assert not resolving.resolve(ledger, event, Which(codes=["A-0"]), taken=True, by="ops", why="-").moved
    sending.record(ledger, claim, Answer([Receipt(S.ACCEPTED, "x")]))
    assert states(ledger, event) == {"accepted": 1, "pending": 1}


def test_an_answer_left_in_a_spool_does_not_undo_a_persons_resend(ledger: Ledger, tmp_path: Path) -> None:
    """The process died between recording the answer and deleting its spool."""
    event = gala(ledger, 2)
    claim = claimed(ledger, event)
    spool = Spool(tmp_path / "spool", ledger, OWNER)
    spool.append(claim, {"receipts": [[int(S.ACCEPTED), "x", None]], "anomalies": [], "raw": ""})
    spool.close()
    sending.record(ledger, claim, Answer([Receipt(S.ACCEPTED, "x")]))
    resolving.resend(ledger, event, EVERYTHING, resolving.RESENDABLE, by="ops", why="the attendee deleted it")
    assert import_spool(spool.folder, ledger) == 0
    assert states(ledger, event) == {"pending": 2}


def test_news_moves_what_is_known_and_is_harmless_when_repeated(ledger: Ledger) -> None:
    event = gala(ledger, 3)
    sent(ledger, event, (S.ACCEPTED, "x"), (S.ACCEPTED, "y"), (S.UNKNOWN, None))
    news = [News("y", S.DELIVERED), News("x", S.UNDELIVERED, reason="expired"), News("y", S.UNDELIVERED)]
    assert take_news(ledger, news) == 2
    assert take_news(ledger, news) == 0
    assert states(ledger, event) == {"delivered": 1, "undelivered": 1, "unknown": 1}


def test_news_settles_the_one_unknown_ticket_it_can_be_about(ledger: Ledger) -> None:
    event = gala(ledger, 3)
    sent(ledger, event, (S.ACCEPTED, "x"), (S.UNKNOWN, None), (S.UNKNOWN, None))
    assert take_news(ledger, [News("z", S.DELIVERED, Phone(FIRST_PHONE), "77")]) == 1
    assert states(ledger, event) == {"accepted": 1, "delivered": 1, "unknown": 1}
    assert take_news(ledger, [News("other", S.DELIVERED, Phone(FIRST_PHONE + 2), "another template")]) == 0


def test_news_that_could_be_about_two_tickets_settles_neither(ledger: Ledger) -> None:
    event = gala(ledger, 2)
    sent(ledger, event, (S.UNKNOWN, None), (S.UNKNOWN, None))
    assert take_news(ledger, [News("z", S.DELIVERED, Phone(FIRST_PHONE), "77")]) == 0
    assert states(ledger, event) == {"unknown": 2}


@pytest.mark.parametrize("is_in_flight", [True, False])
def test_news_that_settles_a_ticket_keeps_its_reason(is_in_flight: bool, ledger: Ledger) -> None:
    event = gala(ledger, 3)
    sent(ledger, event, (S.ACCEPTED, "x"), (S.ACCEPTED, "y"))
    claim = claimed(ledger, event)
    if not is_in_flight:
        sending.record_unknown(ledger, claim)
    take_news(ledger, [News("z", S.UNDELIVERED, Phone(FIRST_PHONE + 2), "77", reason="handset off")])
    if is_in_flight:
        sending.record_unknown(ledger, claim)
        apply_parked(ledger)
    (ticket,) = [one for one in tickets.all_tickets(ledger, event) if one.barcode == "A-2"]
    assert (ticket.state, ticket.error) == (S.UNDELIVERED, "handset off")


def test_parked_news_is_applied_in_transactions_of_its_own(ledger: Ledger) -> None:
    """In one, it would hold chunks in the order in which their news came, and could wait for who waits for it."""
    with ledger.group(), pytest.raises(RuntimeError, match="outside a group"):
        apply_parked(ledger)


def test_parked_news_never_deadlocks_with_pushed_news(postgres_ledger: Ledger) -> None:
    event = gala(postgres_ledger, 60)
    names = [f"id-{number}" for number in range(60)]
    with postgres_ledger.write() as connection:
        parked = [
            {"received_at": time.time(), "provider_id": name, "phone": FIRST_PHONE + at, "mms_id": "77", "state": 5}
            for at, name in list(enumerate(names))[:1:-1]
        ]
        connection.execute(tables.parked_report.insert(), parked)
    sent(postgres_ledger, event, *((S.UNKNOWN, None) for _ in names))
    with (
        meanwhile(lambda: apply_parked(postgres_ledger)) as one,
        meanwhile(lambda: [take_news(postgres_ledger, [News(name, S.DELIVERED)]) for name in names]) as two,
    ):
        pass
    assert [*one, *two] == []


def test_news_of_a_ticket_in_flight_settles_no_other(ledger: Ledger) -> None:
    event = gala(ledger, 2)
    sent(ledger, event, (S.UNKNOWN, None))
    claim = claimed(ledger, event)  # of the same number
    take_news(ledger, [News("second", S.DELIVERED, Phone(FIRST_PHONE), "77")])
    sending.record(ledger, claim, Answer([Receipt(S.ACCEPTED, "second")]))
    apply_parked(ledger)
    assert by_code(ledger, event) == {"A-0": (S.UNKNOWN, None), "A-1": (S.DELIVERED, "second")}


def test_news_that_came_before_the_answer_was_lost_settles_the_ticket(ledger: Ledger) -> None:
    event = gala(ledger, 3)
    sent(ledger, event, (S.ACCEPTED, "x"), (S.ACCEPTED, "y"))
    claim = claimed(ledger, event)
    phone = Phone(FIRST_PHONE + 2)
    assert take_news(ledger, [News("z", S.ACCEPTED, phone, "77"), News("z", S.DELIVERED, phone, "77")]) == 0
    sending.record_unknown(ledger, claim)
    assert apply_parked(ledger, ["another"]) == 0
    assert apply_parked(ledger, ["z"]) >= 1
    assert by_code(ledger, event)["A-2"] == (S.DELIVERED, "z")
    assert apply_parked(ledger) == 0


def test_news_that_is_older_than_the_attempt_is_not_about_it(ledger: Ledger) -> None:
    event = gala(ledger, 3)
    take_news(ledger, [News("not-ours", S.DELIVERED, Phone(FIRST_PHONE + 2), "77")])
    with ledger.write() as connection:
        connection.execute(tables.parked_report.update().values(received_at=tables.parked_report.c.received_at - 3600))
    sent(ledger, event, (S.ACCEPTED, "x"), (S.ACCEPTED, "y"), (S.UNKNOWN, None))
    assert apply_parked(ledger) == 0
    assert by_code(ledger, event)["A-2"] == (S.UNKNOWN, None)


@pytest.mark.parametrize("state", [S.DELIVERED, S.UNDELIVERED])
def test_news_of_a_replaced_attempt_says_nothing_of_the_new_one(state: MessageState, ledger: Ledger) -> None:
    event = gala(ledger, 3)
    sent(ledger, event, (S.ACCEPTED, "x"), (S.ACCEPTED, "y"), (S.ACCEPTED, "first"))
    phone = Phone(FIRST_PHONE + 2)
    resolving.resend(ledger, event, Which([phone]), (S.ACCEPTED,), by="ops", why="again")
    push = News("first", state, phone, "77")
    take_news(ledger, [push])
    sending.record_unknown(ledger, claimed(ledger, event))
    take_news(ledger, [push])
    apply_parked(ledger)
    assert by_code(ledger, event)["A-2"] == (S.UNKNOWN, None)
    assert take_news(ledger, [News("second", S.DELIVERED, phone, "77")]) == 1
    assert by_code(ledger, event)["A-2"] == (S.DELIVERED, "second")


@pytest.mark.parametrize("is_sent_again", [True, False])
def test_news_of_an_attempt_that_a_person_called_not_taken_settles_no_other(is_sent_again: bool, ledger: Ledger) -> None:
    event = gala(ledger, 2)
    sent(ledger, event, (S.UNKNOWN, None), (S.UNKNOWN, None))
    resolving.resolve(ledger, event, Which(codes=["A-0"]), taken=False, by="ops", why="the attendee says no")
    if is_sent_again:
        sent(ledger, event, (S.ACCEPTED, "again"))
    take_news(ledger, [News("first", S.DELIVERED, Phone(FIRST_PHONE), "77")])
    assert by_code(ledger, event)["A-1"] == (S.UNKNOWN, None)


def test_news_tells_the_id_of_a_ticket_that_a_person_called_taken(ledger: Ledger) -> None:
    event = gala(ledger, 3)
    sent(ledger, event, (S.ACCEPTED, "x"), (S.ACCEPTED, "y"), (S.UNKNOWN, None))
    resolving.resolve(ledger, event, Which(codes=["A-2"]), taken=True, by="ops", why="asked the attendee")
    assert take_news(ledger, [News("z", S.UNDELIVERED, Phone(FIRST_PHONE + 2), "77")]) == 1
    assert by_code(ledger, event)["A-2"] == (S.UNDELIVERED, "z")


def test_parked_news_keeps_when_it_was_delivered(ledger: Ledger) -> None:
    event = gala(ledger, 2)
    claim = claimed(ledger, event)
    take_news(ledger, [News("x", S.DELIVERED, delivered_at=datetime(2026, 1, 1, tzinfo=UTC))])
    sending.record(ledger, claim, Answer([Receipt(S.ACCEPTED, "x")]))
    apply_parked(ledger)
    with ledger.read() as connection:
        at = connection.execute(sa.select(tables.message.c.delivered_at).where(tables.message.c.provider_id == "x")).scalar()
    assert at == datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def test_news_that_comes_before_the_answer_waits_for_it(ledger: Ledger) -> None:
    event = gala(ledger, 2)
    claim = claimed(ledger, event)
    for _ in range(3):
        assert take_news(ledger, [News("x", S.DELIVERED)]) == 0
    assert apply_parked(ledger) == 0
    sending.record(ledger, claim, Answer([Receipt(S.ACCEPTED, "x")]))
    assert apply_parked(ledger) == 1
    assert apply_parked(ledger) == 0
    assert states(ledger, event) == {"delivered": 1, "pending": 1}
    with ledger.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.parked_report)).scalar() == 0


def test_a_late_answer_and_a_persons_decision_at_once_do_not_overwrite_each_other(postgres_ledger: Ledger) -> None:
    event = gala(postgres_ledger, 2)
    claim = claimed(postgres_ledger, event)
    sending.abandon_dead(postgres_ledger, event)
    with postgres_ledger.write() as connection:
        connection.execute(sa.text("UPDATE chunk SET reported_at = 1"))
        late = meanwhile(lambda: sending.record(postgres_ledger, claim, Answer([Receipt(S.ACCEPTED, "x")])))
        problems = late.__enter__()
        wait_until_it_waits(postgres_ledger)
        resolved: list[int] = []
        person = meanwhile(
            lambda: resolved.append(
                resolving.resolve(postgres_ledger, event, Which(codes=["A-0"]), taken=False, by="ops", why="-").moved
            )
        )
        problems_too = person.__enter__()
    person.__exit__(None, None, None)
    late.__exit__(None, None, None)
    assert [*problems, *problems_too] == []
    assert states(postgres_ledger, event) == {"accepted": 1, "pending": 1}


def test_pushed_news_in_any_order_never_deadlocks(postgres_ledger: Ledger) -> None:
    event = gala(postgres_ledger, 60)
    names = [f"id-{number}" for number in range(60)]
    sent(postgres_ledger, event, *((S.ACCEPTED, name) for name in names))

    def push(order: Sequence[str], state: MessageState) -> None:
        for _ in range(8):
            take_news(postgres_ledger, [News(name, state) for name in order])

    with (
        meanwhile(lambda: push(names, S.DELIVERED)) as one,
        meanwhile(lambda: push(names[::-1], S.UNDELIVERED)) as two,
        meanwhile(lambda: push(names[::2] + names[1::2], S.ACCEPTED)) as three,
    ):
        pass
    assert [*one, *two, *three] == []
    assert sum(states(postgres_ledger, event).values()) == 60


def test_a_code_is_planned_once_per_event(ledger: Ledger) -> None:
    rows = Attendees(3)
    rows._rows.append(Row(9, Phone(FIRST_PHONE + 9), 0, "A-2", {}))
    with pytest.raises(LedgerError):
        planning.plan(ledger, NewDelivery("gala", "skycore", event_content(), {}, chunk_size=1), rows)


def test_what_a_person_decides_is_for_one_event(ledger: Ledger) -> None:
    """Two events with the same numbers and the same codes."""
    monday, friday = gala(ledger, name="monday"), gala(ledger, name="friday")
    for event in (monday, friday):
        outcomes = (S.ACCEPTED, f"{event.name}-1"), (S.REJECTED, None), (S.UNKNOWN, None)
        sent(ledger, event, *outcomes)
    before = by_code(ledger, friday)
    assert resolving.resend(ledger, monday, EVERYTHING, resolving.RESENDABLE, by="ops", why="again").moved == 2
    assert (
        resolving.resend(ledger, monday, Which([Phone(FIRST_PHONE)]), resolving.RESENDABLE, by="ops", why="again").moved == 0
    )
    assert resolving.resolve(ledger, monday, Which(codes=["A-2"]), taken=False, by="ops", why="asked").moved
    assert states(ledger, monday) == {"pending": 4}
    assert by_code(ledger, friday) == before
