"""A list that changes while it is sent: who is appended, who leaves, who returns; and what must come of each of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Sequence
from pathlib import Path

_SHARE_AT_FIRST = 0.8
_MAX_AT_ONCE = 40


class LivingList:
    """The recipients file of a round. Without ``lives`` everybody is in it from the beginning, and nobody leaves.

    ``out`` left while nothing of theirs can have been on its way: nobody of them may get anything, in the list again or
    not. ``gone`` left while something may have been: they get it once, or not at all. Everybody else gets it once.
    """

    def __init__(self, phones: Sequence[str], *, lives: bool) -> None:
        self.phones = phones
        self.out: set[str] = set()
        self.gone: set[str] = set()
        self._surely_out: set[str] = set()
        """Those of ``out`` without whom a run has been seen to read the list."""
        first = int(len(phones) * _SHARE_AT_FIRST) if lives else len(phones)
        self._listed = dict.fromkeys([*phones[:first], phones[-1]])
        self._ahead = list(phones[first:-1])

    @property
    def listed(self) -> frozenset[str]:
        """Who is in the list now."""
        return frozenset(self._listed)

    def rows(self) -> list[str]:
        """The lines of the list: everybody, one that is not a number, two that stand there twice."""
        return [*self._listed, "not a number", self.phones[0], f" {self.phones[-1]} "]

    def write(self, path: Path) -> None:
        """Replace the file at once, as an editor does: whoever reads it has the old one or the new one."""
        new = path.with_suffix(".new")
        new.write_text("\n".join(["phone", *self.rows()]) + "\n", encoding="utf-8")
        new.replace(path)

    def was_read(self, listed: frozenset[str]) -> None:
        """A run that was started with these in the list, and no others, has got beyond its merge."""
        self._surely_out |= self.out - listed

    def append(self, dice: random.Random) -> int:
        """Some who were never in it come to its end, its middle, or its beginning."""
        many = min(len(self._ahead), dice.randint(1, _MAX_AT_ONCE))
        new, self._ahead = self._ahead[:many], self._ahead[many:]
        old = list(self._listed)
        at = dice.choice((0, len(old) // 2, len(old), len(old)))
        self._listed = dict.fromkeys([*old[:at], *new, *old[at:]])
        return many

    def remove_at_rest(self, dice: random.Random, planned: Container[str], heard: Container[str]) -> int:
        """Some leave while nothing runs; ``planned`` are in the ledger, of ``heard`` the provider has got a request."""
        leaving = self._remove(dice, lambda phone: phone not in heard) + self._remove(dice, lambda _: True)
        for phone in leaving:
            if phone in planned and phone not in heard and phone not in self.gone:
                self.out.add(phone)
            elif phone not in self.out:
                self.gone.add(phone)
        return len(leaving)

    def remove_beside(self, dice: random.Random) -> int:
        """Some leave while it is being sent."""
        leaving = self._remove(dice, lambda phone: phone not in self.out)
        self.gone.update(leaving)
        return len(leaving)

    def _remove(self, dice: random.Random, may_leave: Callable[[str], bool]) -> list[str]:
        ends = (self.phones[0], self.phones[-1])
        candidates = [phone for phone in self._listed if phone not in ends and may_leave(phone)]
        leaving = dice.sample(candidates, min(len(candidates), dice.randint(1, _MAX_AT_ONCE)))
        for phone in leaving:
            del self._listed[phone]
        return leaving

    def put_back(self, dice: random.Random) -> int:
        """Some of those who left are in it again."""
        able = [phone for phone in self.phones if phone not in self._listed and phone in self.gone | self._surely_out]
        back = dice.sample(able, min(len(able), dice.randint(1, _MAX_AT_ONCE)))
        self._listed.update(dict.fromkeys(back))
        return len(back)

    def put_everybody_back(self) -> None:
        """Everybody who ever was, or was to be, in the list."""
        self._listed.update(dict.fromkeys(self.phones))
        self._ahead = []
