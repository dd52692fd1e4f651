"""The list of hand-made faults: each is one change of one file that the named tests must notice."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ROOT = Path(__file__).parents[2]
FAULTS = Path(__file__).with_name("faults")
GRAVE = ("twice", "lost", "leak")


class Fault(BaseModel):
    """One ``[[fault]]``: ``old``, text that ``file`` has exactly once, becomes ``new``; one of ``tests`` must fail."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=10)
    kind: Literal["twice", "lost", "leak", "lesser"]
    file: str
    old: str = Field(min_length=1)
    new: str
    tests: tuple[str, ...] = Field(min_length=1)
    needs_postgres: bool = False

    @property
    def grave(self) -> bool:
        """Whether it could send twice, lose or leak: such a one must be caught."""
        return self.kind in GRAVE

    def applied(self, text: str) -> str:
        return text.replace(self.old, self.new, 1)


def read_faults(folder: Path = FAULTS) -> dict[str, list[Fault]]:
    """The faults of each file, by the file's name without its ending."""
    return {path.stem: list(_faults_in(path)) for path in sorted(folder.glob("*.toml"))}


def chosen(faults: dict[str, list[Fault]], wanted: Sequence[str] = ()) -> list[Fault]:
    """All faults, or those of the files ``wanted`` and those with such a text in their names."""
    return [
        fault
        for file, some in faults.items()
        for fault in some
        if not wanted or file in wanted or any(text in fault.name for text in wanted)
    ]


def staleness(faults: Sequence[Fault], root: Path = ROOT) -> list[str]:
    """What is no longer true of the list, one sentence each; empty if all of it can be applied."""
    twins = [name for name, count in Counter(fault.name for fault in faults).items() if count > 1]
    said = [f"{name}: the name is used more than once" for name in twins]
    return said + [f"{fault.name}: {wrong}" for fault in faults for wrong in _wrong(fault, root)]


def _faults_in(path: Path) -> Iterator[Fault]:
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("fault", []):
        yield Fault.model_validate(entry)


def _wrong(fault: Fault, root: Path) -> Iterator[str]:
    path = root / fault.file
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if (count := text.count(fault.old)) != 1:
        yield f"its old text is {count} times in {fault.file}, not once"
    elif fault.old == fault.new:
        yield "it changes nothing"
    elif path.suffix == ".py":
        yield from _broken_syntax(fault.applied(text))
    yield from (f"there is no test {test}" for test in fault.tests if not _exists(test, root))


def _broken_syntax(text: str) -> Iterator[str]:
    try:
        ast.parse(text)
    except SyntaxError as error:
        yield f"with it the file is not Python any more: {error}"


def _exists(test: str, root: Path) -> bool:
    path, *names = test.split("::")
    if not (root / path).exists():
        return False
    text = (root / path).read_text(encoding="utf-8") if names else ""
    return all(re.search(rf"\b(def|class) {re.escape(name)}\b", text) for name in names)
