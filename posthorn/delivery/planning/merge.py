"""The merge: a file compared with what the ledger has of it. `check` reads it and tells; `send` does the same and plans.

One rule for campaigns and events: a new row is planned, a known one stays as it is, a missing one needs a person's word.
Never twice is proven by the recipient, not by the list: what is planned is never planned again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from posthorn.content import inputfile
from posthorn.content.definition import CampaignContent, Content
from posthorn.content.warnings import Caution, refuse_if_strict
from posthorn.delivery.planning.repeat import Repeats
from posthorn.delivery.planning.wish import Batch, ListReading, Wish
from posthorn.errors import DeliveryChanged, InputError
from posthorn.ledger import media, sending
from posthorn.ledger.deliveries import Delivery, PlannedCampaign
from posthorn.ledger.known import Differences, KnownRow
from posthorn.ledger.merging import Change
from posthorn.ledger.store.engine import Ledger

_LINES_NAMED = 20
_LATE = "late"
_MISSING = "its row was missing from the list, and that was accepted"


@dataclass(frozen=True, slots=True)
class Consent:
    """What a person accepts with this run, such as rows that are missing from the list, and who that person is.

    ``late``: what should have been dispatched at a moment that has passed is sent at once.
    """

    accept_missing: bool = False
    late: bool = False
    by: str = ""


class MissingRows(InputError):
    """Planned rows are not in the list any more, and nobody has accepted that. Nothing was done."""


class Merge:
    """One file compared with the ledger. ``planned`` is what the ledger has under its name, or None.

    Raises:
        DeliveryChanged: the name is taken by something that this file cannot be merged into.
        InputError: that was cancelled, or its numbers were erased.
    """

    def __init__(self, ledger: Ledger, wish: Wish, planned: Delivery | None, consent: Consent) -> None:
        self._ledger = ledger
        self.wish, self.planned, self._consent = wish, planned, consent
        self.content = wish.content()
        self.list_hash = wish.list_hash()
        self.differences = Differences()
        self._repeats: Repeats | None = None
        self._late = self._accepted_late()
        if planned is not None:
            refuse_closed(planned)
            refuse_changes(ledger, planned, wish, self.content)

    def _accepted_late(self) -> str | None:
        """The passed moment in the file that a person has accepted as passed: what is pending goes at once."""
        content, planned = self.content, self.planned
        if not isinstance(content, CampaignContent) or content.send_at is None:
            return None
        moment = content.send_at.isoformat()
        is_remembered = planned is not None and planned.options.get(_LATE) == moment
        if not is_remembered and not (self._consent.late and content.send_at <= datetime.now(UTC)):
            return None
        self.content = content.model_copy(update={"send_at": None})
        return moment

    @property
    def skipped(self) -> int:
        """How many new rows the next run leaves out: they have had the same lately, and the file says so."""
        return self._repeats.skipped if self._repeats is not None and self.wish.repeat == "skip" else 0

    @property
    def is_late(self) -> bool:
        """Whether a person has accepted that the moment in the file has passed."""
        return self._late is not None

    @property
    def is_content_new(self) -> bool:
        """Whether this content was never checked."""
        return self.planned is None or self.planned.content != self.content

    @property
    def is_new(self) -> bool:
        """Whether the file says anything that the ledger does not. If not, its list need not be read."""
        return self.planned is None or self.is_content_new or self.planned.list_hash != self.list_hash

    @property
    def changes(self) -> list[str]:
        """How the content differs from what is planned, a sentence for each difference."""
        if not self.is_content_new or self.planned is None:
            return []
        return inputfile.differences(self.planned.content.in_full(), self.content.in_full())

    def new_rows(self, reading: ListReading) -> Iterator[Batch]:
        """The rows of the list that are not planned yet; once they have been read, ``refuse`` and ``change`` can tell."""
        known = self.wish.known(self._ledger, self.planned, reading)
        repeats = self._repeats = Repeats(self._ledger, self.wish, self.content)
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
            InputError: rows are missing or ambiguous, or a row that has left has another number now; with their lines.
        """
        differences, key = self.differences, self.wish.list_key
        name, command = self.wish.name, self.wish.kind.command
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
            absent=differences.absent,
            back=differences.back,
            by=self._consent.by,
            why=_MISSING,
            options=self._options(reading, cautions),
        )

    def _options(self, reading: ListReading, cautions: Sequence[Caution]) -> dict[str, Any]:
        read = {"column": reading.intake.file.phone_title, "warnings": [one.message for one in cautions]}
        return {**self.options(), "reading": read}

    def options(self) -> dict[str, Any]:
        """What may change between runs, and a moment that a person accepted as passed."""
        return {**self.wish.options(), **({_LATE: self._late} if self._late else {})}

    def cautions(self, reading: ListReading, further: Sequence[Caution] = ()) -> list[Caution]:
        """What is probably a mistake in the file and its list. The rows have been read.

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
            f"{planned.name} was erased by housekeeping: it is no longer known who had it, so nothing is sent under this"
            " name. Give the file another name, and leave only those who are new in its list",
        )
    if planned.cancelled_at is not None:
        raise InputError("name", f"{planned.name} was cancelled for good; give it another name to send it after all")


def refuse_changes(ledger: Ledger, planned: Delivery, wish: Wish, content: Content) -> None:
    """Refuse a file whose content cannot become that of what is planned under its name.

    The content may change while nothing has left. After that it is frozen, except the moment of dispatch and a file that the
    provider has refused.

    Raises:
        DeliveryChanged: with each difference, one a line.
    """
    if planned.kind != wish.kind:
        raise _changed(planned, [f"that is {planned.kind.noun}, this is {wish.kind.noun}"])
    if planned.gateway != wish.gateway.name:
        raise _changed(planned, [f"gateway was {planned.gateway}, is now {wish.gateway.name}"])
    old, new = planned.content.in_full(), content.in_full()
    frozen = {key for key in new if old.get(key) != new[key]} - {"send_at"}
    frozen |= old.keys() - new.keys()
    if "media" in frozen and _replaces_refused(ledger, planned, content):
        frozen.remove("media")
    if frozen and sending.has_left(ledger, planned):
        old, new = ({key: one.get(key) for key in frozen} for one in (old, new))
        raise _changed(planned, inputfile.differences(old, new))


def _changed(planned: Delivery, sentences: Sequence[str]) -> DeliveryChanged:
    listed = "\n".join(f"  {sentence}" for sentence in sentences)
    return DeliveryChanged(
        f"{planned.name} is in the ledger with other content:\n{listed}\nTake the changes back to go on with it: what has"
        " left of it was sent with the old content. Or give this file another name, and leave only those who have not had"
        " it."
    )


def _replaces_refused(ledger: Ledger, planned: Delivery, content: Content) -> bool:
    """Whether the files are the same, apart from those that the provider has refused. An event has none."""
    if not (isinstance(planned, PlannedCampaign) and isinstance(content, CampaignContent)):
        return False
    items, old, new = media.of(ledger, planned), planned.content.media, content.media
    same_number = len(items) == len(old) == len(new)
    return same_number and all(before == after or item.refused for before, after, item in zip(old, new, items, strict=True))


def missing_words(missing: Sequence[KnownRow]) -> str:
    """The error that planned rows are not in the list: how many, in which states, and which lines they had."""
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
        f' rows apart, as in key = "order", or give each row its code: `{command} export {name} --csv FILE` has it'
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
