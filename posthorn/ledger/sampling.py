"""A random sample of a list that is read once, for a canary, which has to be like the rest. The same list gives the same."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any


class Sampled:
    """The rows except a sample of ``count``, which is complete when the iteration ends. The seed decides who is in it.

    Reservoir sampling: each row is equally likely to be in it, however long the list, and only the sample is kept in memory.
    A row that a later one displaces is yielded in its place.
    """

    def __init__(self, rows: Iterable[Sequence[Any]], count: int, seed: str) -> None:
        self._rows = rows
        self._count = count
        self._random = random.Random(seed)  # noqa: S311 - a sample, no secret
        self.sample: list[Any] = []

    def __iter__(self) -> Iterator[list[Any]]:
        seen = 0
        for batch in self._rows:
            left = []
            for row in batch:
                seen += 1
                at = self._random.randrange(seen)
                if len(self.sample) < self._count:
                    self.sample.append(row)
                elif at < self._count:
                    left.append(self.sample[at])
                    self.sample[at] = row
                else:
                    left.append(row)
            if left:
                yield left
