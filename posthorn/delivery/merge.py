"""The merge: a file beside what the ledger has of it. `check` reads it through and tells, `send` does the same and plans.

One rule for campaigns and events. A new row is planned, a known one stays as it is, a missing one is a person's to accept.
Never twice is proven by the recipient, not by the list: what is planned is never planned again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from posthorn.content import inputfile
from posthorn.content.warnings import Caution, refuse_if_strict
from posthorn.delivery.repeat import Repeats
from posthorn.delivery.wish import Batch, ListReading, Wish
from posthorn.errors import DeliveryChanged, InputError
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.known import Differences, KnownRow
from posthorn.ledger.merging import Change
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind

_LINES_NAMED = 20
_MISSING = "its row was missing from the list, and that was accepted"
_COMMAND = {Kind.CAMPAIGN: "campaign", Kind.EVENT: "tickets"}


@dataclass(frozen=True, slots=True)
class Consent:
    """What a person accepts with this run, and who that is: that rows are missing from the list."""

    accept_missing: bool = False
    by: str = ""


class MissingRows(InputError):
    """Planned rows are not in the list any more, and nobody has accepted that. Nothing was done."""


class Merge:
    """One file beside the ledger. ``planned`` is what the ledger has under its name, None where that is nothing.

    Raises:
        DeliveryChanged: the name is taken by something that this file cannot be merged into.
        InputError: that was cancelled, or its numbers were erased.
    """

    def __init__(self, ledger: Ledger, wish: Wish, planned: Delivery | None, consent: Consent) -> None:
        self._ledger = ledger
        self.wish, self.planned, self._consent = wish, planned, consent
        self.definition = wish.definition()
        self.list_hash = wish.list_hash()
        self.differences = Differences()
        if planned is not None:
            refuse_closed(planned)
            refuse_changes(planned, wish.kind, self.definition)

    @property
    def is_list_new(self) -> bool:
        """Whether the list has to be read: it is not the one that was read last."""
        return self.planned is None or self.planned.list_hash != self.list_hash

    def new_rows(self, reading: ListReading) -> Iterator[Batch]:
        """The rows of the list that are not planned yet; once they have been read, ``refuse`` and ``change`` can tell."""
        known = self.wish.known(self._ledger, self.planned, reading)
        repeats = Repeats(self._ledger, self.wish, self.definition)
        self.differences = known.differences
        for batch in reading:
            new = known.new_of(batch)
            repeats.add(new)
            if new:
                yield new
        known.finish()
        repeats.refuse()

    def refuse(self) -> None:
        """Refuse what only a person can decide.

        Raises:
            InputError: rows are missing, ambiguous, or changed the number of what has left; with their lines.
        """
        differences, key = self.differences, self.wish.list_key
        name, command = self.wish.name, _COMMAND[self.wish.kind]
        if differences.ambiguous:
            raise InputError(key, _ambiguous_words(differences, command, name))
        if differences.left:
            raise InputError(key, _left_words(differences, name))
        if differences.missing and not self._consent.accept_missing:
            raise MissingRows(key, missing_words(differences.missing))

    def change(self, reading: ListReading, cautions: Sequence[Caution]) -> Change:
        """What is to change of planned rows, and how the list was read."""
        differences = self.differences
        return Change(
            numbers=differences.numbers,
            fields=differences.fields,
            out=[row.place for row in differences.missing],
            by=self._consent.by,
            why=_MISSING,
            options=self._options(reading, cautions),
        )

    def _options(self, reading: ListReading, cautions: Sequence[Caution]) -> dict[str, Any]:
        read = {"column": reading.intake.file.phone_title, "warnings": [one.message for one in cautions]}
        return {**self.wish.options(), "reading": read}

    def cautions(self, reading: ListReading, further: Sequence[Caution] = ()) -> list[Caution]:
        """What is probably a slip in the file and its list; the rows have been read.

        Raises:
            InputError: there is something, and the file says ``strict``.
        """
        found = [*reading.cautions(), *further]
        refuse_if_strict(found, strict=self.wish.strict)
        return found


def refuse_closed(planned: Delivery) -> None:
    """Refuse to merge into what is over for good.

    Raises:
        InputError: it was cancelled, or its numbers were erased.
    """
    if planned.closed_at is not None:
        raise InputError(
            "name",
            f"{planned.name} was erased by housekeeping: who had it is not known any more, so nothing is sent under this"
            " name. Give the file another name, and leave only who is new in its list",
        )
    if planned.cancelled_at is not None:
        raise InputError("name", f"{planned.name} was cancelled for good; give it another name to send it after all")


def refuse_changes(planned: Delivery, kind: Kind, definition: dict[str, Any]) -> None:
    """Refuse a file that has the name of a planned campaign or event, but not its content.

    Raises:
        DeliveryChanged: with each difference, one a line.
    """
    is_same = planned.kind == kind
    changed = inputfile.differences(planned.definition, definition) if is_same else [_other_kind(planned.kind)]
    if changed:
        listed = "\n".join(f"  {sentence}" for sentence in changed)
        raise DeliveryChanged(
            f"{planned.name} is in the ledger with other content:\n{listed}\n"
            "Give this one another name, or take the changes back to go on with the old one."
        )


def _other_kind(kind: Kind) -> str:
    return "that is an event, this is a campaign" if kind == Kind.EVENT else "that is a campaign, this is an event"


def missing_words(missing: Sequence[KnownRow]) -> str:
    """That planned rows are not in the list: how many, in what states, and which lines they had."""
    states: dict[str, int] = {}
    for row in missing:
        word = row.state.name.lower()
        states[word] = states.get(word, 0) + 1
    counts = ", ".join(f"{count:,} {state}" for state, count in sorted(states.items()))
    are = "rows that are planned are" if len(missing) != 1 else "row that is planned is"
    return (
        f"{len(missing):,} {are} missing from the list ({counts}): {_lines([row.line for row in missing])} of the list as it"
        " was. Nothing was done. Put them back, or say --accept-missing: then nothing more goes to them, for good"
    )


def _ambiguous_words(differences: Differences, command: str, name: str) -> str:
    pairs = differences.ambiguous
    first = "; ".join(
        f"line {line} and line {other}" + ("" if is_here else " as planned") for line, other, is_here in pairs[:_LINES_NAMED]
    )
    more = f" and {len(pairs) - _LINES_NAMED:,} more" if len(pairs) > _LINES_NAMED else ""
    return (
        f"{len(pairs):,} rows may be one and the same person: {first}{more}. Nothing was done. Name the column that tells"
        f' rows apart, as in key = "order", or give each row its code: `posthorn {command} export {name} --csv FILE` has it'
    )


def _left_words(differences: Differences, name: str) -> str:
    left = differences.left
    codes = ", ".join(known.code for _, known in left[:5])
    return (
        f"{len(left):,} tickets have another number now but have left, or may have: {_lines([line for line, _ in left])}."
        f" Nothing was done. Put the numbers back in the list; `posthorn tickets resend {name} --phone NUMBER --why TEXT`"
        f" sends one again (codes {codes}{' …' if len(left) > 5 else ''})"
    )


def _lines(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, sorted(lines)[:_LINES_NAMED]))
    word = "line" if len(lines) == 1 else "lines"
    return f"{word} {shown}" + (f" and {len(lines) - _LINES_NAMED:,} more" if len(lines) > _LINES_NAMED else "")
