"""Both providers' messages as one list, newest first, searched and paged on the server. It changes nothing."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from posthorn.sandbox.inbox.search import Term, narrowed, terms_of
from posthorn.sandbox.serwersms.errors import ApiError
from posthorn.sandbox.serwersms.messages import Batch
from posthorn.sandbox.skycore.tickets import Ticket

if TYPE_CHECKING:
    from posthorn.sandbox.server import Sandbox

PAGE = 50
_BLOCK = 4_096  # tickets that are searched at once: enough for the first page of a common word
Found = tuple[float, Batch | Ticket, int]
"""When it was taken, and either the ticket, or the send and the message's place in it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message as a list shows it. ``at`` is when it was taken, as the provider's clock shows it.

    ``code`` is a ticket's barcode; ``campaign`` is a title, or the campaign in a ticket's request. ``state`` is the
    provider's own word, or ``refused`` if it was not taken.
    """

    key: str
    provider: str
    to: str
    title: str
    text: str
    code: str | None
    campaign: str
    state: str
    reason: str | None
    at: str
    files: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The entry as the API shows it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Mark:
    """How many messages there were at a moment, so that pages stay the same while more arrive."""

    messages: int
    tickets: int

    @property
    def total(self) -> int:
        """The messages of both providers."""
        return self.messages + self.tickets

    def __str__(self) -> str:
        return f"{self.messages}.{self.tickets}"


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of the list: ``more`` says whether there is another page, ``new`` how many came since ``mark``."""

    entries: Sequence[Entry]
    page: int
    more: bool
    mark: Mark
    new: int


