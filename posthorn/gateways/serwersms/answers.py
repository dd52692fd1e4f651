"""Reads what SerwerSMS answers: JSON and XML into one plain shape, and that shape into receipts, reports and the like.

Tolerant of what the documents leave open (``items`` missing, null, one object; numbers as strings; other spellings of a
number), never of contradiction: what does not bind to exactly one recipient of the request leaves that recipient unknown.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from xml.etree.ElementTree import Element
from zoneinfo import ZoneInfo

import orjson

from posthorn.errors import GatewayError, RequestRefused
from posthorn.gateways import xml
from posthorn.gateways.serwersms import codes
from posthorn.models import (
    AccountLimit,
    AllTaken,
    Answer,
    Credit,
    MessageState,
    MmsRequest,
    Phone,
    Receipt,
    Report,
    StoredFile,
    mask_phone,
)

Plain = dict[str, Any]

NATIONAL_PREFIX = "+48"
"""Nine digits without a prefix are a Polish number to this provider (introduction page)."""

MAX_ANOMALIES = 20
MAX_ID_LENGTH = 64
"""Characters of an id, as many as the ledger holds; the provider's have ten."""

_MAX_MOMENT_LENGTH = 64  # thousands of them are remembered
_MAX_NUMBER_LENGTH = 64
_SHORTEST_ELEMENT = 6  # bytes: ``<id/>`` and what goes around it

_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,15})(?:\.[0-9]*)?\s*")
_PHONE = re.compile(r"(\+|00)?([1-9][0-9]{3,14})")
_PLAIN_PHONE = re.compile(r"\+[1-9][0-9]{3,14}")
_PLAIN_PHONES = re.compile(r"\+[1-9][0-9]{3,14}(?:\n\+[1-9][0-9]{3,14})*")
_DECIMALS = re.compile(r"(?<=[0-9]{7})\.0*\Z")
"""What a number has behind it that was once a number of a spreadsheet or of JSON: its zeros are not digits of the phone."""

_SEPARATORS = str.maketrans("", "", " -.()/\u00a0")

_TEXT_OR_NONE = {str, type(None)}
_NO_RECEIPT = Receipt(MessageState.UNKNOWN)
_TRUE = (True, 1, "1", "true", "True", "TRUE")


class Unreadable(ValueError):
    """The body is not one complete document of the expected format, or not an object."""


def read(body: bytes, response_format: Literal["json", "xml"]) -> Plain:
    """The answer as dicts, lists and scalars; XML lists are ``<item>`` elements, XML scalars stay text.

    Raises:
        Unreadable: empty, cut off, HTML, another charset, NaN, entities, nested too deep, not an object.
    """
    try:
        data = orjson.loads(body) if response_format == "json" else _from_xml(body)
    except xml.Unreadable as error:
        raise Unreadable(str(error)) from None
    except orjson.JSONDecodeError as error:
        raise Unreadable(type(error).__name__) from None  # the decoder's error would carry the whole body along
    if not isinstance(data, dict):
        raise Unreadable(type(data).__name__)
    return data


