"""Any story of two campaigns with living lists in one ledger: merged in turns, sent, moved, one of them erased.

What happens to one is nothing to the other, although their waves lie between each other. Within one, nobody gets it twice,
nobody who was taken out gets it afterwards, and in the end whoever is listed has had it once.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from posthorn.delivery.planning.check import examine
from posthorn.delivery.planning.load import load_wish
from posthorn.delivery.planning.merge import Consent, MissingRows
from posthorn.delivery.planning.plan import plan_file
from posthorn.errors import DeliveryChanged, InputError
from posthorn.ledger import amending, deliveries, erasing, sending
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.resolving import Which, resolve
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Answer, Kind, MessageState, Phone, Receipt
from tests.conftest import sandbox_settings
from tests.delivery.stories import dies, ledger_adds_up, tell
from tests.ledger.ledgers import LATEST, OWNER, claim_one

S = MessageState
PEOPLE = st.integers(0, 11)
OUTCOMES = st.sampled_from(["taken", "refused", "not taken", "lost, but taken", "lost"])
FIRST_PHONE = 48_500_000_000


@dataclass
class Told:
    """One campaign as the story knows it."""

    name: str
    listed: dict[int, None] = field(default_factory=dict)
    planned: set[int] = field(default_factory=set)
    out: set[int] = field(default_factory=set)
    had: Counter[int] = field(default_factory=Counter)
    title: str = "a"
    hours: int | None = None


class Story(RuleBasedStateMachine):
    """Two campaigns in chunks of three, of which ``self.one`` is at hand; every erased one makes room for the next."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.folder = Path(self._folder.name)
        self.settings = sandbox_settings("http://127.0.0.1:1", self.folder)
        self.one, self.other = Told("sale-0"), Told("sale-1")
        self.campaigns, self.ids = 2, 0
        self.now = datetime.now(UTC)

    def teardown(self) -> None:
        """The last word on both: the rest is sent, and whoever is listed and was not taken out has had it once."""
        for _ in range(2):
            self.switch()
            if self.one.planned and self.one.listed:
                self.merge(accept=True)
                while self._send("taken"):
                    pass
                with open_ledger(self.settings) as ledger:
                    states = self._states(ledger)
                for person in self.one.listed.keys() - self.one.out:
                    if person in states and states[person] not in (S.UNKNOWN, S.REJECTED):
                        assert self.one.had[person] == 1, (person, states[person])
                assert self.one.planned == states.keys()
        self._folder.cleanup()

    def _seen(self) -> tuple[Delivery, dict[int, MessageState]]:
        with open_ledger(self.settings) as ledger:
            return deliveries.get(ledger, self.one.name), self._states(ledger)

    def _states(self, ledger: Ledger) -> dict[int, MessageState]:
        message = tables.message.c
        query = sa.select(message.phone, message.state)
        with ledger.read() as connection:
            of_this = query.where(message.campaign_id == deliveries.get(ledger, self.one.name).id)
            return {row.phone - FIRST_PHONE: MessageState(row.state) for row in connection.execute(of_this)}

    def _write(self) -> Path:
        one = self.one
        rows = [f"+{FIRST_PHONE + person}" for person in one.listed]
        (self.folder / f"{one.name}.csv").write_text("\n".join(["phone", *rows]) + "\n")
        lines = [f'name = "{one.name}"', f'title = "{one.title}"', 'text = "x"', f'recipients = "{one.name}.csv"']
        lines += ["chunk_size = 3", 'on_repeat = "send"']
        if one.hours is not None:
            lines.append(f"send_at = {(self.now + timedelta(hours=one.hours)).isoformat(timespec='seconds')}")
        file = self.folder / f"{one.name}.toml"
        file.write_text("\n".join(lines) + "\n")
        return file

    @initialize(lists=st.tuples(*[st.lists(PEOPLE, min_size=4, unique=True)] * 2))
    def begin(self, lists: tuple[list[int], list[int]]) -> None:
        """Both are planned, one after the other."""
        for people in lists:
            self.append(people, first=False)
            self.merge(accept=False)
            self.switch()

    @rule()
    def switch(self) -> None:
        """The other one is at hand."""
        self.one, self.other = self.other, self.one

    @rule(people=st.lists(PEOPLE, max_size=6), first=st.booleans())
    def append(self, people: list[int], *, first: bool) -> None:
        """Some are in the list, or back in it, at its end or its beginning."""
        new = dict.fromkeys(people)
        self.one.listed = {**new, **self.one.listed} if first else {**self.one.listed, **new}

    @precondition(lambda self: self.one.listed)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Somebody is not in the list any more."""
        del self.one.listed[data.draw(st.sampled_from(sorted(self.one.listed)))]

    @rule(title=st.sampled_from("ab"), hours=st.sampled_from([None, 5, 9]))
    def rewrite(self, title: str, hours: int | None) -> None:
        """The content is another, or the moment is."""
        self.one.title, self.one.hours = title, hours

    @precondition(lambda self: self.one.listed)
    @rule(accept=st.booleans())
    def merge(self, *, accept: bool) -> None:
        """Run the file: `check` and the merge say the same, and what is refused changes nothing."""
        one, file, consent = self.one, self._write(), Consent(accept_missing=accept, by="Ada")
        said = []
        for look in (
            lambda: examine(load_wish(file, Kind.CAMPAIGN, self.settings), consent),
            lambda: plan_file(file, self.settings, consent=consent),
        ):
            try:
                look()
                said.append(None)
            except (InputError, DeliveryChanged) as error:
                said.append(type(error))
        assert said[0] == said[1]
        if said[1] is None:
            one.out |= one.planned - one.listed.keys()
            one.planned |= one.listed.keys()
        elif said[1] is MissingRows:
            assert not accept
            assert one.planned - one.listed.keys() - one.out

    @precondition(lambda self: self.one.planned)
    @rule(outcome=OUTCOMES)
    def send(self, outcome: str) -> None:
        """One chunk is claimed and sent, or its process dies, or its answer is lost."""
        self._send(outcome)

    def _send(self, outcome: str) -> bool:
        one = self.one
        with open_ledger(self.settings) as ledger:
            claim = claim_one(ledger, deliveries.get(ledger, one.name), OWNER, 1, LATEST)
            if claim is None:
                return False
            people = [phone - FIRST_PHONE for phone in claim.phones]
            assert one.out.isdisjoint(people), "nobody who was taken out is sent to"
            assert one.planned.issuperset(people), "nobody is sent another campaign's message"
            if outcome in ("taken", "lost, but taken"):
                one.had.update(people)
            if outcome in ("taken", "refused"):
                self.ids += len(people)
                taken = [Receipt(S.ACCEPTED, f"id-{self.ids - at}") for at in range(len(people))]
                refused = [Receipt(S.REJECTED, error="3103")] * len(people)
                sending.record(ledger, claim, Answer(taken if outcome == "taken" else refused))
            elif outcome == "not taken":
                sending.release(ledger, claim)
            else:
                sending.record_unknown(ledger, claim)
            return True

    @precondition(lambda self: self.one.planned)
    @rule()
    def settle(self) -> None:
        """A person who knows settles what is unknown."""
        with open_ledger(self.settings) as ledger:
            delivery = deliveries.get(ledger, self.one.name)
            for person, state in self._states(ledger).items():
                if state == S.UNKNOWN:
                    which, taken = Which(phones=[Phone(FIRST_PHONE + person)]), self.one.had[person] > 0
                    resolve(ledger, delivery, which, taken=taken, by="Ada", why="seen")

    @precondition(lambda self: self.one.planned)
    @rule(data=st.data())
    def cancel_one(self, data: st.DataObject) -> None:
        """A person takes somebody out, whatever has become of the message."""
        person = data.draw(st.sampled_from(sorted(self.one.planned)))
        with open_ledger(self.settings) as ledger:
            which = Which(phones=[Phone(FIRST_PHONE + person)])
            amending.take_out(ledger, deliveries.get(ledger, self.one.name), which, by="Ada", why="asked to")
        self.one.out.add(person)

    @precondition(lambda self: self.one.planned and self.one.listed)
    @rule()
    def die_while_merging(self) -> None:
        """A merge dies right before its commit: nothing of it is seen, and what it staged is swept."""
        before = self._seen()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("posthorn.ledger.planning._update", dies)
            with suppress(KeyboardInterrupt, InputError, DeliveryChanged):
                plan_file(self._write(), self.settings, consent=Consent(accept_missing=True, by="Ada"))
        assert self._seen() == before

    @precondition(lambda self: self.one.planned and self.one.listed)
    @rule()
    def erase(self) -> None:
        """It is over, erased, and closed: its file is refused, nothing more leaves, and the next campaign begins."""
        while self._send("taken"):
            pass
        with open_ledger(self.settings) as ledger:
            delivery = deliveries.get(ledger, self.one.name)
            erasing.erase(ledger, delivery)
            erasing.mark_erased(ledger, delivery)
            assert self._states(ledger) == {}
        with pytest.raises(InputError, match="was erased by housekeeping"):
            plan_file(self._write(), self.settings, consent=Consent(accept_missing=True, by="Ada"))
        assert not self._send("taken")
        self.one = Told(f"sale-{self.campaigns}")
        self.campaigns += 1

    @invariant()
    def adds_up(self) -> None:
        """Counters equal a count, totals equal the input, and nobody has had it twice."""
        for one in (self.one, self.other):
            assert all(count == 1 for count in one.had.values()), one.had
        if self.one.planned or self.other.planned:
            ledger_adds_up(self.settings)


def test_any_story_of_two_campaigns_sends_to_each_once_and_to_nobody_who_was_taken_out() -> None:
    tell(Story)
