"""The ledger against a small model: any order of claims, answers, crashes, late news, lookups, reports and cancellations.

The model knows what the provider really took. After every step: everybody in one state, counters equal a count, one id for
one message, nobody taken twice, and nothing that may have been taken is pending again except by a decision.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from posthorn.ledger import claims, deliveries, planning, reconciling, reporting, sending
from posthorn.ledger.claims import Claim, ClaimLost
from posthorn.ledger.reconciling import Settlement
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import FINAL_STATES, Answer, MessageState, Receipt, Report
from tests.ledger.ledgers import LATEST, Listed, claim_one, everything_adds_up, new_campaign

S = MessageState
TAKEN = frozenset({S.ACCEPTED, S.SCHEDULED, S.DELIVERED, S.UNDELIVERED, S.NO_REPORT})
Place = tuple[int, int]

# What a provider may say of one recipient, and whether it has then taken the message.
SAID = {
    "queued": (S.ACCEPTED, True),
    "scheduled": (S.SCHEDULED, True),
    "refused": (S.REJECTED, False),
    "no credit": (S.PENDING, False),
    "not mentioned": (S.UNKNOWN, False),
    "not mentioned, but taken": (S.UNKNOWN, True),
}


@dataclass
class Request:
    """A claim whose request is on its way, or was. ``answer`` is what the provider made of it, once its sender is dead."""

    claim: Claim
    answer: Answer | None = None
    is_over: bool = False

    @property
    def owner_is_alive(self) -> bool:
        """Whether its sender still holds its lock."""
        return self.answer is None


@dataclass
class Model:
    """What is true, whatever the ledger says: taken ids per message, and what may be pending for which reason."""

    taken: dict[Place, list[str]] = field(default_factory=dict)
    resent: set[Place] = field(default_factory=set)
    final: dict[Place, S] = field(default_factory=dict)


class LedgerMachine(RuleBasedStateMachine):
    """Two owners at a time, any of which may die and be replaced."""

    open_ledger: Callable[[], tuple[Ledger, Callable[[], None]]]

    def __init__(self) -> None:
        super().__init__()
        self.ledger, self._clean_up = type(self).open_ledger()
        self.model = Model()
        self.requests: list[Request] = []
        self.ids = 0
        self.owners = 0
        self.was_cancelled = False

    def teardown(self) -> None:
        for request in self.requests:
            self.ledger.locks.release(claims.owner_key(request.claim.owner))
        self._clean_up()

    @initialize(count=st.integers(1, 12), chunk_size=st.integers(1, 5))
    def plan(self, count: int, chunk_size: int) -> None:
        campaign = planning.plan(self.ledger, new_campaign(chunk_size=chunk_size), Listed(count))
        assert campaign is not None
        self.campaign = campaign

    # -- The sender -------------------------------------------------------------------------------------------------------

    @rule()
    def claim(self) -> None:
        self.owners += 1
        owner = f"owner-{self.owners}"
        assert self.ledger.locks.acquire(claims.owner_key(owner))
        claim = claim_one(self.ledger, self.campaign, owner, 1, LATEST)
        if claim is None:
            self.ledger.locks.release(claims.owner_key(owner))
            return
        assert not self.was_cancelled, "nothing is claimed of a cancelled campaign"
        for position in claim.positions:
            held = self.model.taken.get((claim.chunk_id, position), [])
            assert not held or (claim.chunk_id, position) in self.model.resent, "it was taken, and nobody decided a resend"
        self.requests.append(Request(claim))

    @precondition(lambda self: self.living())
    @rule(data=st.data())
    def answered(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.living()))
        answer = self._answer(data, request.claim)
        self._tell(request, lambda: sending.record(self.ledger, request.claim, answer))
        before = self._rows()
        with contextlib.suppress(ClaimLost):  # as when a spool is imported although the ledger holds the answer
            sending.record(self.ledger, request.claim, answer)
        assert self._rows() == before

    @precondition(lambda self: self.living())
    @rule(data=st.data(), was_carried_out=st.booleans())
    def answer_lost(self, data: st.DataObject, was_carried_out: bool) -> None:
        request = data.draw(st.sampled_from(self.living()))
        if was_carried_out:
            self._answer(data, request.claim)
        self._tell(request, lambda: sending.record_unknown(self.ledger, request.claim))

    @precondition(lambda self: self.living())
    @rule(data=st.data())
    def not_taken(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.living()))
        self._tell(request, lambda: sending.release(self.ledger, request.claim))

    @precondition(lambda self: self.living())
    @rule(data=st.data(), was_carried_out=st.booleans())
    def owner_dies(self, data: st.DataObject, was_carried_out: bool) -> None:
        """Killed; or its database session is lost, and it lives on as a zombie that may still say what it learned."""
        request = data.draw(st.sampled_from(self.living()))
        request.answer = self._answer(data, request.claim) if was_carried_out else Answer([])
        self.ledger.locks.release(claims.owner_key(request.claim.owner))

    @precondition(lambda self: self.dead())
    @rule(data=st.data())
    def zombie_speaks(self, data: st.DataObject) -> None:
        """Late, perhaps after its chunk was abandoned, decided about, or claimed again; or from its spool."""
        request = data.draw(st.sampled_from(self.dead()))
        answer = request.answer
        if answer is not None and answer.receipts:
            self._tell(request, lambda: sending.record(self.ledger, request.claim, answer))
        elif data.draw(st.booleans()):
            self._tell(request, lambda: sending.record_unknown(self.ledger, request.claim))
        else:
            self._tell(request, lambda: sending.release(self.ledger, request.claim))

    @rule()
    def recover(self) -> None:
        sending.abandon_dead(self.ledger, self.campaign)

    # -- Settling ---------------------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        """A listing without lag: who was taken is found; who was not is looked up again, absent, or sent again.

        No request arrives after it: that is what the settle time is for, and what sending again relies on.
        """
        decisions = []
        for message in reconciling.unconfirmed(self.ledger, self.campaign, 100):
            place = message.chunk_id, message.position
            free = [one for one in self.model.taken.get(place, []) if not reconciling.bound_ids(self.ledger, [one])]
            if free:
                decisions.append(Settlement(message, "found", S.ACCEPTED, "listed", free[0]))
            else:
                made = data.draw(st.sampled_from(["look", "absent", "resend"]))
                state = S.PENDING if made == "resend" else S.UNKNOWN
                decisions.append(Settlement(message, made, state, "not listed"))
        reconciling.settle(self.ledger, self.campaign, decisions, by="model")
        self.model.resent |= {(one.message.chunk_id, one.message.position) for one in decisions if one.decision == "resend"}

    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        known = sorted(provider_id for held in self.model.taken.values() for provider_id in held)
        if not known:
            return
        states = st.sampled_from([S.DELIVERED, S.UNDELIVERED, S.ACCEPTED, S.REJECTED])
        news = data.draw(st.lists(st.tuples(st.sampled_from(known), states), max_size=6))
        reporting.apply_reports(self.ledger, [Report(provider_id, state, state.name) for provider_id, state in news])

    @rule()
    def expire(self) -> None:
        reporting.expire(self.ledger, self.campaign, sent_before=2e10)

    @precondition(lambda self: self.requests)
    @rule()
    def cancel(self) -> None:
        deliveries.cancel(self.ledger, self.campaign)
        self.was_cancelled = True

    # -- What always holds ------------------------------------------------------------------------------------------------

    @invariant()
    def everybody_is_in_one_state_and_the_counters_say_so(self) -> None:
        everything_adds_up(self.ledger)

    @invariant()
    def nobody_is_taken_twice_unless_by_a_decision(self) -> None:
        for place, held in self.model.taken.items():
            assert len(held) <= 1 or place in self.model.resent

    @invariant()
    def what_is_final_stays(self) -> None:
        for place, row in self._rows().items():
            was = self.model.final.get(place)
            assert was in (None, row.state), f"{was} became {row.state}"
            if S(row.state) in FINAL_STATES:
                self.model.final[place] = S(row.state)

    @invariant()
    def what_was_taken_is_never_forgotten(self) -> None:
        """Taken, and the request over: taken, unknown or decided about in the ledger; never quietly pending or refused."""
        for place, held in self.model.taken.items():
            if self._in_flight(place) or place in self.model.resent:
                continue
            state = S(self._rows()[place].state)
            assert state in TAKEN | {S.UNKNOWN, S.REJECTED} or state == S.CANCELLED, (
                f"{place} was taken, and is {state.name}"
            )
            assert state != S.REJECTED or held, "refused only by a report of it"

    @invariant()
    def an_id_in_the_ledger_is_one_the_provider_gave_for_that_message(self) -> None:
        for place, row in self._rows().items():
            if row.provider_id is not None:
                assert row.provider_id in self.model.taken.get(place, [])

    # -- Inside -----------------------------------------------------------------------------------------------------------

    def living(self) -> list[Request]:
        """Requests whose sender lives and has not said yet what became of them."""
        return [request for request in self.requests if request.owner_is_alive and not request.is_over]

    def dead(self) -> list[Request]:
        """Requests whose sender is gone without having said what became of them."""
        return [request for request in self.requests if not (request.owner_is_alive or request.is_over)]

    def _in_flight(self, place: Place) -> bool:
        """Whether the ledger has not been told of the message's request, and has not noticed its sender's death either."""
        row = self._rows()[place]
        return S(row.state) == S.PENDING and any(
            request.claim.chunk_id == place[0] and place[1] in request.claim.positions
            for request in [*self.living(), *self.dead()]
        )

    def _answer(self, data: st.DataObject, claim: Claim) -> Answer:
        """What the provider says of each recipient; the model notes whom it has taken."""
        words = data.draw(
            st.lists(st.sampled_from(sorted(SAID)), min_size=len(claim.positions), max_size=len(claim.positions))
        )
        receipts = []
        for position, word in zip(claim.positions, words, strict=True):
            state, is_taken = SAID[word]
            provider_id = None
            if is_taken:
                self.ids += 1
                provider_id = f"id-{self.ids}"
                self.model.taken.setdefault((claim.chunk_id, position), []).append(provider_id)
            receipts.append(Receipt(state, provider_id if state in TAKEN else None))
        return Answer(receipts)

    def _tell(self, request: Request, verb: Callable[[], None]) -> None:
        """A sender's news of its own claim: the living are always heard, the dead only in time."""
        request.is_over = True
        before = self._rows()
        try:
            verb()
        except ClaimLost:
            assert not request.owner_is_alive, "a living owner's claim is never taken away"
            assert self._rows() == before
        self.ledger.locks.release(claims.owner_key(request.claim.owner))

    def _rows(self) -> dict[Place, Any]:
        with self.ledger.read() as connection:
            return {(row.chunk_id, row.position): row for row in connection.execute(sa.select(tables.message))}