class Entries:
    """The list."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box
        self._words: list[str] = []
        self._ended: dict[int, str] = {}
        self._first: Ticket | None = None
        self._statuses: dict[int, tuple[tuple[float, int, int], list[str]]] = {}

    def mark(self, text: str | None = None) -> Mark:
        """The mark that ``text`` holds; the current mark if there is none or it cannot be read."""
        now = Mark(self._box.serwersms.account.messages.total, len(self._box.skycore.account.tickets.all))
        try:
            messages, tickets = map(int, (text or "").split("."))
        except ValueError:
            return now
        return Mark(messages, tickets) if 0 <= messages <= now.messages and 0 <= tickets <= now.tickets else now

    def page(self, query: str = "", page: int = 1, length: int = PAGE, upto: str | None = None) -> Listing:
        """A page of the messages that a query finds, newest first."""
        mark, start = self.mark(upto), (page - 1) * length
        found = list(itertools.islice(self._newest(terms_of(query), mark), start, start + length + 1))
        entries = [self.entry(one) for one in found[:length]]
        return Listing(entries, page, len(found) > length, mark, self.mark().total - mark.total)

    def every(self, query: str = "") -> Iterator[Entry]:
        """All messages that a query finds, newest first."""
        return map(self.entry, self._newest(terms_of(query), self.mark()))

    def find(self, key: str) -> Found | None:
        """The message of a key, or None."""
        kind, _, name = key.partition("-")
        if kind == "m" and (ref := self._box.serwersms.account.messages.by_id(name)):
            return ref[0].queued, *ref
        ticket = self._box.skycore.account.tickets.by_number(int(name)) if kind == "t" and name.isdecimal() else None
        return None if ticket is None else (ticket.accepted, ticket, 0)

    def _newest(self, terms: Sequence[Term], mark: Mark) -> Iterator[Found]:
        sources = self._messages(terms, mark.messages), self._tickets(terms, mark.tickets)
        return heapq.merge(*sources, key=itemgetter(0), reverse=True)

    def _messages(self, terms: Sequence[Term], upto: int) -> Iterator[Found]:
        batches, age = self._box.serwersms.account.messages.batches, self._box.clock.age()
        for batch in reversed(batches):
            positions: Sequence[int] = range(min(len(batch.phones), upto - batch.first))
            shared = {"title": batch.title.lower(), "campaign": batch.title.lower(), "text": batch.text.lower()}
            for term in terms:
                if not positions:
                    break
                # Numbers are searched as one text; states are computed only if a term could be one.
                own: dict[str, Callable[[], Sequence[str]]] = {"to": partial(getattr, batch, "phones")}
                if term.is_state:
                    own["state"] = partial(self._states, batch, age)
                if _could_be_id(term.word):
                    own["id"] = batch.ids
                positions = narrowed(positions, term, shared, own)
            yield from ((batch.queued, batch, position) for position in reversed(positions))

    def _states(self, batch: Batch, age: float) -> list[str]:
        """The states of a send, cached once they can no longer change."""
        options = self._box.serwersms.options
        version = (batch.queued, len(batch.marked), len(batch.withdrawn))
        kept = self._statuses.get(batch.number)
        if kept is not None and kept[0] == version:
            return kept[1]
        states = self._box.serwersms.account.messages.statuses(batch, age)
        for position in batch.refused:
            states[position] = "refused"
        latest = 72 * 3600 if options.late else max(options.reported_after_seconds, options.sent_after_seconds)
        if age - batch.due_at > latest:
            self._statuses[batch.number] = version, states
        return states

    def _tickets(self, terms: Sequence[Term], upto: int) -> Iterator[Found]:
        tickets = self._box.skycore.account.tickets
        if terms:
            self._read_tickets(tickets.all)
        for end in range(upto, 0, -_BLOCK):
            places: Sequence[int] = range(max(0, end - _BLOCK), end)
            for term in terms:
                places = self._with(term, places)
            yield from ((tickets.all[place].accepted, tickets.all[place], 0) for place in reversed(places))

    def _read_tickets(self, tickets: Sequence[Ticket]) -> None:
        """Join the words of each new ticket into one long text, once: searching that is ten times as fast."""
        if self._words and (len(self._words) > len(tickets) or self._first is not tickets[0]):
            self._words.clear()
            self._ended.clear()
        self._words.extend(map(_words_of, tickets[len(self._words) :]))
        self._first = tickets[0] if tickets else None

    def _with(self, term: Term, places: Sequence[int]) -> Sequence[int]:
        """The places of the tickets that a term finds."""
        words, word, digits = self._words, term.word, term.digits
        tickets = self._box.skycore.account.tickets.all
        found = [at for at in places if word in words[at] or (digits is not None and digits in words[at])]
        if term.field is not None or digits is not None:
            found = [at for at in found if _has(tickets[at], term)]
        if not term.is_state:
            return found
        return sorted({*found, *(at for at, state in self._ticket_states(places) if state == word)})

    def _ticket_states(self, places: Sequence[int]) -> Iterator[tuple[int, str]]:
        """Places and states of tickets; a state is cached once it can change only by hand."""
        tickets, age, ended = self._box.skycore.account.tickets, self._box.clock.age(), self._ended
        for place in places:
            ticket, state = tickets.all[place], ended.get(place)
            if state is None or (tickets.marks and ticket.tracking_id in tickets.marks):
                state = tickets.standing(ticket, age)
                if state not in ("accepted", "sent"):
                    ended[place] = state
            yield place, state

    def entry(self, found: Found) -> Entry:
        """A message as a list shows it."""
        _, one, position = found
        return self._of_ticket(one) if isinstance(one, Ticket) else self._of_message(one, position)

    def _of_message(self, batch: Batch, position: int) -> Entry:
        account = self._box.serwersms.account
        standing = account.messages.standing(batch, position, self._box.clock.age())
        code = batch.refused.get(position)
        return Entry(
            key=f"m-{batch.id_of(position)}",
            provider="serwersms",
            to=batch.phones[position],
            title=batch.title,
            text=batch.text,
            code=None,
            campaign=batch.title,
            state="refused" if code is not None else standing.status,
            reason=f"{code} {ApiError(code).message}" if code is not None else standing.reason,
            at=self._box.clock.stamp(batch.queued),
            files=tuple(batch.file_ids),
        )

    def _of_ticket(self, ticket: Ticket) -> Entry:
        tickets, age = self._box.skycore.account.tickets, self._box.clock.age()
        happened = [event for event in tickets.course(ticket) if ticket.taken_at + event.after <= age]
        return Entry(
            key=f"t-{ticket.number}",
            provider="skycore",
            to=f"+{ticket.to}",
            title=ticket.data.get("ddmtitle") or f"MMS {ticket.mms_id}",
            text=texts_of(ticket),
            code=ticket.barcode,
            campaign=ticket.campaign_ref or "",
            state=tickets.standing(ticket, age),
            reason=happened[-1].details if happened else None,
            at=self._box.clock.stamp(ticket.accepted),
            files=(),
        )


def texts_of(ticket: Ticket) -> str:
    """The texts that the request put into the stored MMS, one per line."""
    return "\n".join(value for name, value in ticket.data.items() if name.startswith("customtext") or name == "ddmtext")


def _words_of(ticket: Ticket) -> str:
    """All text that is searched, in lower case."""
    names = (ticket.to, ticket.barcode, ticket.mms_id, f"mms {ticket.mms_id}", ticket.campaign_ref or "", ticket.tracking_id)
    return "\n".join((*names, *ticket.data.values())).lower()


def _has(ticket: Ticket, term: Term) -> bool:
    """Whether a term is in a ticket's number, code, texts or names; its state is not checked."""
    word, digits = term.word, term.digits
    return bool(
        (digits is not None and term.asks("to") and digits in ticket.to)
        or (term.asks("code") and word in ticket.barcode.lower())
        or (term.asks("campaign") and (word in ticket.mms_id.lower() or word in (ticket.campaign_ref or "").lower()))
        or (term.asks("title") and word in (ticket.data.get("ddmtitle") or f"mms {ticket.mms_id}").lower())
        or (term.asks("text") and any(word in value.lower() for value in ticket.data.values()))
        or (term.field is None and word == ticket.tracking_id.lower())
    )


def _could_be_id(word: str) -> bool:
    return len(word) == 10 and all(letter in "0123456789abcdef" for letter in word)
