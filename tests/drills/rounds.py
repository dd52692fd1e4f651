"""One round of a drill: start the campaign, kill it, start it again until it ends by itself, and compare with the truth."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from posthorn.ledger.store.engine import Ledger
from posthorn.settings import SerwerSmsSettings, Settings
from tests.delivery.journey import write_campaign
from tests.drills import worker
from tests.drills.box import Box
from tests.drills.children import Child, import_what_it_imports
from tests.drills.faultplan import Plan
from tests.drills.lists import LivingList
from tests.drills.postgres import Database, OwnServer
from tests.drills.proxy import ProxyProcess
from tests.drills.verdict import attempts_of, judge, planned_phones

NAME = "drill"
_PATIENCE_SECONDS = 90
_MAX_STARTS = 40
_HELD_SECONDS = 15 * 60 + 120
_LAST_LOOK_SECONDS = 15 * 60 - 1
"""So a held campaign that sent anything again is looked at for the last time a second after the request, not 13 minutes."""
_CALM_RUNS = 8
_CHANGES = 0.6
"""How often a list that lives changes before a run, and beside it."""


class Broken(Exception):
    """The promise does not hold in this round; the message says how."""


@dataclass
class Tally:
    """What happened over all rounds."""

    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    providers: Counter[str] = field(default_factory=Counter)
    lists: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    slowest_seconds: float = 0.0

    def add(self, other: Tally) -> None:
        """Add what happened elsewhere."""
        for mine, theirs in zip(self._counters(), other._counters(), strict=True):
            mine.update(theirs)
        self.starts += other.starts
        self.slowest_seconds = max(self.slowest_seconds, other.slowest_seconds)

    def _counters(self) -> list[Counter[str]]:
        return [self.kills, self.faults, self.endings, self.states, self.modes, self.providers, self.lists, self.attempts]

    def told(self, rounds: int, recipients: int, database: str, seconds: float) -> str:
        """The sums, as text."""
        held = "nobody twice, nobody missing, everybody in one state"
        lines = [
            f"\n{rounds} rounds of {recipients:,} recipients on {database} in {seconds:.0f} s: {held}",
            f"the slowest round took {self.slowest_seconds:.1f} s",
            _listed("modes", self.modes),
            _listed("the provider's records", self.providers),
            _listed(f"{self.starts} starts ended", self.endings),
            _listed(f"{self.kills.total()} interruptions", self.kills),
            _listed(f"{self.faults.total()} faults", self.faults),
            _listed("rows of lists", self.lists),
            _listed("requests, and claims that came to none", self.attempts),
            _listed("messages ended", self.states),
        ]
        return "\n".join(lines)


def _listed(what: str, counts: Counter[str]) -> str:
    return f"{what}: " + (", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none")


_ENDINGS = {
    worker.FINISHED: "finished",
    worker.STOPPED: "stopped by the provider",
    worker.ALREADY_RUNNING: "already running",
    worker.CANCELLED: "cancelled",
    worker.LEDGER_AWAY: "ledger away",
    worker.LIST_CHANGED: "list changed while it was read",
    -signal.SIGKILL: "killed",
    -signal.SIGTERM: "terminated",
}


class Round:
    """One campaign, one sandbox, one ledger. ``with Round(...) as one: one.run(dice)``."""

    def __init__(
        self, seed: int, folder: Path, plan: Plan, recipients: int, postgres: OwnServer | str | None, tally: Tally
    ) -> None:
        self.starts = self.kills = 0
        self._folder, self._plan, self._tally = folder, plan, tally
        self._children: list[Child] = []
        self._server = postgres if isinstance(postgres, OwnServer) else None
        url = postgres.url if isinstance(postgres, OwnServer) else postgres
        self._postgres = Database(url) if url else None
        self._proxy = ProxyProcess(self._postgres.url, folder / "proxy.log") if self._postgres else None
        phones = [f"+48{number}" for number in random.Random(seed).sample(range(500_000_000, 500_999_999), recipients)]
        self._list = LivingList(phones, lives=plan.list_changes)
        self._read: dict[int, frozenset[str]] = {}
        """Who was in the list when a process was started."""
        keys = {**plan.campaign_keys, "chunk_size": plan.chunk_size}
        self._file = write_campaign(folder, self._list.rows(), name=NAME, **keys)
        self._recipients = folder / "recipients.csv"
        self._box = Box(plan, folder / "sandbox.log")
        self._settings = Settings(
            database_url=self._proxy.url if self._proxy else f"sqlite:///{folder / 'ledger.db'}",
            state_dir=folder,
            guard_dir=folder / "marks",
            serwersms=SerwerSmsSettings(
                base_url=self._box.url,
                token="sandbox-token",
                chunk_size=plan.chunk_size,
                concurrency=plan.concurrency,
                breaker_after=plan.breaker_after,
                timeout_seconds=0.6,
                settle_seconds=plan.settle_seconds,
                last_look_seconds=_LAST_LOOK_SECONDS,
            ),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for child in self._children:
            child.end()
        self._box.close()
        if self._proxy:
            self._tally.kills["acknowledgements lost"] += self._proxy.close()
        if self._postgres and error is None:
            self._postgres.drop()

    def run(self, dice: random.Random) -> dict[str, int]:
        """The round; the counts of the states in which its messages ended.

        Raises:
            Broken: with everything that is wrong.
        """
        started = time.monotonic()
        puller = self._start(partial(worker.pull, NAME, self._settings)) if self._plan.pulls_reports else None
        for _ in range(dice.randint(2, 7)):
            self._disturbed_run(dice)
        self._until_finished(_MAX_STARTS, "although faults strike")
        fired = self._box.ask("truth")["faults"]
        self._tally.faults.update({_fault_of(name): struck for name, struck in fired.items() if struck})
        self._box.order("PUT", "faults", [])
        self._rest()
        if puller is not None:
            puller.end()
        self._until_finished(_CALM_RUNS, "without any fault")
        self._put_everybody_back()
        if self._plan.mode == "hold":
            self._box.order("POST", "clock", {"advance_seconds": _HELD_SECONDS})
        states = self._compare()
        self._tally.states.update(states)
        self._tally.modes[self._plan.mode] += 1
        self._tally.providers[self._plan.provider] += 1
        self._tally.starts += self.starts
        self._tally.slowest_seconds = max(self._tally.slowest_seconds, time.monotonic() - started)
        return states

    def prepare(self) -> None:
        """Let one run of the campaign end undisturbed, and import what it imported."""
        import_what_it_imports(partial(worker.deliver, self._file, self._settings), self._folder)

    # -- Starting and stopping --------------------------------------------------------------------------------------------

    def _start(self, work: Callable[[], int] | None = None) -> Child:
        child = Child(work or partial(worker.deliver, self._file, self._settings), self._folder / "worker.log")
        self._children.append(child)
        self._read[child.pid] = self._list.listed
        return child

    def _ended(self, child: Child) -> int:
        """Wait for the end of a delivery."""
        code = child.wait(_PATIENCE_SECONDS)
        if code is None:
            raise Broken(f"a run has not ended after {_PATIENCE_SECONDS} s; see worker.log")
        if code not in _ENDINGS or (code == worker.LEDGER_AWAY and self._postgres is None):
            raise Broken(f"a run crashed (exit code {code}); see worker.log")
        if code in (worker.FINISHED, worker.STOPPED):
            self._list.was_read(self._read[child.pid])
        self.starts += 1
        self._tally.endings[_ENDINGS[code]] += 1
        return code

    def _until_finished(self, most: int, when: str) -> None:
        for _ in range(most):
            if self._ended(self._start()) == worker.FINISHED:
                return
        raise Broken(f"the campaign does not finish in {most} runs, {when}")

    def _rest(self) -> None:
        """Until the sandbox has carried out whatever still travels, and lists all of it."""
        self._come_to_rest()
        time.sleep(self._plan.lag_seconds)

    def _come_to_rest(self) -> None:
        """Until the sandbox has carried out whatever still travels."""
        self._box.come_to_rest()
        time.sleep(max((rule.get("seconds", 0.0) for rule in self._plan.rules if rule["fault"] == "late"), default=0.05))

    # -- Disturbing -------------------------------------------------------------------------------------------------------

    def _disturbed_run(self, dice: random.Random) -> None:
        ways = [self._killed, self._killed, self._killed, self._terminated, self._paused, self._replaced, self._doubled]
        if self._postgres is not None:
            ways += [self._cut_off, self._unacknowledged, self._taken_over]
        if self._server is not None:
            ways += [self._server_killed, self._server_killed]
        if self._plan.list_changes and dice.random() < _CHANGES:
            self._change_at_rest(dice)
        first = self._start()
        self._until_a_moment(dice, first)
        if self._plan.list_changes and dice.random() < _CHANGES:
            self._change_beside(dice)
        if first.is_alive():
            dice.choice(ways)(dice, first)
        self._ended(first)

    def _until_a_moment(self, dice: random.Random, first: Child) -> None:
        """A moment in planning, opening and recovery; anywhere in a whole run; or while requests are under way."""
        when = dice.random()
        if when < 0.6:
            time.sleep(dice.uniform(0, 0.15) if when < 0.3 else dice.uniform(0.1, 1.5))
            return
        before = self._box.ask("truth")["send_requests"]
        while first.is_alive() and self._box.ask("truth")["send_requests"] == before:
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.3))

    def _change_at_rest(self, dice: random.Random) -> None:
        """The list changed between two starts, when nothing of it is on its way."""
        self._come_to_rest()
        heard = {message["phone"] for message in self._box.messages()}
        with self._ledger() as ledger:
            planned = planned_phones(ledger, NAME)
        self._tally.lists["removed at rest"] += self._list.remove_at_rest(dice, planned, heard)
        self._grow(dice)

    def _change_beside(self, dice: random.Random) -> None:
        """The list changed while a run reads it, merges it, or sends."""
        if dice.random() < 0.5:
            self._tally.lists["removed beside a run"] += self._list.remove_beside(dice)
        self._grow(dice)

    def _grow(self, dice: random.Random) -> None:
        if dice.random() < 0.7:
            self._tally.lists["appended"] += self._list.append(dice)
        if dice.random() < 0.4:
            self._tally.lists["put back"] += self._list.put_back(dice)
        self._list.write(self._recipients)

    def _put_everybody_back(self) -> None:
        if self._plan.list_changes:
            self._list.put_everybody_back()
            self._list.write(self._recipients)
            self._until_finished(_CALM_RUNS, "with everybody in the list again")
            self._tally.lists["of people who must get nothing"] += len(self._list.out)

    def _note(self, kind: str) -> None:
        self.kills += 1
        self._tally.kills[kind] += 1

    def _killed(self, _dice: random.Random, first: Child) -> None:
        first.signal(signal.SIGKILL)
        self._note("SIGKILL")

    def _terminated(self, _dice: random.Random, first: Child) -> None:
        first.signal(signal.SIGTERM)
        self._note("SIGTERM")

    def _paused(self, dice: random.Random, first: Child) -> None:
        first.signal(signal.SIGSTOP)
        time.sleep(dice.uniform(0.05, 1.2))
        first.signal(signal.SIGCONT)
        self._note("SIGSTOP and SIGCONT")

    def _replaced(self, dice: random.Random, first: Child) -> None:
        """Stopped while a second run is tried, then killed or woken."""
        first.signal(signal.SIGSTOP)
        second = self._start()
        if dice.random() < 0.5:
            second.wait(3)  # for as long as the first is stopped, it may have to wait for it
            first.signal(signal.SIGKILL)
            self._note("SIGSTOP, a second run, SIGKILL")
        else:
            time.sleep(dice.uniform(0, 0.3))
            first.signal(signal.SIGCONT)
            self._note("SIGSTOP, a second run, SIGCONT")
        self._ended(second)

    def _doubled(self, dice: random.Random, first: Child) -> None:
        """A second run beside the first, one of the two killed."""
        second = self._start()
        time.sleep(dice.uniform(0, 0.5))
        dice.choice((first, second)).signal(signal.SIGKILL)
        self._note("two runs at once, SIGKILL of one")
        self._ended(second)

    def _cut_off(self, dice: random.Random, first: Child) -> None:
        """Every database session ended, and at once a second run: the first may still live and have lost its lock."""
        assert self._postgres is not None
        self._postgres.end_sessions()
        self._note("database sessions ended, a second run")
        if dice.random() < 0.3:
            first.signal(signal.SIGSTOP)
            self._ended(self._start())
            first.signal(signal.SIGCONT)
        else:
            self._ended(self._start())

    def _unacknowledged(self, dice: random.Random, first: Child) -> None:
        """Commits that are carried out, and nobody hears of it."""
        assert self._proxy is not None
        for _ in range(dice.randint(1, 4)):
            self._proxy.lose_next()
            first.wait(dice.uniform(0, 0.4))
        self._note("commits without an answer")

    def _taken_over(self, dice: random.Random, first: Child) -> None:
        """Frozen while the database drops its locks and another run goes on to its end; then woken."""
        assert self._postgres is not None
        first.signal(signal.SIGSTOP)
        time.sleep(dice.uniform(0, 0.2))
        self._postgres.end_sessions()
        self._ended(self._start())
        first.signal(signal.SIGCONT)
        self._note("SIGSTOP, locks dropped, taken over, SIGCONT")

    def _server_killed(self, dice: random.Random, first: Child) -> None:
        """PostgreSQL killed under it and started again, every second or so, a few times."""
        assert self._server is not None
        for _ in range(dice.randint(1, 3)):
            how = dice.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGQUIT))
            self._server.kill(how)
            self._note(f"PostgreSQL ended by {how.name}")
            time.sleep(dice.choice((0.0, 0.0, 0.4)))
            self._server.start()
            first.wait(dice.uniform(0.1, 1.5))

    # -- Comparing --------------------------------------------------------------------------------------------------------

    def _compare(self) -> dict[str, int]:
        with self._ledger() as ledger:
            self._tally.attempts.update(attempts_of(ledger, NAME))
            verdict = judge(ledger, NAME, self._list, self._box.messages(), self._plan.mode, is_blind=self._plan.is_blind)
        if verdict.problems:
            raise Broken("\n  ".join([f"mode {self._plan.mode}, {self._plan.rules}", *verdict.problems]))
        return verdict.states

    @contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        """The ledger, as the drill itself reads it."""
        ledger = Ledger(self._postgres.url if self._postgres else self._settings.database_url)
        try:
            yield ledger
        finally:
            ledger.close()


def _fault_of(name: str) -> str:
    fault, _, call = name.partition("@")
    return fault if call == "messages/send_mms" else name
