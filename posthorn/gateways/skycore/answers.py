"""Reads what Skycore answers: a RESPONSE in any order and case, with padding and extra tags, into its leaves.

Tolerant of form, never of contradiction: a value that is given twice differently counts as not given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posthorn.gateways import xml
from posthorn.models import Phone, TicketRequest, mms_number

MAX_ELEMENTS = 100_000
"""A list of templates or campaigns has some hundreds."""

MAX_ID_LENGTH = 64
"""Characters of a tracking id, as many as the ledger holds; the provider's have about twelve."""

_CODE = re.compile(r"E?([0-9]{1,5})")
_NOT_DIGITS = re.compile(r"\D")


@dataclass(frozen=True, slots=True)
class Told:
    """A RESPONSE as its leaves: tag in upper case -> the different texts found under it, trimmed, none of them empty."""

    values: Mapping[str, Sequence[str]]

    def one(self, tag: str) -> str | None:
        """The text of a tag; None if there is none, or if it is given twice differently."""
        found = self.values.get(tag, ())
        return found[0] if len(found) == 1 else None

    @property
    def is_failure(self) -> bool:
        """An error code means failure even beside "Success" (the Ruby client that was in production reads it so)."""
        return "ERRORCODE" in self.values or (self.one("STATUS") or "").lower() == "failure"

    @property
    def is_success(self) -> bool:
        """Accepted, in the provider's word. It does not mean delivered."""
        return not self.is_failure and (self.one("STATUS") or "").lower() == "success"

    @property
    def claims_success(self) -> bool:
        """Whether anything in it speaks of an accepted ticket, whatever else it says."""
        return "TRACKINGID" in self.values or any(status.lower() == "success" for status in self.values.get("STATUS", ()))

    @property
    def code(self) -> str | None:
        """The error code as ``E713``; None if there is none that can be read."""
        found = _CODE.fullmatch((self.one("ERRORCODE") or "").upper())
        return f"E{found[1]}" if found else None

    @property
    def info(self) -> str:
        """The provider's free text about an error; may hold anything."""
        return self.one("ERRORINFO") or ""


class Unreadable(ValueError):
    """The body is not one complete RESPONSE."""


def read(body: bytes) -> Told:
    """The leaves of a RESPONSE, at whatever depth they stand.

    Raises:
        Unreadable: empty, cut off, HTML, another charset, entities, another document.
    """
    try:
        root = xml.read_xml(body.strip(b"\xef\xbb\xbf \t\r\n"), max_elements=MAX_ELEMENTS)
    except xml.Unreadable as error:
        raise Unreadable(str(error)) from None
    if _tag(root.tag) != "RESPONSE":
        raise Unreadable("another document")
    values: dict[str, dict[str, None]] = {}
    for element in root.iter():
        if text := (element.text or "").strip():
            values.setdefault(_tag(element.tag), {})[text] = None
    return Told({tag: list(texts) for tag, texts in values.items()})


def _tag(tag: object) -> str:
    return str(tag).rpartition("}")[2].upper()


def names_another(told: Told, request: TicketRequest) -> bool:
    """Whether the answer echoes a number or a template that is not this ticket's."""
    numbers, templates = told.values.get("TO", ()), told.values.get("MMSID", ())
    return any(not _is_number(text, request.phone) for text in numbers) or any(
        mms_number(template) != mms_number(request.mms_id) for template in templates
    )


def _is_number(text: str, phone: Phone) -> bool:
    """Whether a number as the provider writes it may be this one: with a prefix, or without its country code."""
    digits = _NOT_DIGITS.sub("", text).lstrip("0")
    return not digits or digits == str(phone) or (len(digits) >= 7 and str(phone).endswith(digits))