def _sqlite() -> tuple[Ledger, Callable[[], None]]:
    folder = tempfile.TemporaryDirectory()
    ledger = Ledger(f"sqlite:///{Path(folder.name) / 'ledger.db'}")

    def clean_up() -> None:
        ledger.close()
        folder.cleanup()

    return ledger, clean_up


def _postgres(ledger: Ledger) -> Callable[[], tuple[Ledger, Callable[[], None]]]:
    """One database for all examples, emptied after each."""

    def clean_up() -> None:
        with ledger.write() as connection:
            names = ", ".join(table.name for table in tables.metadata.sorted_tables if table.name != "identity")
            connection.execute(sa.text(f"TRUNCATE {names}"))

    return lambda: (ledger, clean_up)


_IN_CI = os.environ.get("CI") == "true"


def _run(open_ledger: Callable[[], tuple[Ledger, Callable[[], None]]], examples: int) -> None:
    """CI draws the same examples every time; elsewhere a failure prints the seed or blob that repeats it."""
    machine = type("LedgerMachine", (LedgerMachine,), {"open_ledger": staticmethod(open_ledger)})
    chosen = settings(
        max_examples=int(os.environ.get("POSTHORN_TEST_EXAMPLES", examples)),
        stateful_step_count=30,
        deadline=None,
        derandomize=_IN_CI,
        print_blob=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )
    run_state_machine_as_test(machine, settings=chosen)


@pytest.mark.timeout(600)
def test_no_order_of_events_breaks_the_ledger_on_sqlite() -> None:
    _run(_sqlite, 35)


@pytest.mark.timeout(600)
def test_no_order_of_events_breaks_the_ledger_on_postgresql(postgres_ledger: Ledger) -> None:
    _run(_postgres(postgres_ledger), 15)
