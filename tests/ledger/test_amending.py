"""What a person changes of one ticket: out for good, another code, another number; nobody gets what was not meant."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from posthorn.ledger import amending, deliveries, reconciling, resolving, sending, suppression, tickets
from posthorn.ledger.amending import readdress, replace_code, take_out
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.resolving import EVERYTHING, RESENDABLE, Which
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Answer, MessageState, OptOut, Phone, Receipt, Scope
from tests.ledger.ledgers import FIRST_PHONE, LATEST, OWNER, claim_one, claimed, states
from tests.ledger.test_tickets import gala, sent

S = MessageState
WORD = {"by": "Ada", "why": "asked at the desk"}
OTHER = Phone(48_700_000_000)


def ticket(ledger: Ledger, event: Delivery, line: int) -> tickets.Ticket:
    return next(one for one in tickets.all_tickets(ledger, event) if one.line == line)


def test_whoever_is_taken_out_is_never_sent_to_whatever_is_said_later(ledger: Ledger) -> None:
    event = gala(ledger, 4)
    sent(ledger, event, (S.REJECTED, None), (S.UNKNOWN, None))
    done = take_out(ledger, event, Which(codes=["A-0", "A-1", "A-2"]), **WORD)
    assert (done.never, done.left) == (1, 2)
    assert states(ledger, event) == {"rejected": 1, "unknown": 1, "cancelled": 1, "pending": 1}
    assert resolving.resend(ledger, event, EVERYTHING, RESENDABLE, **WORD).moved == 0
    assert resolving.resend(ledger, event, Which(codes=["A-0"]), RESENDABLE, **WORD).others[0].is_out
    assert resolving.resolve(ledger, event, Which(codes=["A-1"]), taken=False, **WORD).moved == 1
    assert states(ledger, event) == {"rejected": 1, "cancelled": 2, "pending": 1}
    assert [one.barcode for one in tickets.all_tickets(ledger, event) if one.is_out] == ["A-0", "A-1", "A-2"]


def test_one_that_is_being_sent_may_leave_and_is_not_called_cancelled(ledger: Ledger) -> None:
    event = gala(ledger, 2)
    claim = claimed(ledger, event)
    done = take_out(ledger, event, Which(codes=["A-0", "A-1"]), **WORD)
    assert (done.never, done.left) == (1, 1)
    sending.release(ledger, claim)
    assert states(ledger, event) == {"cancelled": 2}, "it had not left after all, so it never does"


def test_a_stranger_among_them_and_nobody_is_taken_out(ledger: Ledger) -> None:
    event = gala(ledger, 2)
    assert take_out(ledger, event, Which(codes=["A-0", "X"]), **WORD).strangers == ("X",)
    assert states(ledger, event) == {"pending": 2}


def test_a_replaced_code_is_void_and_the_new_one_goes_out_once(ledger: Ledger) -> None:
    event = gala(ledger, 3)
    sent(ledger, event, (S.ACCEPTED, "x"), (S.ACCEPTED, "y"), (S.ACCEPTED, "z"))
    was = replace_code(ledger, event, "A-2", "NEW-2", **WORD)
    assert was is not None
    assert (was.state, was.code) == (S.ACCEPTED, "A-2")
    one = ticket(ledger, event, 2)
    assert (one.barcode, one.listed_code, one.state, one.provider_id) == ("NEW-2", "A-2", S.PENDING, None)
    ((void,)) = tickets.void_codes(ledger, event)
    assert (void.code, void.place) == ("A-2", one.place)
    assert reconciling.bound_ids(ledger, ["z"]) == {"z"}
    claim = claimed(ledger, event)
    assert [code for code, _ in claim.tickets] == ["NEW-2"]
    sending.record(ledger, claim, Answer([Receipt(S.ACCEPTED, "z2")]))
    assert replace_code(ledger, event, "A-2", "NEWER", **WORD) is None, "nobody has that code any more"
    replace_code(ledger, event, "NEW-2", "NEWER", **WORD)
    assert (ticket(ledger, event, 2).listed_code, len(tickets.void_codes(ledger, event))) == ("A-2", 2)


def test_a_ticket_goes_to_another_number_and_the_list_may_keep_the_old_one(ledger: Ledger) -> None:
    event = gala(ledger, 3)
    sent(ledger, event, (S.ACCEPTED, "x"), (S.ACCEPTED, "y"), (S.UNDELIVERED, "z"))
    readdress(ledger, event, "A-2", OTHER, **WORD)
    one = ticket(ledger, event, 2)
    assert (one.phone, one.listed_phone, one.barcode, one.state) == (OTHER, FIRST_PHONE + 2, "A-2", S.PENDING)
    assert claimed(ledger, event).phones == (OTHER,)


def test_a_number_with_tickets_of_its_own_may_get_one_more(ledger: Ledger) -> None:
    event = gala(ledger, 3)
    readdress(ledger, event, "A-2", Phone(FIRST_PHONE), **WORD)
    with ledger.read() as connection:
        copies = connection.execute(sa.select(tables.message.c.copy).order_by(tables.message.c.line)).scalars().all()
    assert copies == [0, 1, 2]


@pytest.mark.parametrize("case", ["unknown", "under way", "out"])
def test_what_is_not_settled_keeps_its_code_and_number(case: str, ledger: Ledger) -> None:
    event = gala(ledger, 2)
    if case == "unknown":
        sent(ledger, event, (S.UNKNOWN, None))
    elif case == "under way":
        claimed(ledger, event)
    else:
        take_out(ledger, event, Which(codes=["A-0"]), **WORD)
    before = ticket(ledger, event, 0)
    for left in (replace_code(ledger, event, "A-0", "NEW", **WORD), readdress(ledger, event, "A-0", OTHER, **WORD)):
        assert left is not None
        assert not amending.may_be_amended(left)
    assert ticket(ledger, event, 0) == before
    assert tickets.void_codes(ledger, event) == []


def test_a_ticket_with_another_code_is_not_delivered_by_what_became_of_the_old_one(ledger: Ledger) -> None:
    """Its number opted out before the new code was claimed: the new one never left."""
    event = gala(ledger, 1)
    sent(ledger, event, (S.ACCEPTED, "x"))
    replace_code(ledger, event, "A-0", "NEW-0", **WORD)
    suppression.add(ledger, [OptOut(ticket(ledger, event, 0).phone, Scope.ALL, "reply")], by="test")
    assert claim_one(ledger, event, OWNER, 1, LATEST) is None
    assert set(states(ledger, event)) == {"suppressed"}, "the number's other ticket, too"


@pytest.mark.parametrize("how", ["opted out", "cancelled", "taken out"])
def test_a_ticket_that_never_left_for_its_new_number_is_not_what_the_old_one_got(how: str, ledger: Ledger) -> None:
    event = gala(ledger, 1)
    sent(ledger, event, (S.DELIVERED, "x"))
    readdress(ledger, event, "A-0", OTHER, **WORD)
    if how == "opted out":
        suppression.add(ledger, [OptOut(OTHER, Scope.ALL, "reply")], by="test")
        assert OTHER not in claimed(ledger, event).phones
    elif how == "cancelled":
        deliveries.cancel(ledger, event)
    else:
        take_out(ledger, event, Which(codes=["A-0"]), **WORD)
    one = ticket(ledger, event, 0)
    assert (one.state, one.provider_id) == (S.SUPPRESSED if how == "opted out" else S.CANCELLED, None)


@pytest.mark.parametrize("how", ["given back", "not taken"])
def test_a_ticket_that_is_taken_out_while_its_second_message_is_claimed_is_what_it_was(how: str, ledger: Ledger) -> None:
    event = gala(ledger, 1)
    sent(ledger, event, (S.DELIVERED, "x"))
    resolving.resend(ledger, event, EVERYTHING, RESENDABLE, **WORD)
    claim = claimed(ledger, event)
    while claim.tickets[0][0] != "A-0":
        claim = claimed(ledger, event)
    take_out(ledger, event, Which(codes=["A-0"]), **WORD)
    if how == "given back":
        sending.release(ledger, claim)
    else:
        sending.record(ledger, claim, Answer([Receipt(S.PENDING)]))
    one = ticket(ledger, event, 0)
    assert (one.state, one.provider_id, one.is_out) == (S.DELIVERED, "x", True)


@pytest.mark.parametrize("how", ["cancelled", "taken out"])
def test_a_ticket_that_was_only_to_be_sent_again_is_what_it_was(how: str, ledger: Ledger) -> None:
    event = gala(ledger, 1)
    sent(ledger, event, (S.DELIVERED, "x"))
    resolving.resend(ledger, event, EVERYTHING, RESENDABLE, **WORD)
    if how == "cancelled":
        assert deliveries.cancel(ledger, event) == 1, "the one that was never sent"
    else:
        done = take_out(ledger, event, Which(codes=["A-0"]), **WORD)
        assert (done.never, done.left) == (0, 1)
    one = ticket(ledger, event, 0)
    assert (one.state, one.provider_id, one.is_out) == (S.DELIVERED, "x", how == "taken out")
