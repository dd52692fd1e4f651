"""What becomes of a ticket after it was accepted: the same for one seed, number, barcode and attempt. It sends nothing.

Source: section "Delivery status" of the postback pages; the options decide how often each outcome comes, and how soon.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Literal

from posthorn.sandbox.skycore.options import SkycoreOptions

State = Literal["accepted", "sent", "delivered", "undelivered", "failed"]

LOOKUP_FAILED = "Error fetching object(Database Error: Could not find number/email imported in database)"
_QUARTERS = struct.Struct(">IIII").unpack
_AS_LINK = "Handset does not support MMS"
_UNDELIVERED = {
    "Expired": "Message expired before it was retrieved",
    "Rejected": "Recipient blocked by mobile operator",
    "Failed": "Message could not be delivered",
    "NotSupported": "Recipient handset does not support MMS",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a ticket, ``after`` that many aged seconds. ``status`` is the provider's text."""

    code: str
    status: str
    after: float
    state: State
    sent_as: Literal["MMS", "SMS"] | None = None
    details: str | None = None


def course(options: SkycoreOptions, name: str) -> tuple[Event, ...]:
    """The events of a ticket in order; ``name`` identifies the ticket."""
    fate, pace, link, word = _shares(options.seed, name)
    processed = options.processed_after_seconds
    if fate < options.late_failure:
        return (Event("E101", "Message Failed", processed, "failed", details=LOOKUP_FAILED),)
    as_link = link < options.link_sms
    sent = Event("N101", "Message Sent", processed, "sent", "SMS" if as_link else "MMS", _AS_LINK if as_link else None)
    fate -= options.late_failure
    if fate < options.silent:
        return (sent,)
    ended = processed + pace * max(0.0, options.reported_after_seconds - processed)
    if fate < options.silent + options.undelivered:
        return sent, _undelivered(options, ended, word, as_link=as_link)
    code = "N202" if as_link else "N102"
    return sent, Event(code, "Message Sent/Delivered", ended, "delivered", sent.sent_as)


def state_at(options: SkycoreOptions, name: str, after: float) -> State:
    """The state that ``course`` reaches ``after`` that many aged seconds, at a fifth of its cost."""
    if after < options.processed_after_seconds:
        return "accepted"
    fate, pace, _, _ = _shares(options.seed, name)
    if fate < options.late_failure:
        return "failed"
    fate -= options.late_failure
    ended = options.processed_after_seconds + pace * max(
        0.0, options.reported_after_seconds - options.processed_after_seconds
    )
    if fate < options.silent or after < ended:
        return "sent"
    return "undelivered" if fate < options.silent + options.undelivered else "delivered"


def marked(happened: tuple[Event, ...], outcome: str, after: float, options: SkycoreOptions) -> tuple[Event, ...]:
    """The course of a ticket whose outcome a person sets ``after`` that many aged seconds.

    Raises:
        ValueError: an unknown outcome.
    """
    sent = happened or (Event("N101", "Message Sent", after, "sent", "MMS"),)
    if outcome == "silent":
        return sent
    if outcome == "delivered":
        return *sent, Event("N102", "Message Sent/Delivered", after, "delivered", "MMS")
    if outcome == "undelivered":
        return *sent, _undelivered(options, after, 0.0, as_link=False)
    raise ValueError(f"{outcome}: expected one of delivered, undelivered, silent")


def _undelivered(options: SkycoreOptions, ended: float, word: float, *, as_link: bool) -> Event:
    # A link SMS that fails is reported as Failed; the other words came with later pages.
    kind = "Failed" if as_link else list(_UNDELIVERED)[int(word * len(_UNDELIVERED))]
    code = "E202" if as_link else options.undelivered_code
    return Event(code, f"Message Sent/{kind}", ended, "undelivered", "SMS" if as_link else "MMS", _UNDELIVERED[kind])


def _shares(seed: int, name: str) -> tuple[float, ...]:
    """Four numbers from 0 to below 1."""
    fate, pace, link, word = _QUARTERS(hashlib.blake2b(f"{seed}|{name}".encode(), digest_size=16).digest())
    return fate / 2**32, pace / 2**32, link / 2**32, word / 2**32


def share_of(seed: int, name: str) -> float:
    """A number from 0 to below 1 that is always the same for a name."""
    return _shares(seed, name)[0]
