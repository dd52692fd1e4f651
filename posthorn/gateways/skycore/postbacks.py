"""Reads Skycore's postbacks, in the flat shape since 2013-11 and the batches before: what became of a ticket, who opts out.

Postbacks carry no signature, so they are hints: they move messages on and never back, and put numbers on the suppression
list. Sources: the pages "Postback delivery reports", "Subscriber status postback" and "postback system", whose samples are
not all well-formed. Where an inbound message (N211, N401) has its number and its text is not documented.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qs
from xml.etree.ElementTree import Element

from posthorn.content.stopwords import StopWords
from posthorn.gateways import xml
from posthorn.gateways.descriptor import Push, Reader, Unreadable
from posthorn.gateways.skycore.bounds import MAX_POSTBACK_BYTES
from posthorn.models import MessageState, News, OptOut, Phone, Scope

MAX_EVENTS = 2_000
"""More events of the old shape do not fit into ``MAX_POSTBACK_BYTES``."""

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
"""What a code says about the ticket. Other codes (subscriptions, device discovery, inbound messages) are not about one."""

_UNSUBSCRIBED = "N302"
_INBOUND = frozenset({"N211", "N401"})
_ANY_CODE = re.compile(r"[NE][0-9]{3}")
_SENDER_TAGS = ("MOBILE", "MSISDN", "FROM", "SENDER", "PHONE")
_TEXT_TAGS = ("TEXT", "MESSAGE", "CONTENT", "BODY", "SMS", "KEYWORD", "SUBJECT")
_SHORTEST_NUMBER = 7  # a shortcode is shorter

_MAX_ID_LENGTH = 64
_MAX_MMS_ID_LENGTH = 40
_MAX_REASON = 64
_LOST_WORDS = ("expired", "rejected", "failed", "notsupported", "not supported")
_LOST_GATEWAY_STATUS = frozenset({"30", "35"})  # of the old shape: expired, rejected (20 is delivered)


@dataclass(frozen=True, slots=True)
class Postback:
    """One event. ``state`` is None if it says nothing about a ticket; ``tracking_id`` is opaque.

    ``happened_at`` is its TIMESTAMP, None if it has none, or one without an offset.
    """

    code: str
    tracking_id: str
    state: MessageState | None
    status: str = ""
    phone: Phone | None = None
    mms_id: str | None = None
    details: str = ""
    happened_at: datetime | None = None
    opt_out: OptOut | None = None


def reader(stop_words: StopWords) -> Reader:
    """Makes the reader of a pushed postback. An inbound message opts out if its text is one of these words."""
    return lambda push: news(push, stop_words)


def news(push: Push, stop_words: StopWords) -> list[News | OptOut]:
    """What a pushed postback says about tickets, and who opts out by it.

    Raises:
        Unreadable: as ``read``.
    """
    told: list[News | OptOut] = []
    for one in read(push.content_type, push.body, stop_words):
        if one.opt_out is not None:
            told.append(one.opt_out)
        if one.state is not None:
            reason = one.details[:_MAX_REASON] or None
            told.append(News(one.tracking_id, one.state, one.phone, one.mms_id, reason, happened_at=one.happened_at))
    return told


def read(content_type: str, body: bytes, stop_words: StopWords) -> list[Postback]:
    """The events of a postback as it was POSTed: raw XML, or XML in a form field ``xml`` (or ``XML``).

    Raises:
        Unreadable: too large, no XML, too deep, or XML that holds no postback, or more than ``MAX_EVENTS``; or somebody
            opts out by it and no number can be read.
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
    found = events or [_Event(root)]
    postbacks = [_postback(event, stop_words) for event in found if event.is_of_a_message or event.is_of_a_number]
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

    ``texts`` holds the first text under each tag, trimmed; ``status`` the attributes of the old shape's STATUS, ``created``
    that of its NOTIFICATION.
    """

    def __init__(self, element: Element) -> None:
        self.texts: dict[str, str] = {}
        self.status: Mapping[str, str] = {}
        self.created = element.attrib.get("CREATED", "")
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
        """Whether it names a ticket. A longer id, or one that no ledger can hold, is not a ticket's."""
        tracking_id = self.text("TRACKINGID")
        return bool(self.text("CODE")) and 0 < len(tracking_id) <= _MAX_ID_LENGTH and tracking_id.isprintable()

    @property
    def is_of_a_number(self) -> bool:
        """Whether it is of a kind that names no message: subscriptions, inbound messages, templates."""
        code = self.text("CODE").upper()
        return code not in _BY_CODE and _ANY_CODE.fullmatch(code) is not None

    def number(self) -> Phone | None:
        """The number that the event is about, if it is about one: never the shortcode."""
        found = (re.sub(r"\D", "", self.text(tag)) for tag in _SENDER_TAGS)
        return next((Phone(int(one)) for one in found if _SHORTEST_NUMBER <= len(one) <= 15), None)


def _opt_out(event: _Event, code: str, stop_words: StopWords) -> OptOut | None:
    """Who opts out by the event, if anybody does."""
    said = next((event.text(tag) for tag in _TEXT_TAGS if stop_words.are(event.text(tag))), None)
    is_stop = code in _INBOUND and said is not None
    if code != _UNSUBSCRIBED and not is_stop:
        return None
    phone = event.number()
    if phone is None:
        raise Unreadable(f"somebody opts out ({code}), and no number can be read")
    happened_at = _moment(event.text("TIMESTAMP")) or _moment(event.created)
    if is_stop:
        return OptOut(phone, Scope.MARKETING, "reply", said or "", happened_at)
    by = event.text("SOURCE")[:_MAX_REASON]
    return OptOut(phone, Scope.MARKETING, "unsubscribed", f"by {by}" if by.isprintable() and by else "", happened_at)


def _postback(event: _Event, stop_words: StopWords) -> Postback:
    code = event.text("CODE").upper()
    status = event.text("STATUS") or event.status.get("TEXT", "")
    to = re.sub(r"\D", "", event.text("TO"))
    return Postback(
        code=code,
        tracking_id=event.text("TRACKINGID"),
        state=_state(code, status, event),
        status=status,
        phone=Phone(int(to)) if 0 < len(to) <= 15 else None,
        mms_id=event.text("MMSID")[:_MAX_MMS_ID_LENGTH] or None,
        details=event.text("STATUSDETAILS"),
        happened_at=_moment(event.text("TIMESTAMP")),
        opt_out=_opt_out(event, code, stop_words),
    )


def _moment(text: str) -> datetime | None:
    """``2011-08-02 07:20:49-04`` or ``2011-08-02T07:20:44-04:00``."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _state(code: str, status: str, event: _Event) -> MessageState | None:
    """The state by the code, unless its status says that the ticket was lost: for a time N102 meant both."""
    state = _BY_CODE.get(code)
    if state is None or state == _LOST:
        return state
    words = status.lower()
    is_lost = any(word in words for word in _LOST_WORDS) or event.status.get("CELLY") in _LOST_GATEWAY_STATUS
    return _LOST if is_lost else state
