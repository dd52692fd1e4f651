"""The nouns: states, phone numbers, and what a gateway is asked and answers. No behaviour that needs a network or a disk."""

from __future__ import annotations

import enum
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, NewType, overload

from posthorn.errors import GatewayError

Phone = NewType("Phone", int)
"""An E.164 number without its plus: ``48500600700``."""


UNSENDABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document can hold (XML 1.0, production 2): neither can a ticket's texts."""


class MessageState(enum.IntEnum):
    """Where one recipient's copy stands. The numbers are stored in the ledger: never renumber, only append.

    ``sending`` is not stored per message: a pending message whose chunk is being sent counts as sending.
    """

    PENDING = 0
    ACCEPTED = 1
    SCHEDULED = 2
    REJECTED = 3
    UNKNOWN = 4
    DELIVERED = 5
    UNDELIVERED = 6
    NO_REPORT = 7
    CANCELLED = 8
    SUPPRESSED = 9


FINAL_STATES = frozenset(
    {
        MessageState.REJECTED,
        MessageState.DELIVERED,
        MessageState.UNDELIVERED,
        MessageState.CANCELLED,
        MessageState.SUPPRESSED,
    }
)
"""States that no later report changes. ``no_report`` is not among them: a late report is still news."""

UNREPORTED_STATES = (MessageState.ACCEPTED, MessageState.SCHEDULED)
"""States in which the provider has taken the message and nothing is reported yet: what a receipt of success says."""

TAKEN_STATES = (*UNREPORTED_STATES, MessageState.DELIVERED, MessageState.UNDELIVERED, MessageState.NO_REPORT)
"""States in which the provider has taken the message: it is paid for, and the provider lists it."""

MAY_BE_TAKEN_STATES = (*TAKEN_STATES, MessageState.UNKNOWN)
"""States in which the provider has taken the message, or may have: for money and repeats these count as taken."""

LEFT_STATES = tuple(state for state in TAKEN_STATES if state != MessageState.SCHEDULED)
"""States in which the message has left the provider, or leaves now: it cannot be withdrawn."""

REPORTABLE_STATES = tuple(state for state in TAKEN_STATES if state not in FINAL_STATES)
"""States of a taken message that a report may still change."""

UNSETTLED_STATES = (MessageState.PENDING, MessageState.UNKNOWN)
"""States in which nobody has said what became of the message: it was not sent yet, or its answer is missing."""


class ChunkState(enum.IntEnum):
    """Where one request's worth of recipients stands. Stored: never renumber, only append."""

    PENDING = 0
    SENDING = 1
    DONE = 2
    UNKNOWN = 3


class Scope(enum.IntEnum):
    """Which messages somebody must not get. Stored: never renumber. Who respects one scope respects the higher ones, too."""

    MARKETING = 0
    ALL = 1


class WaitsFor(enum.StrEnum):
    """What a delivery waits for until a moment, without a process that waits. Stored: never rename."""

    LAST_LOOK = "last_look"
    HOURS = "hours"
    CANARY = "canary"


class ProofOutcome(enum.StrEnum):
    """What became of a proof. Stored: never rename."""

    SENDING = "sending"
    TAKEN = "taken"
    REFUSED = "refused"
    NOT_TAKEN = "not_taken"
    UNKNOWN = "unknown"


class Kind(enum.IntEnum):
    """What a ledger entry delivers. Stored: never renumber."""

    CAMPAIGN = 0
    EVENT = 1

    @property
    def command(self) -> str:
        """The group of commands that looks after it: ``posthorn tickets``."""
        return "posthorn tickets" if self is Kind.EVENT else "posthorn campaign"

    @property
    def noun(self) -> str:
        """What it is called, with its article."""
        return "an event" if self is Kind.EVENT else "a campaign"

    @property
    def item(self) -> str:
        """What one recipient's copy is called."""
        return "ticket" if self is Kind.EVENT else "message"


TOTALS = (
    "input",
    "invalid",
    "duplicate",
    "suppressed",
    "pending",
    "sending",
    "accepted",
    "scheduled",
    "rejected",
    "unknown",
    "delivered",
    "undelivered",
    "no_report",
    "cancelled",
)
"""Every key of ``status --json``'s ``totals``, in the order they are shown."""


def taken_of(totals: Mapping[str, int]) -> int:
    """How many messages of these totals the provider took: each of them is paid for."""
    return sum(totals[state.name.lower()] for state in TAKEN_STATES)


@dataclass(frozen=True, slots=True)
class Media:
    """One media item of a campaign, as checked on disk or named by URL.

    ``source`` is the path or URL as written in the campaign file. ``sha256``, ``size`` (bytes) and ``path`` are None for a
    URL, which the provider fetches itself.
    """

    source: str
    name: str
    content_type: str
    path: str | None = None
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as the provider lists it. ``date`` is the provider's own text, in its own zone."""

    id: str
    name: str
    size: int | None
    type: str
    date: str


