"""Every message that the sandbox's SerwerSMS took, and its current status. It stores requests and computes from the clock.

A request's messages share one ``Batch``; a message is a batch and a position in it. Nothing is computed when a request is
taken: numbers are indexed and states computed when somebody asks, so that taking is cheap and needs no timers.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from posthorn.sandbox.clock import SandboxClock
from posthorn.sandbox.serwersms.options import SerwerSmsOptions

_BLOCK = 256
_SUFFIXES = [f"{number:02x}" for number in range(_BLOCK)]
_SUFFIX_POSITIONS = {suffix: position for position, suffix in enumerate(_SUFFIXES)}
_BLOCK_MASK = 0xFFFFFFFF
_LATEST_SECONDS = 72 * 3600
_UNDELIVERED_REASONS = ("message_expired", "unsupported_number", "message_rejected", "operator_error", "other_error")

Ref = tuple["Batch", int]
Run = tuple["Batch", Sequence[int]]


@dataclass(slots=True)
class Batch:
    """The messages of one send.

    These map positions: ``refused`` to error codes (never taken), ``blocked`` to reasons (taken, later unsent),
    ``withdrawn`` to the age at which a scheduled message was deleted, ``marked`` to the outcome that a person set.
    ``listed`` is how often reports showed part of it, the last time at ``listed_at``; ``request`` is the number of the
    send.

    ``taken_at`` and ``due_at`` are ages of the sandbox clock, ``queued`` and ``send_at`` are wall times. ``number`` and
    ``first`` are set when the batch is stored.
    """

    phones: list[str]
    title: str
    blocks: list[str]
    file_ids: Sequence[str]
    queued: float
    taken_at: float
    due_at: float
    send_at: float
    refused: dict[int, int] = field(default_factory=dict)
    blocked: dict[int, str] = field(default_factory=dict)
    withdrawn: dict[int, float] = field(default_factory=dict)
    marked: dict[int, Standing] = field(default_factory=dict)
    text: str = ""
    request: int = 0
    listed: int = 0
    listed_at: float = 0.0
    number: int = 0
    first: int = 0

    @property
    def accepted(self) -> int:
        """How many of its messages were taken."""
        return len(self.phones) - len(self.refused)

    def id_of(self, position: int) -> str:
        """The provider's id of one message."""
        return self.blocks[position // _BLOCK] + _SUFFIXES[position % _BLOCK]

    def ids(self) -> list[str]:
        """The ids of all positions, in order, and of those that would follow up to the end of the last block."""
        return [block + suffix for block in self.blocks for suffix in _SUFFIXES]


@dataclass(slots=True)
class Standing:
    """The status of one message, in the provider's words; wall times in Unix seconds or None."""

    status: str
    reason: str | None = None
    sent: float | None = None
    delivered: float | None = None


class Messages:
    """All batches in the order in which they were taken, and the queries about them."""

    def __init__(self, options: SerwerSmsOptions, clock: SandboxClock) -> None:
        self._options = options
        self._clock = clock
        # A random start makes the ids of this run differ from those of every earlier one.
        self._next_block = secrets.randbits(32)
        self.clear()

    def clear(self) -> None:
        """Forget every message; ids go on."""
        self.batches: list[Batch] = []
        self._firsts: list[int] = []
        self._by_block: dict[str, tuple[Batch, int]] = {}
        self._total = 0
        self._indexed = 0
        self._by_phone: dict[str, int | list[int]] = {}
        self._twice: set[tuple[str, str]] = set()
        self._reached: set[str] = set()

    # Taking.

    def blocks_for(self, count: int) -> list[str]:
        """Fresh ids, in blocks of 256 that share their first eight digits."""
        blocks = []
        for _ in range(-(-count // _BLOCK)):
            self._next_block = (self._next_block + 1) & _BLOCK_MASK
            # An odd factor maps the counter one to one and scatters it.
            blocks.append("%08x" % (self._next_block * 2654435761 & _BLOCK_MASK))
        return blocks

    def store(self, batch: Batch) -> None:
        """Add a batch."""
        batch.number, batch.first = len(self.batches) + 1, self._total
        self.batches.append(batch)
        self._firsts.append(batch.first)
        self._total += len(batch.phones)
        for index, block in enumerate(batch.blocks):
            self._by_block[block] = (batch, index * _BLOCK)

    @property
    def total(self) -> int:
        """How many messages there are, including refused ones."""
        return self._total

    # Finding.

    def by_id(self, message_id: str) -> Ref | None:
        """The message of an id, or None."""
        found = self._by_block.get(message_id[:8])
        suffix = _SUFFIX_POSITIONS.get(message_id[8:])
        if found is None or suffix is None or found[1] + suffix >= len(found[0].phones):
            return None
        return found[0], found[1] + suffix

    def by_phone(self, phone: str) -> Iterator[Ref]:
        """Every message to a number, as it was echoed, oldest first."""
        self._index()
        numbers = self._by_phone.get(phone, ())
        for number in (numbers,) if isinstance(numbers, int) else numbers:
            batch = self.batches[bisect_right(self._firsts, number) - 1]
            yield batch, number - batch.first

    def runs(self) -> Iterator[Run]:
        """All messages, oldest first."""
        return ((batch, range(len(batch.phones))) for batch in self.batches)

    def _index(self) -> None:
        """Index the batches that were taken since the last time."""
        for batch in self.batches[self._indexed :]:
            for position, phone in enumerate(batch.phones):
                self._index_one(batch, position, phone)
        self._indexed = len(self.batches)

    def _index_one(self, batch: Batch, position: int, phone: str) -> None:
        number = batch.first + position
        earlier = self._by_phone.get(phone)
        if position not in batch.refused:
            self._reached.add(phone)
            if earlier is not None and self._had(earlier, batch.title):
                self._twice.add((batch.title, phone))
        if earlier is None:
            self._by_phone[phone] = number
        elif isinstance(earlier, int):
            self._by_phone[phone] = [earlier, number]
        else:
            earlier.append(number)

    def _had(self, numbers: int | list[int], title: str) -> bool:
        for number in (numbers,) if isinstance(numbers, int) else numbers:
            batch = self.batches[bisect_right(self._firsts, number) - 1]
            if batch.title == title and number - batch.first not in batch.refused:
                return True
        return False

    # Standing.

    def is_visible(self, batch: Batch, age: float) -> bool:
        """Whether reports list this batch now: already, and still."""
        is_known = age - batch.taken_at >= self._options.visible_after_seconds
        return is_known and age - batch.due_at < self._options.kept_seconds

    def standing(self, batch: Batch, position: int, age: float) -> Standing:
        """The status of a message at an age of the clock. ``withdrawn`` is a word that only the truth uses."""
        if position in batch.refused:
            return Standing("unsent", reason=_REFUSED_REASONS.get(batch.refused[position], "other_error"))
        if position in batch.withdrawn:
            return Standing("withdrawn")
        if batch.marked and position in batch.marked:
            return batch.marked[position]
        since_due = age - batch.due_at
        if since_due < self._options.sent_after_seconds:
            return Standing("saved" if since_due < 0 else "in_progress")
        if position in batch.blocked:
            return Standing("unsent", reason=batch.blocked[position])
        return self._fate(batch, batch.phones[position], since_due)

    def _fate(self, batch: Batch, phone: str, since_due: float) -> Standing:
        """The outcome of a dispatched message: always the same for one seed, title and number."""
        options = self._options
        digest = hashlib.blake2b(f"{options.seed}|{batch.title}|{phone}".encode(), digest_size=8).digest()
        share, pace = int.from_bytes(digest[:4]) / 2**32, int.from_bytes(digest[4:]) / 2**32
        sent = batch.send_at + options.sent_after_seconds
        if share < options.silent:
            return Standing("sent", sent=sent)
        latest = _LATEST_SECONDS if share >= 1 - options.late else options.reported_after_seconds
        reported_after = options.sent_after_seconds + pace * max(0.0, latest - options.sent_after_seconds)
        if since_due < reported_after:
            return Standing("sent", sent=sent)
        if share < options.silent + options.undelivered:
            reason = _UNDELIVERED_REASONS[int(pace * len(_UNDELIVERED_REASONS))]
            return Standing("undelivered", reason=reason, sent=sent)
        return Standing("delivered", sent=sent, delivered=batch.send_at + reported_after)

    def statuses(self, batch: Batch, age: float) -> list[str]:
        """The status of every message of a batch, as ``standing`` computes it, at a third of the cost."""
        since_due = age - batch.due_at
        if since_due < 0 or since_due < self._options.sent_after_seconds:
            listed = ["saved" if since_due < 0 else "in_progress"] * len(batch.phones)
        else:
            listed = self._fates(batch, since_due)
        for position in {*batch.refused, *batch.blocked, *batch.withdrawn, *batch.marked}:
            listed[position] = self.standing(batch, position, age).status
        return listed

    def _fates(self, batch: Batch, since_due: float) -> list[str]:
        options, begun = self._options, hashlib.blake2b(f"{self._options.seed}|{batch.title}|".encode(), digest_size=8)
        sent_after, silent, bad = options.sent_after_seconds, options.silent, options.silent + options.undelivered
        listed = []
        for phone in batch.phones:
            digest = begun.copy()
            digest.update(phone.encode())
            first, second = _HALVES(digest.digest())
            share, latest = first / 2**32, options.reported_after_seconds
            if share >= 1 - options.late:
                latest = _LATEST_SECONDS
            reported_after = sent_after + second / 2**32 * max(0.0, latest - sent_after)
            is_open = share < silent or since_due < reported_after
            listed.append("sent" if is_open else "undelivered" if share < bad else "delivered")
        return listed

    def mark(self, ref: Ref, outcome: str, wall: float) -> None:
        """Set the outcome of a message: ``delivered``, ``undelivered``, or ``silent``, which is never reported on.

        Raises:
            ValueError: another word, or a message that was never taken or is withdrawn.
        """
        batch, position = ref
        if position in batch.refused or position in batch.withdrawn:
            raise ValueError("the message was refused or withdrawn: its outcome is final")
        sent = min(wall, batch.send_at + self._options.sent_after_seconds)
        standings = {
            "delivered": Standing("delivered", sent=sent, delivered=wall),
            "undelivered": Standing("undelivered", reason="message_expired", sent=sent),
            "silent": Standing("sent", sent=sent),
        }
        if outcome not in standings:
            raise ValueError(f"{outcome}: expected one of {', '.join(standings)}")
        batch.marked[position] = standings[outcome]

    def withdraw(self, message_id: str, age: float) -> Batch | None:
        """Delete a message that is still scheduled; returns its batch, or None if there is nothing to delete."""
        found = self.by_id(message_id)
        if found is None or self.standing(*found, age).status != "saved":
            return None
        found[0].withdrawn[found[1]] = age
        return found[0]

    # The truth.

    def totals(self) -> dict[str, int]:
        """Counts: messages taken, numbers reached, numbers with one title taken more than once, and messages under way."""
        self._index()
        age = self._clock.age()
        accepted = sum(batch.accepted for batch in self.batches)
        withdrawn = sum(len(batch.withdrawn) for batch in self.batches)
        scheduled = sum(batch.accepted - len(batch.withdrawn) for batch in self.batches if batch.due_at > age)
        return {
            "accepted": accepted,
            "numbers": len(self._reached),
            "twice": len(self._twice),
            "dispatched": accepted - withdrawn - scheduled,
            "scheduled": scheduled,
            "withdrawn": withdrawn,
        }

    def counts(self, title: str | None = None) -> Mapping[str, int]:
        """How many messages were taken per number, of one title or of all."""
        counts: dict[str, int] = {}
        for batch in self.batches:
            if title is None or batch.title == title:
                for position, phone in enumerate(batch.phones):
                    if position not in batch.refused:
                        counts[phone] = counts.get(phone, 0) + 1
        return counts


_HALVES = struct.Struct(">II").unpack
_REFUSED_REASONS = {3103: "wrong_number", 3004: "limit_exhausted", 3005: "no_permission_to_send_messages", 3100: "lock_send"}


def refused_numbers(phones: Sequence[str], share: float, seed: int) -> Iterator[int]:
    """Positions of the numbers that are refused although they look correct: the same numbers for the same seed."""
    for position, phone in enumerate(phones):
        if random.Random(f"{seed}|{phone}").random() < share:  # noqa: S311 - repeatable on purpose
            yield position
