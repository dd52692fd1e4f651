"""The repeat check: the same message under another name is a slip that neither a lock nor a row of the ledger would catch.

It looks at the new rows of a file, and again at all that is pending when a run is about to send. Only one run checks at a
time, so that of two that start at once one sees the other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from posthorn.content.definition import Content
from posthorn.delivery.planning.wish import Batch, Wish
from posthorn.delivery.running.run import AnyRun
from posthorn.errors import InputError, LedgerError, Stopped
from posthorn.ledger import deliveries, repeats
from posthorn.ledger.repeats import Asked, Repeat
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind

REPEAT_DAYS = 7
"""For how many days the same message to the same numbers under another name counts as a slip."""

_LINES_NAMED = 10
_WAIT_SECONDS = 600
_REPEATED = {
    Kind.CAMPAIGN: ("the same title, text and media", "Go on with that campaign"),
    Kind.EVENT: ("the same stored MMS", "Go on with that event, leave only those who are new in the file"),
}


class Repeats:
    """Finds which new rows of a file have had the same lately under another name, and whose its codes are."""

    def __init__(self, ledger: Ledger, wish: Wish, content: Content) -> None:
        self._wish = wish
        self._asks = wish.repeat != "send"
        self._repeats = repeats.Repeats(ledger, wish.name, content, since=repeat_since())
        self.skipped = 0

    def add(self, batch: Batch) -> None:
        """Look up a batch of rows."""
        rows = [
            Asked(*one) if isinstance(one, tuple) else Asked(one.line, one.phone, "" if one.is_generated else one.barcode)
            for one in batch
        ]
        if self._asks:
            found = self._repeats.add(rows)
            self.skipped += sum(row.phone in found for row in rows) if found else 0
        if not self._wish.reuses_codes:
            self._repeats.add_codes(rows)

    def refuse(self) -> None:
        """Refuse if other deliveries with the same content have numbers or codes in common.

        Raises:
            InputError: they are named, with lines.
        """
        if self._repeats.codes:
            raise InputError(self._wish.list_key, _codes_words(self._repeats.codes))
        found = self._repeats.found()
        if found and self._wish.repeat == "refuse":
            raise InputError("name", _words(self._wish.kind, found))


async def apply_on_repeat(run: AnyRun) -> None:
    """Before a run sends: find who of its pending has had the same under another name, and do what its file says.

    Raises:
        Stopped: some have, and its file does not say what is to be done.
    """
    if not run.delivery.test and run.sending_lock_key == run.delivery.lock_key:  # a helper's run was checked already
        await run.do(_apply, run.delivery.name)


def _apply(ledger: Ledger, name: str) -> None:
    with ledger.locks.hold("repeats", wait_seconds=_WAIT_SECONDS) as held:
        if not held:
            raise LedgerError(
                "another run has been looking for repeats for ten minutes; look at that process and start again"
            )
        delivery = deliveries.get(ledger, name)
        on_repeat = delivery.options.get("on_repeat", "refuse")
        if on_repeat != "send":
            _ask(ledger, delivery, skips=on_repeat == "skip")
        repeats.note_cleared(ledger, delivery, time.time())


def _ask(ledger: Ledger, delivery: deliveries.Delivery, *, skips: bool) -> None:
    asked = repeats.Repeats(ledger, delivery.name, delivery.content, since=repeat_since())
    if not asked.may_find:
        return
    for page in repeats.pending_pages(ledger, delivery):
        found = asked.add([Asked(row.line, row.phone) for row in page])
        if found and skips:
            repeats.leave_out(ledger, page, found)
    if not skips and (found_in := asked.found()):
        raise Stopped(_words(delivery.kind, found_in))


def repeat_since() -> float:
    """Since when the same message to the same numbers counts as a slip."""
    return time.time() - REPEAT_DAYS * 86_400


def _words(kind: Kind, found: Sequence[Repeat]) -> str:
    listed = "; ".join(
        f"{one.numbers:,} of them in {one.name} of {datetime.fromtimestamp(one.created_at).astimezone():%Y-%m-%d %H:%M}"
        f" ({_lines(one.lines, one.numbers)})"
        for one in found
    )
    what, way = _REPEATED[kind]
    return (
        f"{what} went to some of these numbers in the last {REPEAT_DAYS} days, or is about to: {listed}. Nothing was sent."
        f' {way}, or set on_repeat = "skip" to leave them out, on_repeat = "send" to send it to them again on purpose'
    )


def _codes_words(codes: Sequence[tuple[int, str]]) -> str:
    listed = ", ".join(f"line {line} (in {name})" for line, name in codes[:_LINES_NAMED])
    more = f" and {len(codes) - _LINES_NAMED:,} more" if len(codes) > _LINES_NAMED else ""
    return (
        f"{len(codes):,} codes belong to somebody else in another event of this stored MMS: {listed}{more}. Nothing was"
        " done. Give these rows other codes, or set allow_code_reuse = true where one template serves many doors"
    )


def _lines(lines: Sequence[int], numbers: int) -> str:
    shown = ", ".join(map(str, lines[:_LINES_NAMED]))
    return f"line{'s' if numbers > 1 else ''} {shown}" + (" …" if numbers > _LINES_NAMED else "")
