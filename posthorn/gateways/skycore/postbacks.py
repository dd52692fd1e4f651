"""Reads Skycore's postbacks, in the flat shape since 2013-11 and the batches before: what became of which ticket.

Postbacks carry no signature, so they are hints: they move messages on and never back, and nothing else. Sources: the pages
"Postback delivery reports" and "postback system", whose samples are not all well-formed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from posthorn.models import MessageState, Phone

MAX_BYTES = 524_288
"""A postback of one event has under 1 KiB; the batch of a minute, in the old shape, some hundred events."""

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
_LOST_WORDS = ("expired", "rejected", "failed", "notsupported", "not supported")
_LOST_GATEWAY_STATUS = frozenset({"30", "35"})  # of the old shape: expired, rejected (20 is delivered)


class Unreadable(ValueError):
    """The body is no postback; the message says why, without the body."""


@dataclass(frozen=True, slots=True)
class Postback:
    """One event. ``state`` is None where it says nothing about a ticket; ``tracking_id`` is opaque."""

    code: str
    tracking_id: str
    state: MessageState | None
    status: str = ""
    phone: Phone | None = None
    mms_id: str | None = None
    details: str = ""


def read(content_type: str, body: bytes) -> list[Postback]:
    """The events of a postback as it was POSTed: raw XML, or XML in a form field ``xml`` (or ``XML``).

    Raises:
        Unreadable: too large, no XML, or XML that holds no postback.
    """
    if len(body) > MAX_BYTES:
        raise Unreadable(f"larger than {MAX_BYTES:,} bytes")
    try:
        root = ElementTree.fromstring(_xml_of(content_type, body), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise Unreadable(f"not readable XML ({type(error).__name__})") from None
    events = [_postback(element) for element in _events(root)]
    if not events:
        raise Unreadable("no event with a CODE and a TRACKINGID")
    return events


def _xml_of(content_type: str, body: bytes) -> bytes:
    if body.lstrip()[:1] == b"<" or "urlencoded" not in content_type:
        return body
    fields = parse_qs(body.decode("utf-8", "replace"))
    given = fields.get("xml") or fields.get("XML")
    if not given:
        raise Unreadable("a form without a field xml")
    return given[0].strip().encode()


def _events(root: Element) -> Iterator[Element]:
    """A POSTBACK that is one event, one that wraps NOTIFICATIONs, or a bare NOTIFICATION."""
    notifications = [element for element in root.iter() if element.tag.upper() == "NOTIFICATION"]
    for element in notifications or [root]:
        if _text(element, "CODE") and 0 < len(_text(element, "TRACKINGID")) <= _LONGEST_ID:  # a longer one is no ticket's
            yield element


def _postback(element: Element) -> Postback:
    code = _text(element, "CODE").upper()
    status = _status(element)
    to = re.sub(r"\D", "", _text(element, "TO"))
    return Postback(
        code=code,
        tracking_id=_text(element, "TRACKINGID"),
        state=_state(code, status, element),
        status=status,
        phone=Phone(int(to)) if 0 < len(to) <= 15 else None,
        mms_id=_text(element, "MMSID")[:_LONGEST_MMS_ID] or None,
        details=_text(element, "STATUSDETAILS"),
    )


def _state(code: str, status: str, element: Element) -> MessageState | None:
    """By the code, unless its status says that the ticket was lost: for a time N102 carried both kinds."""
    state = _BY_CODE.get(code)
    if state is None or state == _LOST:
        return state
    words = status.lower()
    attributes = _attributes(element)
    is_lost = any(word in words for word in _LOST_WORDS) or attributes.get("CELLY") in _LOST_GATEWAY_STATUS
    return _LOST if is_lost else state


def _status(element: Element) -> str:
    return _text(element, "STATUS") or _attributes(element).get("TEXT", "")


def _attributes(element: Element) -> Mapping[str, str]:
    """The attributes of the old shape's STATUS, by upper-case name."""
    for child in element.iter():
        if child.tag.upper() == "STATUS":
            return {name.upper(): value.strip() for name, value in child.attrib.items()}
    return {}


def _text(element: Element, tag: str) -> str:
    """The first text under that tag, at whatever depth and in whatever case, trimmed."""
    for child in element.iter():
        if child.tag.upper() == tag and child.text and child.text.strip():
            return child.text.strip()
    return ""