@dataclass(frozen=True, slots=True)
class MmsRequest:
    """One send: the same MMS to ``phones`` (unique within the request)."""

    title: str
    phones: Sequence[Phone]
    file_ids: Sequence[str] = ()
    text: str | None = None
    send_at: datetime | None = None
    test: bool = False


@dataclass(frozen=True, slots=True)
class TicketRequest:
    """One ticket: the stored MMS ``mms_id`` with ``barcode_id`` drawn into it, to ``phone``.

    ``extras`` holds the provider's optional parameters by the names of the event file.
    """

    mms_id: str
    phone: Phone
    sender: str
    barcode_id: str
    campaign_ref: str | None = None
    extras: dict[str, object] = field(default_factory=dict)


class Receipt(NamedTuple):
    """What the provider said about one recipient of a send. A tuple, because there are millions.

    ``state`` is one of ACCEPTED, SCHEDULED, REJECTED (final refusal, ``error`` says why), PENDING (surely not taken, may be
    sent later: the account's credit ran out midway) or UNKNOWN (not mentioned, or contradictory).
    """

    state: MessageState
    provider_id: str | None = None
    error: str | None = None


class AllTaken(Sequence[Receipt]):
    """The receipts of the usual answer: everybody's message was taken in one state, each under an id.

    A receipt is made only when somebody looks at it: to make millions, and to look through them, takes its time.
    """

    __slots__ = ("ids", "state")

    def __init__(self, state: MessageState, ids: Sequence[str]) -> None:
        self.state = state
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, place: int) -> Receipt: ...
    @overload
    def __getitem__(self, place: slice) -> AllTaken: ...
    def __getitem__(self, place: int | slice) -> Receipt | AllTaken:
        if isinstance(place, slice):
            return AllTaken(self.state, self.ids[place])
        return Receipt(self.state, self.ids[place])

    def __iter__(self) -> Iterator[Receipt]:
        return (Receipt(self.state, provider_id) for provider_id in self.ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answered send: one receipt per phone of the request, in the request's order.

    ``stop`` is set when an item's refusal concerns the whole run (credit ran out midway). ``anomalies`` says what the answer
    held that it should not (an unknown phone, one phone twice), with masked numbers. ``raw`` is the answer's body.
    ``surplus`` are further messages that it says were taken for a recipient who has one: the place of its receipt, the id.
    """

    receipts: Sequence[Receipt]
    stop: GatewayError | None = None
    anomalies: Sequence[str] = ()
    raw: bytes = b""
    surplus: Sequence[tuple[int, str]] = ()

    @property
    def states(self) -> set[MessageState]:
        """The states of its receipts."""
        receipts = self.receipts
        return {receipts.state} if isinstance(receipts, AllTaken) else {receipt.state for receipt in receipts}


class Report(NamedTuple):
    """What the provider later says about one message.

    ``state`` is ours; ``status`` and ``reason`` are the provider's words; times are aware datetimes or None.
    """

    provider_id: str
    state: MessageState
    status: str
    phone: Phone | None = None
    title: str | None = None
    reason: str | None = None
    queued_at: datetime | None = None
    sent_at: datetime | None = None
    delivered_at: datetime | None = None
    file_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportPage:
    """One page of reports. ``pages`` is how many pages the whole answer has, ``page`` counts from 1.

    ``passed_over`` is how many entries of the page are not reports because they carry no id.
    """

    reports: Sequence[Report]
    page: int = 1
    pages: int = 1
    passed_over: int = 0


@dataclass(frozen=True, slots=True)
class Credit:
    """What the account may still send. ``left`` is None if the provider sets no limit."""

    left: int | None
    available: bool = True


@dataclass(frozen=True, slots=True)
class AccountLimit:
    """What an account may still send of one kind of message; ``length`` is the provider's text about one (``40/1``)."""

    type: str
    length: str
    credit: Credit


@dataclass(frozen=True, slots=True)
class BlacklistPage:
    """One page of the numbers that the provider never sends to for this account: number (None where unreadable), since."""

    entries: Sequence[tuple[Phone | None, datetime | None]]
    page: int = 1
    pages: int = 1


@dataclass(frozen=True, slots=True)
class CodeWords:
    """The provider's own words about one of its error codes."""

    code: str
    type: str
    message: str


class Known(enum.StrEnum):
    """What was found out about an account and is used by the program. Stored in the ledger: never rename."""

    UPLOAD = "upload"
    """The encoding of an upload that the provider was seen to understand."""

    LISTS_FILES = "lists_files"
    """``yes`` if its list was ever seen to show a file of ours."""

    CLOCK = "clock"
    """How many seconds the provider's dates of messages are ahead, read in the zone of the settings."""

    FILE_CLOCK = "file_clock"
    """The same for its dates of files, if its own clock agrees; empty if only the zone of the dates can be the cause."""

    HOLD = "hold"
    """Whether it keeps a message until a moment, lists it meanwhile, and takes it back."""

    TEST_FREE = "test_free"
    """Whether a send that should only be checked sends nothing."""

    TEST_PROVES = "test_proves"
    """``yes`` if a send with a missing file is refused although it is only checked."""


class Verdict(enum.StrEnum):
    """The result of a look at something that we rely on. Stored in the ledger: never rename."""

    CONFIRMED = "confirmed"
    OTHER = "other"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing that we rely on, where it comes from, and what was seen of it. ``value`` is what the program uses."""

    subject: str
    relies: str
    source: str
    verdict: Verdict
    seen: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class News:
    """One piece of pushed news about the message that the provider calls ``provider_id``.

    ``state`` is None if it only says that there is news: then the provider is asked about the message soon. ``happened_at``
    is when it happened by the provider's clock. ``gateway`` is the gateway whose push route it came by. None: not told.
    """

    provider_id: str
    state: MessageState | None
    phone: Phone | None = None
    mms_id: str | None = None
    reason: str | None = None
    delivered_at: datetime | None = None
    happened_at: datetime | None = None
    gateway: str | None = None


@dataclass(frozen=True, slots=True)
class OptOut:
    """One number that must not be messaged. ``source`` is one of ``OPT_OUT_SOURCES``; ``why`` is for people.

    ``happened_at`` is when the person, or the provider, said so; None means just now. ``gateway`` is who told us.
    """

    phone: Phone
    scope: Scope
    source: str
    why: str = ""
    happened_at: datetime | None = None
    gateway: str | None = None


OPT_OUT_SOURCES: Mapping[str, str] = {
    "person": "somebody here put the number on the suppression list",
    "file": "a file put the number on the suppression list",
    "blacklist": "the number is on the provider's blacklist",
    "refusal": "the provider refused an earlier message: the number is blacklisted",
    "reply": "the number answered with a stop word",
    "unsubscribed": "the number was unsubscribed at the provider",
}
"""Who can say that a number must not be messaged, and what that means in words."""

OPT_OUT = "opt-out:"
TOO_OFTEN = "too often"
REPEATED = "repeated"
SUPPRESSED_CODES: Mapping[str, str] = {
    **{f"{OPT_OUT}{source}": words for source, words in OPT_OUT_SOURCES.items()},
    REPEATED: "the number has had the same message lately under another name, and on_repeat says to skip it",
    TOO_OFTEN: "other campaigns have written to the number as often as POSTHORN_FREQUENCY_CAP allows",
}
"""What a suppressed message carries as its ``error``: our own codes, with their meaning in words."""

ID_BOUND = "id bound already"
OUR_CODES: Mapping[str, str] = {
    **SUPPRESSED_CODES,
    ID_BOUND: "the provider answered with an id that another message has already",
}
"""Every code of our own that a message carries as its ``error``."""

NO_LIMIT = sys.maxsize
"""A bound that its provider does not set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a gateway's requests may hold.

    ``numbers_advised`` is the span that its provider recommends, ``ids_per_report`` and ``numbers_per_lookup`` how many ids
    or numbers one question about messages may name.
    """

    title_characters: int = NO_LIMIT
    files_per_message: int = NO_LIMIT
    numbers_per_request: int = NO_LIMIT
    numbers_advised: tuple[int, int] = (1, NO_LIMIT)
    ids_per_report: int = 100
    numbers_per_lookup: int = 100


# Country calling codes of two digits (ITU E.164 list); 1 and 7 have one digit, all others three.
_TWO_DIGIT_CODES = frozenset(
    (20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57, 58)
    + (60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98)
)


PROVIDER_SKEW_SECONDS = 900.0
"""How far a provider's clock and ours may be apart. Its dates carry no zone, so comparisons are generous."""


def mms_number(mms_id: str) -> str:
    """The number of a stored MMS without the zeros in front: ``035674`` and ``35674`` are one template."""
    return mms_id.strip().lstrip("0")


def mask_phone(phone: Phone | int) -> str:
    """A number as it may be shown: ``+48 *** *** 200``, country code and last three digits only."""
    digits = str(int(phone))
    code_length = 1 if digits[0] in "17" else 2 if int(digits[:2]) in _TWO_DIGIT_CODES else 3
    code = digits[:code_length]
    return f"+{code} *** *** {digits[-3:]}" if len(digits) > len(code) + 3 else "***"


_FEWEST_COMMON_DIGITS = 7


def may_be_same_number(one: Phone | int, other: Phone | int) -> bool:
    """Whether two numbers may be the same one, with and without its country code: the longer ends with the shorter."""
    if one == other:  # nearly always, and there may be a million
        return True
    shorter, longer = sorted((str(int(one)), str(int(other))), key=len)
    return longer == shorter or (len(shorter) >= _FEWEST_COMMON_DIGITS and longer.endswith(shorter))
