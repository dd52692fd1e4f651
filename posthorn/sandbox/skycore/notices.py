"""The content of a postback, in both shapes: a flat ``POSTBACK`` per event, or ``NOTIFICATION`` elements in one (seed era).

Source: the postback pages of 2013 and later; SPID, HANDSET, AGGREGATORID and PROVIDER have made-up values. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from posthorn.sandbox.skycore.answers import Fields, element, safe
from posthorn.sandbox.skycore.lifecycle import Event
from posthorn.sandbox.skycore.tickets import Ticket

_ZONE = ZoneInfo("America/New_York")
_SPID, _OLD_SPID = "0001890", "000189"
_HANDSET = "motol7c"
# Gateway statuses of the report, which the attribute CELLY seems to repeat.
_GATEWAY = {"Delivered": ("20", "1000", "Retrieved"), "Expired": ("30", "4000", "Expired")}
_REJECTED = ("35", "4000", "Rejected")


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice: about a ticket if ``event`` is set, else its content is in ``fields``. ``at`` is a wall time."""

    origin: str
    code: str
    at: float
    number: int
    fields: Fields = ()
    ticket: Ticket | None = None
    event: Event | None = None
    sms_id: str | None = None


def of_ticket(ticket: Ticket, events: Iterable[Event], *, is_old: bool) -> Iterator[tuple[float, Notice]]:
    """Each notice of a ticket with the aged seconds after which it is due."""
    for event in events:
        origin = "SMS_MT" if event.code in ("N202", "E202") else "MMS_MT"
        notice = Notice(origin, event.code, ticket.accepted + event.after, ticket.number, ticket=ticket, event=event)
        yield from _as_then(event, notice) if is_old else [(event.after, notice)]


def _as_then(event: Event, notice: Notice) -> Iterator[tuple[float, Notice]]:
    """The seed era had N102 and N202 for good and bad outcomes, and reported the link's SMS under a second TRACKINGID."""
    code = {"E102": "N102", "E202": "N202"}.get(event.code, event.code)
    sms_id = f"SMS_{notice.number}" if event.sent_as == "SMS" and code != "N101" else None
    yield event.after, replace(notice, code=code, sms_id=sms_id)
    if event.code == "N101" and event.sent_as == "SMS":
        yield event.after, replace(notice, code="N102", sms_id=f"SMS_{notice.number}")


def of_template(mms_id: str, at: float) -> Notice:
    """N003: a stored MMS is encoded."""
    return Notice("MMS_MT", "N003", at, int(at), [("MMSID", mms_id)])


def of_subscription(code: str, campaign: str, title: str, mobile: str, shortcode: str, at: float) -> Notice:
    """N301 or N302: a number was subscribed or unsubscribed by the API."""
    fields = [("MOBILE", mobile), ("CAMPAIGNID", campaign), ("TIMESTAMP", _iso(at)), ("SHORTCODE", shortcode)]
    return Notice("SUB", code, at, int(at), [*fields, ("CAMPAIGNTITLE", title), ("BRANDNAME", "Sandbox"), ("SOURCE", "API")])


# The flat shape.


def flat(notice: Notice) -> str:
    """One ``POSTBACK`` of one event (since November 2013)."""
    fields = [("ORIGIN", notice.origin), ("CODE", notice.code), *(_flat_fields(notice) if notice.ticket else notice.fields)]
    body = "".join(f"  {element(name, value)}\n" for name, value in fields if value)
    return f"<?xml version='1.0'?>\n<POSTBACK>\n{body}</POSTBACK>\n"


def _flat_fields(notice: Notice) -> Fields:
    ticket, event = notice.ticket, notice.event
    if ticket is None or event is None:
        return ()
    has_ended = event.state != "sent"
    return [
        ("SENTAS", event.sent_as or ""),
        ("STATUS", event.status),
        ("STATUSDETAILS", event.details or ""),
        ("MMSID", ticket.mms_id),
        ("FROM", ticket.sender),
        ("TO", ticket.to),
        ("TRACKINGID", ticket.tracking_id),
        ("SPID", _SPID),
        ("HANDSET", _HANDSET if event.state == "delivered" and event.sent_as == "MMS" else ""),
        ("AGGREGATORID", "1" if has_ended and event.sent_as else ""),
        # Only E101 carries no time.
        ("TIMESTAMP", _iso(notice.at) if event.sent_as else ""),
    ]


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, _ZONE).isoformat(timespec="seconds")


# The shape of the seed era.


def gathered(notices: Iterable[Notice]) -> str:
    """A whole batch in one ``POSTBACK`` (until November 2013)."""
    return f"<POSTBACK>\n{''.join(map(_notification, notices))}</POSTBACK>\n"


def _notification(notice: Notice) -> str:
    created = datetime.fromtimestamp(notice.at, _ZONE)
    attributes = f'ID="{notice.number}{int(notice.code[1:])}" CREATED="{_spaced(created, "microseconds")}"'
    head = element("ORIGIN", notice.origin) + element("CODE", notice.code)
    body = _old_body(notice, _spaced(created, "seconds"))
    return f" <NOTIFICATION {attributes}>\n  {head}\n  <BODY>{body}</BODY>\n </NOTIFICATION>\n"


def _spaced(moment: datetime, precision: str) -> str:
    """``2011-08-02 07:20:49-04``."""
    return moment.isoformat(" ", precision).removesuffix(":00")


def _old_body(notice: Notice, stamp: str) -> str:
    ticket, event = notice.ticket, notice.event
    if ticket is None or event is None:
        return "".join(element(name, value) for name, value in notice.fields if name in ("MMSID", "MOBILE", "CAMPAIGNID"))
    is_link = notice.code == "N202"
    fields = [
        ("HISTORYID", str(ticket.number)),
        ("MMSID", ticket.mms_id),
        ("TO", ticket.to),
        ("TRACKINGID", notice.sms_id or "" if is_link else ticket.tracking_id),
        ("SMSID", "" if is_link else notice.sms_id or ""),
        ("SPID", _OLD_SPID),
        ("HANDSET", _HANDSET if notice.code == "N102" else ""),
        ("STATUSDETAILS", event.details or "" if notice.code == "E101" else ""),
    ]
    body = "".join(element(name, value) for name, value in fields if value)
    return f"{body}{_old_status(notice, event)}{element('TIMESTAMP', stamp)}"


def _old_status(notice: Notice, event: Event) -> str:
    if notice.code == "N202":
        return f'<STATUS protocole="3" status="{1 if event.state == "delivered" else 2}" />'
    if notice.code != "N102":
        return ""
    if event.state == "sent":
        return '<STATUS CELLY="10" PROVIDER="" TEXT="Sent" DESCRIPTION="" />'
    gateway, provider, text = _GATEWAY.get(event.status.rpartition("/")[2], _REJECTED)
    return f'<STATUS CELLY="{gateway}" PROVIDER="{provider}" TEXT="{text}" DESCRIPTION="{safe(event.details or "")}" />'
