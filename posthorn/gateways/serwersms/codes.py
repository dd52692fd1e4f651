"""SerwerSMS's vocabulary as tables: what each error code and each status word means for us. Decides, and does nothing else.

A code can come for a whole request (``error.code``) or for one recipient of a send (``error_code``); the same code may
prove less in the first place than in the second. Codes and texts: general-communications page and the vendor's Java tests
(reference, section 7). If a page says nothing about partly carried out requests, we assume that they exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from posthorn.errors import (
    AccountBlocked,
    CredentialsRefused,
    CreditExhausted,
    Evidence,
    GatewayError,
    OutcomeUnknown,
    PermissionMissing,
    RecipientRefused,
    RequestRefused,
    SlowDown,
    TryAgain,
)
from posthorn.models import MessageState

WHO = "SerwerSMS"
GATEWAY = "serwersms"

REJECTED = MessageState.REJECTED
PENDING = MessageState.PENDING
UNKNOWN = MessageState.UNKNOWN


class Rule(NamedTuple):
    """One code.

    ``error`` is raised if the request was surely not carried out, or did no harm if it was. ``proves_unsent``: for a
    whole send, it proves that nobody was messaged. ``item`` is the state of one recipient whom the provider calls ``unsent``
    with this code; PENDING and UNKNOWN also stop the run with ``error``.
    """

    meaning: str
    error: type[GatewayError]
    proves_unsent: bool = False
    item: MessageState = PENDING


SURELY = True

CODES: dict[int, Rule] = {
    1000: Rule("no such action", RequestRefused, SURELY),
    1001: Rule("wrong login or password", CredentialsRefused, SURELY),
    1002: Rule("the user may not use the API", PermissionMissing, SURELY),
    1003: Rule("this machine's IP address is not allowed", CredentialsRefused, SURELY),
    1004: Rule("invalid id", RequestRefused, SURELY),
    1005: Rule("no permission for this action", PermissionMissing, SURELY),
    1006: Rule("invalid data format", RequestRefused, SURELY),
    1007: Rule("the account is not fully active", AccountBlocked, SURELY),
    1008: Rule("the user may not see phone numbers", PermissionMissing, SURELY),
    1009: Rule("this machine's IP address is blocked", AccountBlocked, SURELY),
    1010: Rule("the system is temporarily unavailable", SlowDown),
    1011: Rule("the token has expired", CredentialsRefused, SURELY),
    1012: Rule("invalid token", CredentialsRefused, SURELY),
    2000: Rule("required parameters are missing", RequestRefused, SURELY),
    2001: Rule("invalid phone number", RequestRefused, SURELY, REJECTED),
    2002: Rule("no such error code", RequestRefused, SURELY),
    3000: Rule("the limit of SMS ECO+ is used up", CreditExhausted),
    3001: Rule("no permission for SMS ECO+", PermissionMissing),
    3002: Rule("the limit of SMS FULL is used up", CreditExhausted),
    3003: Rule("no permission for SMS FULL", PermissionMissing),
    3004: Rule("the limit of MMS is used up", CreditExhausted),  # maybe midway: part of the request may be queued
    3005: Rule("no permission to send MMS", PermissionMissing, SURELY),
    3006: Rule("the limit of VOICE is used up", CreditExhausted),
    3007: Rule("no permission for VOICE", PermissionMissing),
    3008: Rule("no permission for Flash SMS", PermissionMissing),
    3009: Rule("no permission to send", PermissionMissing, SURELY),
    3100: Rule("sending is blocked", AccountBlocked),
    3101: Rule("the message is empty", RequestRefused, SURELY),
    3102: Rule("the message is too long", RequestRefused, SURELY),
    3103: Rule("invalid recipient number", RecipientRefused, item=REJECTED),
    3104: Rule("no phone numbers", RequestRefused, SURELY),
    3105: Rule("invalid message content", RequestRefused, SURELY),
    3106: Rule("the sender name cannot be used", RequestRefused, SURELY),
    3107: Rule("no permission for personalised messages", PermissionMissing),
    3108: Rule("invalid time of dispatch", RequestRefused, SURELY),
    3109: Rule("invalid file", RequestRefused, SURELY),
    3110: Rule("too many messages in one request", RequestRefused, SURELY),
    3111: Rule("not unique", RequestRefused, item=UNKNOWN),  # perhaps because an earlier request was taken: look it up
    3200: Rule("invalid characters in unique_id", RequestRefused, SURELY),
    3201: Rule("unique_ids are not unique", RequestRefused, item=UNKNOWN),  # as 3111
    3202: Rule("the counts of messages and unique_ids differ", RequestRefused, SURELY),
    3330: Rule("no messages", RequestRefused),  # reports: an empty page
    3331: Rule("too many records to show", RequestRefused),  # reports: narrow the query
    4000: Rule("the file is too large", RequestRefused),
    4001: Rule("the file does not exist, or its URL could not be fetched", RequestRefused),
    4002: Rule("invalid file", RequestRefused),
    4100: Rule("HLR: connection error", TryAgain),
    4101: Rule("HLR: invalid number", RecipientRefused, item=REJECTED),
    4102: Rule("no permission for HLR", PermissionMissing),
    4103: Rule("the limit of HLR is used up", CreditExhausted),
    4104: Rule("the account is blocked", AccountBlocked),
    4105: Rule("HLR: waiting for the answer", TryAgain),
    4106: Rule("HLR: invalid identifier", RequestRefused),
    4200: Rule("Premium: sending failed", TryAgain),
    4201: Rule("Premium: invalid data", RequestRefused),
    4300: Rule("registration: login missing", RequestRefused),
    4301: Rule("registration: password missing", RequestRefused),
    4302: Rule("registration: phone missing", RequestRefused),
    4303: Rule("registration: e-mail missing", RequestRefused),
    4304: Rule("registration: first name missing", RequestRefused),
    4305: Rule("registration: last name missing", RequestRefused),
    4306: Rule("registration: company missing", RequestRefused),
    4307: Rule("registration: invalid number", RequestRefused),
    4308: Rule("registration: invalid e-mail", RequestRefused),
    4309: Rule("registration: login too short", RequestRefused),
    4310: Rule("registration: invalid login", RequestRefused),
    4311: Rule("registration: invalid company", RequestRefused),
    4312: Rule("registration: the login exists already", RequestRefused),
    4313: Rule("registration failed", RequestRefused),
    4320: Rule("account: current password missing", RequestRefused),
    4321: Rule("account: current password wrong", RequestRefused),
    4322: Rule("account: new password missing", RequestRefused),
    4323: Rule("account: the new passwords differ", RequestRefused),
    4324: Rule("account: login missing", RequestRefused),
    4325: Rule("account: invalid login", RequestRefused),
    4400: Rule("the sender exists already", RequestRefused),
    4401: Rule("a number cannot be a sender name", RequestRefused),
    4402: Rule("invalid sender name", RequestRefused),
    4403: Rule("sender: invalid number", RequestRefused),
    4404: Rule("sender: invalid code or number", RequestRefused),
    4405: Rule("sender: the number is active already", RequestRefused),
    4406: Rule("a demo account cannot create senders", PermissionMissing),
    4407: Rule("the free test package allows one sender", PermissionMissing),
    4500: Rule("no permission for users", PermissionMissing),
    4501: Rule("a subaccount cannot create subaccounts", PermissionMissing),
    4502: Rule("subaccount: the login is taken", RequestRefused),
    4503: Rule("subaccount: no permission template", RequestRefused),
    4504: Rule("subaccount: invalid login or password", RequestRefused),
    4600: Rule("blacklist: no operation given", RequestRefused),
    4601: Rule("blacklist: the number is on it already", RequestRefused),
    4602: Rule("blacklist: the number is not on it", RequestRefused),
}

_UNHEARD_OF = Rule("an error this version does not know", RequestRefused, item=UNKNOWN)

INVALID_ID = "1004"
FILE_NOT_SEEN = frozenset({"2000", "4001", "4002"})
"""The codes of files/add for a file in an encoding that it does not understand: no data, not found, no picture."""
NO_SUCH_FILE = frozenset({INVALID_ID, "4001"})
NO_MESSAGES = "3330"
TOO_MANY_RECORDS = "3331"
INVALID_RECIPIENT = "3103"

REPORT_STATES: dict[str, MessageState] = {
    "saved": MessageState.SCHEDULED,
    "in_progress": MessageState.ACCEPTED,
    "queued": MessageState.ACCEPTED,
    "pending": MessageState.ACCEPTED,
    "sent": MessageState.ACCEPTED,
    "delivered": MessageState.DELIVERED,
    "undelivered": MessageState.UNDELIVERED,
    "unsent": MessageState.REJECTED,
}
"""Status words of messages/reports and messages/view. A word not listed here counts as ACCEPTED: the provider has it."""


def rule(code: str | None) -> Rule:
    """The rule for a code, given as digits; an unknown code has one too."""
    return CODES.get(int(code), _UNHEARD_OF) if code else _UNHEARD_OF


def whole_send_error(code: str | None, evidence: Evidence) -> GatewayError:
    """The error for a top-level code that answers a send: refused as a whole, or unknown."""
    known = rule(code)
    if known.proves_unsent:
        return known.error(f"{_said(code)}; nothing was sent", code=code, evidence=evidence)
    pauses = issubclass(known.error, SlowDown)
    message = f"{_said(code)}; the request may have been carried out, at least in part"
    return OutcomeUnknown(message, code=code, evidence=evidence, stops_run=not pauses, slows_all=pauses)


def contradicted(refused: GatewayError, evidence: Evidence) -> OutcomeUnknown:
    """What a refusal of a send comes to where the same answer also speaks of messages that were taken: nobody knows."""
    return OutcomeUnknown(
        f"{WHO} refused the request and spoke of success in one answer; it may have been carried out",
        code=refused.code,
        retry_after_seconds=refused.retry_after_seconds,
        evidence=evidence,
        stops_run=refused.stops_run,
        slows_all=refused.slows_all,
    )


def call_error(code: str | None, evidence: Evidence) -> GatewayError:
    """The error for a top-level code that answers any other call; never ``maybe_sent``."""
    return rule(code).error(_said(code), code=code, evidence=evidence)


def item_outcome(code: str) -> tuple[MessageState, GatewayError | None]:
    """The state of one recipient called ``unsent`` with ``code``; with it the error to stop for, if it concerns everyone."""
    known = rule(code)
    said = f"{_said(code)} (said of single recipients)"
    if known.item is REJECTED:
        return REJECTED, None
    if known.item is UNKNOWN:
        return UNKNOWN, OutcomeUnknown(said, code=code, stops_run=True)
    return known.item, known.error(said, code=code)


def _said(code: str | None) -> str:
    return f"{WHO} error {code or 'without a code'}: {rule(code).meaning}"


REASONS: Mapping[str, str] = {
    "message_expired": "the phone was off or not reachable for too long",
    "wrong_number": "no such number",
    "unsupported_number": "the number or its phone takes no MMS",
    "message_rejected": "the operator or the phone refused it",
    "operator_error": "the operator failed",
    "limit_exhausted": "the account's limit was used up",
    "lock_send": "the account may not send at present",
    "wrong_message": "the provider could not use the message",
    "wrong_sender_name": "the sender's name is not allowed",
    "number_is_blacklisted": "the number is on the blacklist",
    "sending_to_foreign_networks_is_locked": "the account may not send abroad",
    "no_permission_to_send_messages": "the account may not send messages",
    "other_error": "the provider gives no reason",
}
"""Reasons of reports for what was not delivered, in words ("Reports" page and the vendor's clients)."""
