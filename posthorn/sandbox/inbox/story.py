"""One message in full: as a phone shows it, its history, and the request that it came with. It changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from posthorn.errors import InputError
from posthorn.sandbox.inbox.entries import Entry, Found
from posthorn.sandbox.serwersms.account import File
from posthorn.sandbox.serwersms.messages import Batch, Standing
from posthorn.sandbox.skycore.tickets import Ticket

if TYPE_CHECKING:
    from posthorn.sandbox.server import Sandbox

_PICTURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
_MAX_TEXT_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class Part:
    """A file as received: ``kind`` is ``picture``, ``text`` (its content is in ``text``) or ``unknown``."""

    file_id: str
    name: str
    kind: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to a message, and when."""

    at: str
    what: str


@dataclass(frozen=True, slots=True)
class Story:
    """A message in full. ``barcode`` is the address of a ticket's code; ``request`` is None once it is forgotten."""

    entry: Entry
    parts: tuple[Part, ...]
    barcode: str | None
    steps: tuple[Step, ...]
    request: dict[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """As the API shows it."""
        parts = [{"file": part.file_id, "name": part.name, "kind": part.kind} for part in self.parts]
        steps = [{"at": step.at, "what": step.what} for step in self.steps]
        return {**self.entry.as_json(), "parts": parts, "barcode": self.barcode, "story": steps, "request": self.request}


def picture_type(content: bytes | None) -> str | None:
    """The media type of a picture by its first bytes, whatever its name says; None if it is not a picture."""
    return next((kind for start, kind in _PICTURES.items() if (content or b"").startswith(start)), None)


def story_of(box: Sandbox, found: Found) -> Story:
    """Everything about a message."""
    _, one, position = found
    entry = box.inbox.entry(found)
    parts: tuple[Part, ...] = ()
    if isinstance(one, Ticket):
        steps, barcode = _steps_of_ticket(box, one), _barcode(box, one)
    else:
        steps, barcode = _steps_of_message(box, one, position), None
        parts = tuple(_part(file_id, box.serwersms.account.pictures.get(file_id)) for file_id in one.file_ids)
    in_order = sorted(steps, key=lambda step: step[0])
    told = tuple(Step(box.clock.stamp(at), what) for at, what in in_order)
    return Story(entry, parts, barcode, told, box.traffic.send_of(one.request))


def _part(file_id: str, file: File | None) -> Part:
    if file is None or file.content is None:
        return Part(file_id, file.name if file else file_id, "unknown")
    if picture_type(file.content):
        return Part(file_id, file.name, "picture")
    try:
        return Part(file_id, file.name, "text", file.content[:_MAX_TEXT_BYTES].decode())
    except UnicodeDecodeError:
        return Part(file_id, file.name, "unknown")


def _barcode(box: Sandbox, ticket: Ticket) -> str | None:
    """The address of the drawn code; None if it cannot be drawn."""
    try:
        box.skycore.barcode(ticket.tracking_id)
    except (InputError, ValueError):
        return None
    return f"/_sandbox/codes/{ticket.number}.png"


def _steps_of_message(box: Sandbox, batch: Batch, position: int) -> Iterator[tuple[float, str]]:
    account, message_id = box.serwersms.account, batch.id_of(position)
    standing = account.messages.standing(batch, position, box.clock.age())
    yield batch.queued, f"received in send {batch.number}, with {len(batch.phones)} numbers"
    if position in batch.refused:
        yield batch.queued, f"refused with {batch.refused[position]}"
        return
    if batch.send_at > batch.queued:
        yield batch.send_at, "due: until then it is saved, and can be withdrawn"
    yield from _ends(batch, standing)
    if batch.listed:
        yield batch.listed_at, f"listed by reports, for the last time ({batch.listed} in all)"
    for call in box.serwersms.callbacks.made:
        if call.message_id == message_id:
            yield call.at, f"callback made, {call.status}: {_answered(call.answered)}"
    for came in account.incoming:
        if came.message_id == message_id:
            yield came.at, f"answered: {came.text}"


def _ends(batch: Batch, standing: Standing) -> Iterator[tuple[float, str]]:
    """The outcome so far."""
    if standing.sent is not None:
        yield standing.sent, "sent"
    if standing.delivered is not None:
        yield standing.delivered, "delivered"
    elif standing.status in ("undelivered", "unsent"):
        yield standing.sent or batch.send_at, f"{standing.status}: {standing.reason}"
    elif standing.status == "withdrawn":
        yield batch.queued, "withdrawn"


def _steps_of_ticket(box: Sandbox, ticket: Ticket) -> Iterator[tuple[float, str]]:
    age = box.clock.age()
    yield ticket.accepted, f"received as {ticket.tracking_id}"
    for event in box.skycore.account.tickets.course(ticket):
        if ticket.taken_at + event.after <= age:
            details = f" ({event.details})" if event.details else ""
            yield ticket.accepted + event.after, f"{event.code} {event.status}{details}"
    for posted in box.skycore.postbacks.made:
        if posted.tracking_id == ticket.tracking_id:
            yield posted.at, f"postback made, {posted.code}: {_answered(posted.answered)}"


def _answered(status: int | None) -> str:
    return "nobody answered" if status is None else f"answered with HTTP {status}"
