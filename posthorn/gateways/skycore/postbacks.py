"""Reads Skycore's postbacks, in the flat shape since 2013-11 and the batches before: what became of which ticket.

Postbacks carry no signature, so they are hints: they move messages on and never back, and nothing else. Sources: the pages
"Postback delivery reports" and "postback system", whose samples are not all well-formed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qs
from xml.etree.ElementTree import Element

from posthorn.gateways import xml
from posthorn.gateways.descriptor import Push, Unreadable
from posthorn.gateways.skycore.bounds import MAX_POSTBACK_BYTES
from posthorn.models import MessageState, News, Phone

MAX_EVENTS = 2_000
"""More of the old shape do not fit into ``MAX_POSTBACK_BYTES``."""

_MAX_ELEMENTS = 15 * MAX_EVENTS
_MAX_FIELDS = 20

_SENT, _DELIVERED, _LOST = MessageState.ACCEPTED, MessageState.DELIVERED, MessageState.UNDELIVERED

_BY_CODE: Mapping[str, MessageState] = {
    "N101": _SENT,  # handed on; delivery is another event, and some carriers never send it
    "N102": _DELIVERED,
    "N202": _DELIVERED,  # the SMS with a link that replaced an MMS the handset cannot take
    "E101": _LOST,
    "E102": _LOST,
    "E202": _LOST,
    "E999": _LOST,
}
"""What a code says of the ticket; other codes (subscriptions, device discovery, inbound messages) say nothing of one."""

_LONGEST_ID = 64
_LONGEST_MMS_ID = 40
_MAX_REASON = 64
_LOST_WORDS = ("expired", "rejected", "failed", "notsupported", "not supported")
_LOST_GATEWAY_STATUS = frozenset({"30", "35"})  # of the old shape: expired, rejected (20 is delivered)


@dataclass(frozen=True, slots=True)
class Postback:
    """One event. ``state`` is None where it says nothing about a ticket; ``tracking_id`` is opaque.

    ``happened_at`` is its TIMESTAMP, None where it has none, or one without an offset.
    """

    code: str
    tracking_id: str
    state: MessageState | None
    status: str = ""
    phone: Phone | None = None
    mms_id: str | None = None
    details: str = ""
    happened_at: datetime | None = None


def news(push: Push) -> list[News]:
    """What a pushed postback says of tickets.

    Raises:
        Unreadable: as ``read``.
    """
    return [
        News(
            one.tracking_id,
            one.state,
            one.phone,
            one.mms_id,
            one.details[:_MAX_REASON] or None,
            happened_at=one.happened_at,
        )
        for one in read(push.content_type, push.body)
        if one.state is not None
    ]


def read(content_type: str, body: bytes) -> list[Postback]:
    """The events of a postback as it was POSTed: raw XML, or XML in a form field ``xml`` (or ``XML``).

    Raises:
        Unreadable: too large, no XML, too deep, or XML that holds no postback, or more than ``MAX_EVENTS``.
    """
    if len(body) > MAX_POSTBACK_BYTES:
        raise Unreadable(f"larger than {MAX_POSTBACK_BYTES:,} bytes")
    try:
        root = xml.read_xml(_xml_of(content_type, body), max_elements=_MAX_ELEMENTS)
    except xml.Unreadable as error:
        raise Unreadable(f"not readable XML ({error})") from None
    events = [_Event(element) for element in itertools.islice(_notifications(root), MAX_EVENTS + 1)]
    if len(events) > MAX_EVENTS:
        raise Unreadable(f"more than {MAX_EVENTS:,} events")
    postbacks = [_postback(event) for event in events or [_Event(root)] if event.is_of_a_message]
    if not postbacks:
        raise Unreadable("no event with a CODE and a TRACKINGID")
    return postbacks


def _xml_of(content_type: str, body: bytes) -> bytes:
    if body.lstrip()[:1] == b"<" or "urlencoded" not in content_type:
        return body
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise Unreadable(f"a form of more than {_MAX_FIELDS} fields") from None
    given = fields.get("xml") or fields.get("XML")
    if not given:
        raise Unreadable("a form without a field xml")
    return given[0].strip().encode()


def _notifications(element: Element) -> Iterator[Element]:
    """The NOTIFICATIONs in a POSTBACK, or a bare one; what stands inside of one is a part of it."""
    if element.tag.upper() == "NOTIFICATION":
        yield element
        return
    for child in element:
        yield from _notifications(child)


class _Event:
    """One event's element, read once, at whatever depth and in whatever case its parts stand.

    ``texts`` holds the first text under each tag, trimmed; ``status`` the attributes of the old shape's STATUS.
    """

    def __init__(self, element: Element) -> None:
        self.texts: dict[str, str] = {}
        self.status: Mapping[str, str] = {}
        for child in element.iter():
            tag = child.tag.upper()
            if text := (child.text or "").strip():
                self.texts.setdefault(tag, text)
            if tag == "STATUS" and not self.status:
                self.status = {name.upper(): value.strip() for name, value in child.attrib.items()}

    def text(self, tag: str) -> str:
        """The text under that tag, or none."""
        return self.texts.get(tag, "")

    @property
    def is_of_a_message(self) -> bool:
        """Whether it names one. A longer id, or one that no ledger can hold, is no ticket's."""
        tracking_id = self.text("TRACKINGID")
        return bool(self.text("CODE")) and 0 < len(tracking_id) <= _LONGEST_ID and tracking_id.isprintable()


def _postback(event: _Event) -> Postback:
    code = event.text("CODE").upper()
    status = event.text("STATUS") or event.status.get("TEXT", "")
    to = re.sub(r"\D", "", event.text("TO"))
    return Postback(
        code=code,
        tracking_id=event.text("TRACKINGID"),
        state=_state(code, status, event),
        status=status,
        phone=Phone(int(to)) if 0 < len(to) <= 15 else None,
        mms_id=event.text("MMSID")[:_LONGEST_MMS_ID] or None,
        details=event.text("STATUSDETAILS"),
        happened_at=_moment(event.text("TIMESTAMP")),
    )


def _moment(text: str) -> datetime | None:
    """``2011-08-02 07:20:49-04`` or ``2011-08-02T07:20:44-04:00``."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _state(code: str, status: str, event: _Event) -> MessageState | None:
    """By the code, unless its status says that the ticket was lost: for a time N102 carried both kinds."""
    state = _BY_CODE.get(code)
    if state is None or state == _LOST:
        return state
    words = status.lower()
    is_lost = any(word in words for word in _LOST_WORDS) or event.status.get("CELLY") in _LOST_GATEWAY_STATUS
    return _LOST if is_lost else state
