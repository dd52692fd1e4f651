"""The action getSendingStatus, also spelt getSendingStatistics: a link to a report that names neither ticket nor barcode.

Source: the method page and Appendix C. The element ``URL`` for the link, and its target, are made up.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import quoteattr

from posthorn.sandbox.skycore.account import Account
from posthorn.sandbox.skycore.answers import XML, Fields
from posthorn.sandbox.skycore.errors import ApiError
from posthorn.sandbox.skycore.lifecycle import Event
from posthorn.sandbox.skycore.params import Params
from posthorn.sandbox.skycore.tickets import Ticket
from posthorn.sandbox.wire import Reply

_PATTERN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_BAD_ENDS = {"Expired": ("EXPIRED", 30), "Rejected": ("REJECTED", 35)}
Window = tuple[datetime, datetime]


class Reports:
    """The requested reports, each under its own name; they are written when they are fetched."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.reset()

    def reset(self) -> None:
        """Forget every report."""
        self._windows: dict[str, Window] = {}
        self._last_asked_at = float("-inf")

    def order(self, params: Params, address: str) -> Fields:
        """A new report from START_DATE to END_DATE (UTC); ``address`` is the start of links.

        Raises:
            ApiError: E506 to E510.
        """
        window = _moment(params.get("start_date")), _moment(params.get("end_date"))
        if window[1] - window[0] > timedelta(days=self._account.options.statistics_days):
            raise ApiError("E509")
        age = self._account.clock.age()
        if age - self._last_asked_at < self._account.options.statistics_interval_seconds:
            raise ApiError("E510")
        self._last_asked_at = age
        name = f"{secrets.token_hex(8)}.xml"
        self._windows[name] = window
        return [("URL", address + name)]

    def fetch(self, name: str) -> Reply | None:
        """A report with its current content, or None."""
        window = self._windows.get(name)
        if window is None:
            return None
        rows = "".join(self._row(ticket) for ticket in self._account.tickets.all if _is_within(ticket, window))
        return Reply(f"<RESPONSE>\n<SENDING_LIST>\n{rows}</SENDING_LIST>\n</RESPONSE>\n".encode(), XML)

    def _row(self, ticket: Ticket) -> str:
        age = self._account.clock.age()
        events = [event for event in self._account.tickets.course(ticket) if ticket.taken_at + event.after <= age]
        delivery = "xhtml" if any(event.sent_as == "SMS" for event in events) else "binary"
        known = {"id": ticket.number, "to": ticket.to, "carrier": "0001890", "from": ticket.sender}
        content = {**known, "contentid": ticket.mms_id, "contentname": f"MMS {ticket.mms_id}", "delivery": delivery}
        attributes = " ".join(f"{name}={quoteattr(str(value))}" for name, value in content.items())
        steps = "".join(_steps(ticket, events))
        return f"<CONTENT {attributes}><MSG_STATUS>{steps}</MSG_STATUS></CONTENT>\n"


def _moment(text: str | None) -> datetime:
    if not text:
        raise ApiError("E506")
    if not _PATTERN.fullmatch(text):
        raise ApiError("E507")
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise ApiError("E508") from error


def _is_within(ticket: Ticket, window: Window) -> bool:
    return window[0].timestamp() <= ticket.accepted <= window[1].timestamp()


def _steps(ticket: Ticket, events: list[Event]) -> Iterator[str]:
    """The history of a message, oldest first."""
    yield _step("INQUE", None, ticket.accepted)
    for event in events:
        at = ticket.accepted + event.after
        if event.state == "failed":
            yield f"<ERROR info={quoteattr(event.details or '')} time={quoteattr(_stamp(at))}/>"
        elif event.state == "sent":
            yield _step("INIT", 0, at)
            yield _step("ACK", 9 if event.sent_as == "MMS" else 10, at)
        elif event.state == "delivered":
            yield _step("DLR", 20, at)
        else:
            yield _step(*_BAD_ENDS.get(event.status.rpartition("/")[2], ("REJECTED", 35)), at)


def _step(tag: str, gateway: int | None, at: float) -> str:
    status = "" if gateway is None else f' gw="{gateway}" net=""'
    return f'<{tag}{status} time="{_stamp(at)}"/>'


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
