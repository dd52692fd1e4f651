"""Any story of an event whose list lives: run, stop, append, remove, correct, change, take out, replace, in any order.

The model knows to whom the provider was asked to send. After every step the states add up, nobody has had it twice, nobody
who was taken out gets it afterwards, and in the end whoever is in the list and was not taken out has had it once.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from posthorn.delivery.planning.check import examine
from posthorn.delivery.planning.load import load_wish
from posthorn.delivery.planning.merge import Consent, MissingRows
from posthorn.delivery.planning.plan import plan_file
from posthorn.errors import DeliveryChanged, InputError
from posthorn.ledger import amending, deliveries, erasing, sending, tickets
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.merging import Position, take_out
from posthorn.ledger.resolving import Which, resolve
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import Answer, Kind, MessageState, Receipt
from posthorn.settings import Settings
from tests.delivery.event_journey import ticket_settings
from tests.delivery.stories import dies, ledger_adds_up, tell
from tests.ledger.ledgers import LATEST, OWNER, claim_one

S = MessageState
PEOPLE = st.integers(0, 11)
OUTCOMES = st.sampled_from(["taken", "refused", "not taken", "lost, but taken", "lost"])


class Story(RuleBasedStateMachine):
    """One event, one code for each person, and now and then another event of the same stored MMS beside it."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.folder = Path(self._folder.name)
        self.settings: Settings = ticket_settings("http://127.0.0.1:1", self.folder)
        self.listed: dict[int, int] = {}
        """Whoever is in the list now, with the number that stands there."""
        self.planned: set[int] = set()
        self.out: set[int] = set()
        self.text = "a"
        self.code: dict[int, str] = {}
        """Whose code is another than the list says: it was replaced."""
        self.had: Counter[str] = Counter()
        """How often the provider has taken a code."""
        self.ids = 0

    def teardown(self) -> None:
        """The last word: send the rest, and everybody who is in the list and was not taken out has had it once."""
        if self.planned:
            self.merge(accept=True)
            for _ in range(60):
                if not self._send("taken"):
                    break
            with open_ledger(self.settings) as ledger:
                states = {self._person(one.barcode): one.state for one in tickets.all_tickets(ledger, self._delivery())}
            for person in self.listed:
                if person not in self.out and states[person] not in (S.UNKNOWN, S.REJECTED):
                    assert self.had[self._code(person)] == 1, (person, states[person])
            self._erase()
        self._folder.cleanup()

    def _erase(self) -> None:
        """It is erased: whoever is in the list is nobody's to be sent to again."""
        with open_ledger(self.settings) as ledger:
            erasing.erase(ledger, self._delivery())
            erasing.mark_erased(ledger, self._delivery())
        self.listed.setdefault(99, 99)
        with pytest.raises(InputError, match="was erased by housekeeping"):
            plan_file(self._write(), self.settings, kind=Kind.EVENT, consent=Consent(accept_missing=True, by="Ada"))
        assert not self._send("taken")

    def _code(self, person: int) -> str:
        return self.code.get(person, f"C{person}")

    def _person(self, code: str) -> int:
        """Whose code it is by now; one that is void is nobody's."""
        return next(person for person in self.planned if self._code(person) == code)

    def _delivery(self) -> Delivery:
        with open_ledger(self.settings) as ledger:
            return deliveries.get(ledger, "gala")

    def _write(self) -> Path:
        rows = [f"+1650253{number:04},C{person}" for person, number in sorted(self.listed.items())]
        (self.folder / "attendees.csv").write_text("\n".join(["phone,barcode_id", *rows]) + "\n")
        file = self.folder / "gala.toml"
        file.write_text(
            f'name = "gala"\nmms_id = "7"\nfrom = "60856"\nattendees = "attendees.csv"\ncustom_subject = "{self.text}"\n'
        )
        return file

    @rule(person=PEOPLE)
    def append(self, person: int) -> None:
        """Somebody is in the list, or back in it."""
        self.listed.setdefault(person, person)

    @precondition(lambda self: self.listed)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Somebody is not in the list any more."""
        del self.listed[data.draw(st.sampled_from(sorted(self.listed)))]

    @precondition(lambda self: self.listed)
    @rule(data=st.data(), number=st.integers(100, 110))
    def correct(self, data: st.DataObject, number: int) -> None:
        """Somebody has another number in the list."""
        self.listed[data.draw(st.sampled_from(sorted(self.listed)))] = number

    @rule(text=st.sampled_from("ab"))
    def rewrite(self, text: str) -> None:
        """The content of the file is another, or the old one again."""
        self.text = text

    @precondition(lambda self: self.listed)
    @rule(accept=st.booleans())
    def merge(self, *, accept: bool) -> None:
        """Run the file: `check` and the merge say the same, and what is refused changes nothing."""
        file, consent = self._write(), Consent(accept_missing=accept, by="Ada")
        said = []
        for look in (
            lambda: examine(load_wish(file, Kind.EVENT, self.settings), consent),
            lambda: plan_file(file, self.settings, kind=Kind.EVENT, consent=consent),
        ):
            try:
                look()
                said.append(None)
            except (InputError, DeliveryChanged) as error:
                said.append(type(error))
        assert said[0] == said[1]
        if said[1] is None:
            self.out |= self.planned - self.listed.keys()
            self.planned |= self.listed.keys()
        elif said[1] is MissingRows:
            assert self.planned - self.listed.keys() - self.out

    @precondition(lambda self: self.planned)
    @rule(outcome=OUTCOMES)
    def send(self, outcome: str) -> None:
        """One ticket is claimed and sent, or its process dies, or its answer is lost."""
        self._send(outcome)

    def _send(self, outcome: str) -> bool:
        with open_ledger(self.settings) as ledger:
            delivery = deliveries.get(ledger, "gala")
            claim = claim_one(ledger, delivery, OWNER, 1, LATEST)
            if claim is None:
                return False
            ((code, _),) = claim.tickets
            person = self._person(code)
            assert person not in self.out, "nobody who was taken out is sent to"
            if outcome in ("taken", "lost, but taken"):
                self.had[code] += 1
            self.ids += 1
            if outcome == "taken":
                sending.record(ledger, claim, Answer([Receipt(S.ACCEPTED, f"id-{self.ids}")]))
            elif outcome == "refused":
                sending.record(ledger, claim, Answer([Receipt(S.REJECTED, error="E715")]))
            elif outcome == "not taken":
                sending.release(ledger, claim)
            else:
                sending.record_unknown(ledger, claim)
            return True

    @precondition(lambda self: self.planned)
    @rule()
    def settle(self) -> None:
        """A person who knows settles what is unknown: what was not taken is pending again, but for whoever was taken out."""
        with open_ledger(self.settings) as ledger:
            delivery = deliveries.get(ledger, "gala")
            for one in list(tickets.all_tickets(ledger, delivery)):
                if one.state == S.UNKNOWN:
                    taken = self.had[one.barcode] > 0
                    resolve(ledger, delivery, Which(codes=[one.barcode]), taken=taken, by="Ada", why="seen")

    @precondition(lambda self: self.planned)
    @rule(data=st.data())
    def cancel_one(self, data: st.DataObject) -> None:
        """A person takes somebody out, whatever has become of the ticket."""
        person = data.draw(st.sampled_from(sorted(self.planned)))
        with open_ledger(self.settings) as ledger:
            delivery = deliveries.get(ledger, "gala")
            places = [
                Position(*one.place) for one in tickets.all_tickets(ledger, delivery) if one.barcode == self._code(person)
            ]
            with ledger.write() as connection:
                take_out(connection, delivery.id, places, by="Ada", why="asked to")
        self.out.add(person)

    @precondition(lambda self: self.planned)
    @rule(data=st.data())
    def replace_code(self, data: st.DataObject) -> None:
        """A code has leaked: its owner gets another one, and the list goes on saying the old one."""
        person, new = data.draw(st.sampled_from(sorted(self.planned))), f"N{self.ids}"
        self.ids += 1
        with open_ledger(self.settings) as ledger:
            event = deliveries.get(ledger, "gala")
            row = amending.replace_code(ledger, event, self._code(person), new, by="Ada", why="leaked")
        assert row is not None
        if amending.may_be_amended(row):
            self.code[person] = new

    @precondition(lambda self: self.planned)
    @rule()
    def die_while_merging(self) -> None:
        """A merge dies right before its commit: nothing of it is seen, and what it staged is swept."""
        before = self._delivery()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("posthorn.ledger.planning._update", dies)
            with suppress(KeyboardInterrupt, InputError, DeliveryChanged):
                plan_file(self._write(), self.settings, kind=Kind.EVENT, consent=Consent(accept_missing=True, by="Ada"))
        assert self._delivery() == before

    @invariant()
    def adds_up(self) -> None:
        """Counters equal a count, totals equal the input, and nobody has had it twice."""
        if self.planned:
            ledger_adds_up(self.settings)
        assert all(count == 1 for count in self.had.values()), self.had


def test_any_story_sends_to_each_once_and_to_nobody_who_was_taken_out() -> None:
    tell(Story)