def _from_xml(body: bytes) -> Any:
    data = _reduced(xml.read_xml(body, max_elements=len(body) // _SHORTEST_ELEMENT))
    # An error comes as the root itself: <error><code/><type/><message/></error> or under another name.
    if isinstance(data, dict) and {"code", "message"} <= data.keys() and "success" not in data:
        return {"error": data}
    return data


def _reduced(element: Element) -> Any:
    children = list(element)
    if not children:
        return (element.text or "").strip() or None
    if all(child.tag == "item" for child in children):
        return [_reduced(child) for child in children]
    reduced: Plain = {}
    for child in children:
        reduced[child.tag] = _reduced(child)
    return reduced


def error_code(data: Plain) -> tuple[bool, str | None]:
    """Whether the answer is an error (``error`` is looked at before ``success``), and its code if it has a readable one."""
    error = data.get("error")
    if not error:
        return False, None
    return True, digits(error.get("code")) if isinstance(error, dict) else None


def claims_taken(data: Plain) -> bool:
    """Whether anything in the answer to a send speaks of messages that were taken, whatever else it says."""
    return is_true(data.get("success")) or bool(data.get("items")) or (whole(data.get("queued")) or 0) > 0


def items(data: Plain) -> list[Plain]:
    """The objects in ``items``."""
    return objects(data.get("items"))


def objects(found: Any) -> list[Plain]:
    """The objects of a value: a list of them, an object of objects, a single object, or nothing."""
    if isinstance(found, dict):
        found = list(found.values()) if all(isinstance(value, dict) for value in found.values()) else [found]
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def is_true(value: Any) -> bool:
    """True as the provider's clients write it: true, "true", 1, "1"."""
    return value in _TRUE


def whole(value: Any) -> int | None:
    """A number that may come as text (``6``, ``"6"``, ``"6.0"``); None if it is not one, or too large for a count."""
    matched = _NUMBER.fullmatch(str(value)) if _is_short(value) else None
    return int(matched[1]) if matched else None


def _is_short(value: Any) -> bool:
    """Whether it may be a number. A value nested a thousand deep cannot even be shown as text."""
    return isinstance(value, (int, float)) or (isinstance(value, str) and len(value) <= _MAX_NUMBER_LENGTH)


def digits(value: Any) -> str | None:
    """A code as text, ``"3103"``; None where it is not a short whole number."""
    number = whole(value)
    return str(number) if number is not None and 0 <= number < 1_000_000 else None


def text(value: Any) -> str | None:
    """A word or a title as text; None where it is missing or empty. Without NUL, which PostgreSQL cannot store."""
    return str(value).replace("\0", "") or None if _is_scalar(value) else None


def identifier(value: Any) -> str | None:
    """An id as text; None if it is missing, or if the ledger could not hold it."""
    found = str(value) if _is_scalar(value) else ""
    return found if 0 < len(found) <= MAX_ID_LENGTH and found.isprintable() else None


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


# -- A send ---------------------------------------------------------------------------------------------------------------


def answer_of(data: Plain, request: MmsRequest, raw: bytes) -> Answer:
    """One receipt per phone of the request, in its order (sending-mms page).

    Items are bound by number, not by order, which is undocumented. A recipient who is not mentioned is unknown.
    """
    listed = items(data)
    taken = MessageState.SCHEDULED if request.send_at else MessageState.ACCEPTED
    if not listed:
        return _answer_by_count(data, len(request.phones), taken, raw)
    if ids := _ids_if_all_queued(listed, request.phones):
        return Answer(AllTaken(taken, ids), raw=raw)
    binding = _Binding(request.phones, taken)
    for item in listed:
        binding.add(item)
    return binding.answer(raw)


def _answer_by_count(data: Plain, count: int, taken: MessageState, raw: bytes) -> Answer:
    if is_true(data.get("success")) and whole(data.get("queued")) == count and whole(data.get("unsent")) == 0:
        return Answer([Receipt(taken)] * count, anomalies=["no items: accepted by count, without ids"], raw=raw)
    return Answer([_NO_RECEIPT] * count, anomalies=["no items, and the counters do not match the request"], raw=raw)


def _ids_if_all_queued(listed: Sequence[Plain], phones: Sequence[Phone]) -> list[str]:
    """The ids in the order of ``phones`` if the answer is the usual one; empty if it is anything else.

    The usual one has as many items as recipients; each recipient is named once, exactly as asked, queued, with an id of its
    own. The result is that of ``_Binding`` at a fifth of the cost.
    """
    try:
        queued = {item["phone"]: item["id"] for item in listed if item["status"] == "queued"}
        ids = [queued[f"+{phone}"] for phone in phones]
        is_usual = len(listed) == len(queued) == len(ids) == len(set(ids)) and {type(given) for given in ids} == {str}
    except (KeyError, TypeError):
        return []
    return ids if is_usual and _are_identifiers(ids) else []


def _are_identifiers(ids: Sequence[str]) -> bool:
    """Whether ``identifier`` takes each of them as it is; there is at least one."""
    return all(ids) and max(map(len, ids)) <= MAX_ID_LENGTH and "".join(ids).isprintable()


class _Binding:
    """Binds the items of one answer to the phones of its request."""

    def __init__(self, phones: Sequence[Phone], taken: MessageState) -> None:
        self._phones = phones
        self._taken = taken
        self._places = {f"+{phone}": place for place, phone in enumerate(phones)}
        self._receipts: list[Receipt | None] = [None] * len(phones)
        self._owners: dict[str, int] = {}
        self._anomalies: list[str] = []
        self._surplus: list[tuple[int, str]] = []
        self._stop: GatewayError | None = None

    def add(self, item: Plain) -> None:
        """Bind one item, or note why it does not bind."""
        number = item.get("phone")
        place = self._places.get(number) if isinstance(number, str) else None
        if place is None:
            place = self._place_of(number)
            if place is None:
                return
        receipt = self._receipt(item, place)
        earlier = self._receipts[place]
        self._receipts[place] = receipt if earlier is None else self._again(place, earlier, receipt)

    def answer(self, raw: bytes) -> Answer:
        """The receipts; recipients without an item are unknown."""
        missing = self._receipts.count(None)
        if missing:
            self._note(f"{missing} of {len(self._phones)} recipients are not mentioned")
        receipts = [receipt or _NO_RECEIPT for receipt in self._receipts]
        return Answer(receipts, self._stop, self._bounded_anomalies(), raw, self._surplus)

    def _receipt(self, item: Plain, place: int) -> Receipt:
        provider_id = identifier(item.get("id"))
        if provider_id is not None and self._owners.setdefault(provider_id, place) != place:
            self._note("one id for two recipients", place)
            return _NO_RECEIPT
        status = item.get("status")
        if status == "queued":
            if provider_id is not None:
                return Receipt(self._taken, provider_id)
            self._note("queued without an id", place)
        elif status == "unsent":
            return self._unsent(item, provider_id, place)
        else:
            self._note("a status that is neither queued nor unsent", place)
        return Receipt(MessageState.UNKNOWN, provider_id)

    def _unsent(self, item: Plain, provider_id: str | None, place: int) -> Receipt:
        code = digits(item.get("error_code"))
        if code is None:
            self._note("unsent without an error code", place)
            return Receipt(MessageState.UNKNOWN, provider_id)
        state, stop = codes.item_outcome(code)
        self._stop = self._stop or stop
        return Receipt(state, provider_id, code)

    def _again(self, place: int, earlier: Receipt, later: Receipt) -> Receipt:
        if earlier == later:
            self._note("one recipient mentioned twice", place)
            return earlier
        self._note("one recipient with two different items", place)
        if later.provider_id is not None and earlier.state is later.state is self._taken:
            self._surplus.append((place, later.provider_id))
        return earlier if earlier.state is later.state else Receipt(MessageState.UNKNOWN, earlier.provider_id)

    def _place_of(self, number: Any) -> int | None:
        spellings = _spellings(number)
        found = {self._places[spelling] for spelling in spellings if spelling in self._places}
        if len(found) == 1:
            return found.pop()
        shown = mask_phone(int(spellings[0])) if spellings else "a number that is none"
        self._note(f"{shown}: {'could be two recipients' if found else 'not among the recipients of this request'}")
        return None

    def _note(self, what: str, place: int | None = None) -> None:
        self._anomalies.append(what if place is None else f"{mask_phone(self._phones[place])}: {what}")

    def _bounded_anomalies(self) -> list[str]:
        more = len(self._anomalies) - MAX_ANOMALIES
        return self._anomalies[:MAX_ANOMALIES] + ([f"and {more} more"] if more > 0 else [])


def _spellings(number: Any) -> list[str]:
    """What a number of an answer may mean, as ``+…``, likeliest first; empty if it is not a number."""
    written = _DECIMALS.sub("", str(number).strip()) if _is_short(number) else ""
    matched = _PHONE.fullmatch(written.translate(_SEPARATORS))
    if matched is None:
        return []
    prefix, bare = matched.groups()
    return [NATIONAL_PREFIX + bare, "+" + bare] if prefix is None and len(bare) == 9 else ["+" + bare]


# -- Everything else ------------------------------------------------------------------------------------------------------


def stored_file(item: Plain) -> StoredFile:
    """One entry of files/index, or the answer of files/view."""
    return StoredFile(
        id=text(item.get("id")) or "",
        name=text(item.get("name")) or "",
        size=whole(item.get("size")),
        type=text(item.get("type")) or "",
        date=text(item.get("date")) or "",
    )


def stored_id(data: Plain) -> str:
    """The id of the answer of files/add.

    Raises:
        RequestRefused: there is none.
    """
    file_id = identifier(data.get("id"))
    if file_id is None:
        raise RequestRefused(f"{codes.WHO} stored no file and gave no reason")
    return file_id


def reports_of(listed: Sequence[Plain], zone: ZoneInfo) -> list[Report | None]:
    """``report_of`` each entry of messages/reports."""
    return _usual_reports(listed, zone) or [report_of(item, zone) for item in listed]


def _usual_reports(listed: Sequence[Plain], zone: ZoneInfo) -> list[Report | None]:
    """The reports if the entries are the usual ones; empty if anything about them is not.

    The usual ones have ids and plain numbers, and words and moments that are text or missing. The result is that of
    ``report_of`` at a third of the cost: each field is read for all entries, and what many share is read once.
    """
    try:
        ids, numbers = [item["id"] for item in listed], [item["phone"] for item in listed]
        if not (_are_identifiers(ids) and _PLAIN_PHONES.fullmatch("\n".join(numbers))):
            return []
        states = _each(listed, "status", lambda word: _report_state(text(word) or ""))
        statuses = _each(listed, "status", lambda word: text(word) or "")
        titles, reasons = _each(listed, "text", text), _each(listed, "reason", text)
        moments = [_each(listed, name, lambda value: moment(value, zone)) for name in ("queued", "sent", "delivered")]
        phones = map(int, numbers)  # refuses one with a line break in it, which would be two
        columns = (ids, states, statuses, phones, titles, reasons, *moments, _file_ids_of_each(listed))
        return [Report._make(row) for row in zip(*columns, strict=True)]
    except (KeyError, TypeError, ValueError, RecursionError):  # the last: values nested too deep to be compared
        return []


def _each(listed: Sequence[Plain], name: str, read: Callable[[Any], Any]) -> list[Any]:
    """That field of each entry, each different value read once.

    Raises:
        TypeError: one is neither text nor missing. Values that are not text may be equal and yet read differently (1, true).
    """
    given = [item.get(name) for item in listed]
    if not {*map(type, given)} <= _TEXT_OR_NONE:
        raise TypeError(name)
    known = {value: read(value) for value in {*given}}
    return [known[value] for value in given]


def _file_ids_of_each(listed: Sequence[Plain]) -> list[tuple[str, ...]]:
    given = [item.get("attachments") for item in listed]
    are_texts = {type(entry.get("id")) for entry in objects(given[0])} <= _TEXT_OR_NONE
    if are_texts and given.count(given[0]) == len(given):  # nearly always: they are of one campaign
        return [_file_ids(given[0])] * len(given)
    return [_file_ids(attachments) for attachments in given]


def _file_ids(attachments: Any) -> tuple[str, ...]:
    return tuple([found for entry in objects(attachments) if (found := text(entry.get("id")))])


def _report_state(status: str) -> MessageState:
    return codes.REPORT_STATES.get(status.strip().lower(), MessageState.ACCEPTED)


def report_of(item: Plain, zone: ZoneInfo) -> Report | None:
    """One entry of messages/reports, or the answer of messages/view; None without an id."""
    provider_id = identifier(item.get("id"))
    if provider_id is None:
        return None
    status = text(item.get("status")) or ""
    return Report(
        provider_id=provider_id,
        state=_report_state(status),
        status=status,
        phone=phone_of(item.get("phone")),
        title=text(item.get("text")),
        reason=text(item.get("reason")),
        queued_at=moment(item.get("queued"), zone),
        sent_at=moment(item.get("sent"), zone),
        delivered_at=moment(item.get("delivered"), zone),
        file_ids=_file_ids(item.get("attachments")),
    )


def may_be_of(kind: str, item: Plain, kinds: Sequence[str]) -> bool:
    """Whether a report is about a message of that kind, or of an unknown kind."""
    word = (text(item.get("type")) or kind).strip().lower()
    return word == kind or word not in kinds


def phone_of(number: Any) -> Phone | None:
    """A number of an answer as E.164 digits; nine digits without a prefix are Polish."""
    if isinstance(number, str) and _PLAIN_PHONE.fullmatch(number):  # nearly always, and there may be a million
        return Phone(int(number))
    spellings = _spellings(number)
    return Phone(int(spellings[0])) if spellings else None


def moment(value: Any, zone: ZoneInfo, *, fold: int = 0) -> datetime | None:
    """A naive local time of an answer, read in ``zone``, as UTC; None where it is absent.

    The hour that repeats in autumn is read as its first passing, or with ``fold=1`` as its second: the provider's text
    cannot tell. The result is in UTC, because Python calls a time in that hour unequal to every time of another zone.
    """
    return _moment(value[:_MAX_MOMENT_LENGTH], zone, fold) if isinstance(value, str) else None


@functools.lru_cache(maxsize=8_192)
def _moment(value: str, zone: ZoneInfo, fold: int) -> datetime | None:
    """Read once: the many messages of a campaign share their seconds."""
    try:
        local = datetime.fromisoformat(value.strip())
        return (local if local.tzinfo else local.replace(tzinfo=zone, fold=fold)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def pages_of(data: Plain, page: int) -> tuple[int, int]:
    """``paging`` as (page, pages); without it, the page asked for is the last."""
    paging = data.get("paging")
    given: Mapping[str, Any] = paging if isinstance(paging, dict) else {}
    current = whole(given.get("page")) or page
    return current, max(whole(given.get("count")) or 0, current if not given else 1)


def credit_of(value: Any) -> Credit:
    """``value`` of account/limits: a number (as text), ``no_limit``, or ``not_available`` (account page)."""
    if value == "no_limit":
        return Credit(left=None)
    left = whole(value)
    return Credit(left=0, available=False) if left is None else Credit(left=left)


def account_limit(item: Plain) -> AccountLimit:
    """One entry of account/limits (account page)."""
    return AccountLimit(
        type=text(item.get("type")) or "",
        length=text(item.get("chars_limit")) or "",
        credit=credit_of(item.get("value")),
    )
