"""Skycore's error codes as a table: what each one means for a ticket and for the run. Decides, and does nothing else.

Codes and texts: Appendix B and the method pages of wxml 1.3 (reference, section 8); what follows from a code is ours. The
same letters in a postback mean other things: see ``postbacks``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from posthorn.errors import (
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

WHO = "Skycore"
MAX_WAIT_SECONDS = 3600.0


class Rule(NamedTuple):
    """One code. ``error`` is what a send with this code raises; ``RecipientRefused`` becomes a rejected receipt."""

    meaning: str
    error: type[GatewayError]


CODES: dict[str, Rule] = {
    # The request and the account
    "E100": Rule("the request was not understood", RequestRefused),
    "E101": Rule("the action is missing or not known", RequestRefused),
    "E102": Rule("the API key is missing", CredentialsRefused),
    "E103": Rule("the credentials are incomplete, or access is blocked", CredentialsRefused),
    "E104": Rule("the API key was refused", CredentialsRefused),
    "E105": Rule("the account has no API rights", PermissionMissing),
    "E106": Rule("calls follow each other too fast", SlowDown),
    "E107": Rule("the account may not use this action", PermissionMissing),
    "E108": Rule("the XML could not be read", RequestRefused),
    "E109": Rule("the API is not activated for this account", PermissionMissing),
    "E112": Rule("this machine's IP address is not allowed", CredentialsRefused),
    "E113": Rule("the throughput of this action is exceeded", SlowDown),
    "E120": Rule("the account has reached its request limit", SlowDown),
    "E503": Rule("an internal error", OutcomeUnknown),  # whether before or after the message was queued, nobody says
    "E713": Rule("there is a billing problem on the account", CreditExhausted),
    # The recipient
    "E110": Rule("the receiver number is invalid", RecipientRefused),
    "E114": Rule("the number is on a blacklist", RecipientRefused),
    "E619": Rule("the number's carrier is not provisioned", RecipientRefused),
    "E621": Rule("the receiver number is missing", RecipientRefused),
    "E628": Rule("the number's operator is not supported", RecipientRefused),
    "E631": Rule("the barcode id is missing", RecipientRefused),
    "E715": Rule("the number is not subscribed to this campaign", RecipientRefused),
    "E904": Rule("the number could not be subscribed", RecipientRefused),
    "E905": Rule("the number could not be unsubscribed", RecipientRefused),
    # The template, the shortcode, the campaign
    "E111": Rule("the shortcode (from) is invalid or missing", RequestRefused),
    "E200": Rule("the account has no MMS templates", RequestRefused),
    "E241": Rule("the stored MMS does not exist", RequestRefused),
    "E405": Rule("the account has no MMS campaigns", RequestRefused),
    "E620": Rule("the id of the stored MMS is missing", RequestRefused),
    "E625": Rule("the id of the stored MMS is invalid", RequestRefused),
    "E626": Rule("the stored MMS is still being encoded", SlowDown),  # so for every ticket: all wait, as for a busy account
    "E627": Rule("the service id is invalid or missing", RequestRefused),
    "E629": Rule("the stored MMS holds an unknown type of content", RequestRefused),
    "E630": Rule("the stored MMS is not tied to a barcode database", RequestRefused),
    "E632": Rule("the barcode database of the stored MMS is invalid", RequestRefused),
    "E633": Rule("the stored MMS holds no barcode object", RequestRefused),
    "E714": Rule("the campaign is missing or invalid", RequestRefused),
    # Calls this gateway does not make, or parameters it does not send: if one comes, something is wrong with all
    "E170": Rule("campaign: the name is missing", RequestRefused),
    "E171": Rule("campaign: the brand name is missing", RequestRefused),
    "E172": Rule("campaign: not created, an internal error", OutcomeUnknown),
    "E201": Rule("SMS: the receiver number is missing", RequestRefused),
    "E506": Rule("statistics: a date is missing", RequestRefused),
    "E507": Rule("statistics: a date has another format", RequestRefused),
    "E508": Rule("statistics: a date cannot be read", RequestRefused),
    "E509": Rule("statistics: the period is too long", RequestRefused),
    "E510": Rule("statistics are asked for too often", SlowDown),
    "E618": Rule("the carrier lookup failed", TryAgain),
    "E622": Rule("the fallback SMS text is missing", RequestRefused),
    "E623": Rule("there are more than 100 receiver numbers", RequestRefused),
    "E624": Rule("the campaign to send to is missing", RequestRefused),
    "E650": Rule("the operator id is missing", RequestRefused),
    "E651": Rule("the operator id is not known", RequestRefused),
    "E712": Rule("the text is missing", RequestRefused),
    "E901": Rule("subscription: the number is missing", RequestRefused),
    "E902": Rule("subscription: the campaign is missing", RequestRefused),
    "E903": Rule("subscription: the campaign is invalid", RequestRefused),
}

NO_SUCH_ACTION = frozenset({"E101", "E107"})
"""The codes by which an account says that it lacks an action, now that half of the API is deprecated."""

_UNHEARD_OF = Rule("an error this version does not know", OutcomeUnknown)
_SECONDS = re.compile(r"([0-9]{1,6}(?:[.,][0-9]{1,3})?)\s*s(?:ecs?|econds?)?\b", re.IGNORECASE)


def rule(code: str | None) -> Rule:
    """The rule for a code such as ``E713``; an unknown code has one too."""
    return CODES.get(code or "", _UNHEARD_OF)


def send_error(code: str | None, info: str, evidence: Evidence) -> GatewayError:
    """The error for a code that answers a send. ``info`` is the provider's text, read only for the seconds of E106."""
    known = rule(code)
    if known.error is OutcomeUnknown:
        message = f"{_said(code)}; the ticket may have been sent"
        return OutcomeUnknown(message, code=code, evidence=evidence, stops_run=known is _UNHEARD_OF)
    wait = asked_seconds(info) if code == "E106" else None
    return known.error(f"{_said(code)}; nothing was sent", code=code, retry_after_seconds=wait, evidence=evidence)


def call_error(code: str | None, info: str, evidence: Evidence) -> GatewayError:
    """The error for a code that answers a call which sends nothing; never ``maybe_sent``."""
    known = rule(code)
    if known.error is OutcomeUnknown:
        error: type[GatewayError] = RequestRefused if known is _UNHEARD_OF else TryAgain
        return error(_said(code), code=code, evidence=evidence)
    wait = asked_seconds(info) if code == "E106" else None
    return known.error(_said(code), code=code, retry_after_seconds=wait, evidence=evidence)


def asked_seconds(info: str) -> float | None:
    """The X of "You can call API every X seconds", at most an hour; None if the text has none."""
    found = _SECONDS.search(info)
    return min(float(found[1].replace(",", ".")), MAX_WAIT_SECONDS) if found else None


def _said(code: str | None) -> str:
    return f"{WHO} error {code or 'without a code'}: {rule(code).meaning}"
