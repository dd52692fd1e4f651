"""SerwerSMS as the server sees it: path to call, credentials, dispatch, and the data for readers of the truth.

API errors are HTTP 200 with an ``error`` object, as the official clients expect; other HTTP statuses come from faults only.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, get_args

from posthorn.sandbox.clock import SandboxClock
from posthorn.sandbox.faults import FaultRule
from posthorn.sandbox.serwersms import files, numbers, reports
from posthorn.sandbox.serwersms.account import Account, normalised
from posthorn.sandbox.serwersms.answers import Document, distorted, error_reply, reply
from posthorn.sandbox.serwersms.callbacks import Callbacks
from posthorn.sandbox.serwersms.errors import ERRORS, ApiError
from posthorn.sandbox.serwersms.messages import Ref
from posthorn.sandbox.serwersms.options import CreditMode, SerwerSmsOptions
from posthorn.sandbox.serwersms.params import Params, read_params
from posthorn.sandbox.serwersms.sending import CutShort, send_mms
from posthorn.sandbox.wire import Received, Reply, Upload, page

SEND = "messages/send_mms"
DELETE = "messages/delete"
REPORTS = "messages/reports"
_CALLS: dict[str, Callable[[Account, Params], Awaitable[Document]]] = {
    "files/add": files.add,
    "files/index": files.index,
    "files/view": files.view,
    "files/delete": files.delete,
    "messages/view": reports.view,
    "messages/recived": numbers.received,
    "messages/received": numbers.received,
    "messages/send_nd": numbers.not_sent,
    "messages/send_ndi": numbers.not_sent,
    "stats/index": reports.stats,
    "account/limits": numbers.limits,
    "account/help": numbers.account_help,
    "account/messages": numbers.account_messages,
    "blacklist/add": numbers.blacklist_add,
    "blacklist/check": numbers.blacklist_check,
    "blacklist/index": numbers.blacklist_index,
    "blacklist/delete": numbers.blacklist_delete,
    "phones/test": numbers.phone_test,
}
_SECRETS = ("password", "username")
# Calls that an MMS account may not make: the code of each call, and of every call of a controller.
_DENIED: dict[str, int] = {
    "messages/send_sms": 3009,
    "messages/send_personalized": 3107,
    "messages/send_voice": 3007,
    "account/add": 1005,
    "phones/check": 4102,
    "subaccounts": 4500,
    "groups": 1005,
    "contacts": 1005,
    "senders": 1005,
    "templates": 1005,
    "payments": 1005,
    "premium": 1005,
}


@lru_cache(maxsize=256)
def _split(path: str) -> tuple[str, str]:
    """Call and suffix: ``/messages/send_mms.json`` is ``messages/send_mms`` and ``json``."""
    action = path.strip("/")
    for suffix in ("json", "xml"):
        if action.endswith("." + suffix):
            return action.removesuffix("." + suffix), suffix
    return action, ""


class SerwerSms:
    """The sandbox's provider for campaigns."""

    name = "serwersms"
    prefix = "/"
    send_calls = frozenset({SEND})

    def __init__(self, options: SerwerSmsOptions, clock: SandboxClock) -> None:
        self.options = options
        self.account = Account(options, clock)
        self.callbacks = Callbacks(self.account)

    def variables(self, url: str) -> Mapping[str, str]:
        """Environment variables that make Posthorn use the sandbox."""
        return {"POSTHORN_SERWERSMS__BASE_URL": url, "POSTHORN_SERWERSMS__TOKEN": self.options.token}

    def call_of(self, received: Received) -> str:
        """The name of a request in faults and the truth: its path without the suffix."""
        return _split(received.path)[0]

    async def start(self) -> None:
        """Start calling back, if there is a URL for it."""
        await self.callbacks.start()

    async def stop(self) -> None:
        """Stop calling back."""
        await self.callbacks.stop()

    async def answer(self, received: Received, rule: FaultRule | None) -> Reply:
        """Answer the request, or do what the rule makes of it."""
        call, suffix = _split(received.path)
        try:
            _refuse(rule, "error_code")
            document = await self._done(call, received, rule, as_json=suffix != "xml")
            _refuse(rule, "error_code_after")
        except ApiError as error:
            return error_reply(error, suffix)
        except CutShort as broken_off:
            return page(broken_off.status)
        return reply(distorted(document, rule), suffix)

    async def _done(self, call: str, received: Received, rule: FaultRule | None, *, as_json: bool) -> Document:
        controller, _, code = call.partition("/")
        if controller == "error" and code:
            raise ApiError(int(code) if code.isascii() and code.isdigit() and int(code) in ERRORS else 2002)
        denied = _DENIED.get(call) or _DENIED.get(controller)
        if received.method != "POST" or (call not in (SEND, REPORTS, DELETE, *_CALLS) and denied is None):
            raise ApiError(1000)
        params = read_params(received)
        self._authenticate(received.headers.get("Authorization"), params)
        if denied is not None:
            raise ApiError(denied)
        if call == SEND:
            return await send_mms(self.account, params, rule, as_json=as_json)
        if call == DELETE:
            return await reports.delete(self.account, params, rule)
        if call == REPORTS:
            if rule is not None and rule.fault == "unfiltered":
                params = Params({name: value for name, value in params.values.items() if name not in ("id", "phone")})
            return await reports.reports(self.account, params, rule)
        return await _CALLS[call](self.account, params)

    def _authenticate(self, header: str | None, params: Params) -> None:
        """Bearer token, or username and password in the body (authorisation page)."""
        options = self.options
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() == "bearer":
            if token.strip() == options.expired_token:
                raise ApiError(1011)
            if not _equal(token.strip(), options.token):
                raise ApiError(1012)
            return
        if not (_equal(params.text("username"), options.username) and _equal(params.text("password"), options.password)):
            raise ApiError(1001)

    # For the readers of the truth.

    def reset(self) -> None:
        """Forget everything."""
        self.account.reset()
        self.callbacks.reset()

    def truth(self) -> dict[str, int]:
        """Counts of what was taken."""
        return self.account.messages.totals()

    def counts(self, title: str | None) -> Mapping[str, int]:
        """How many messages were taken per number."""
        return self.account.messages.counts(title)

    def listed(self, phone: str | None, title: str | None, start: int, length: int) -> list[dict[str, Any]]:
        """Messages with their status, oldest first, including refused ones."""
        messages = self.account.messages
        if phone is not None:
            # A query string easily loses the plus of a number.
            bare = phone.strip().removeprefix("+")
            known = normalised(bare) or normalised("+" + bare) or phone
            refs: Iterator[Ref] = messages.by_phone(known)
        else:
            refs = ((batch, position) for batch, positions in messages.runs() for position in positions)
        matching = (ref for ref in refs if title is None or ref[0].title == title)
        age = self.account.clock.age()
        return [self._told(ref, age) for ref in islice(matching, start, start + length)]

    def _told(self, ref: Ref, age: float) -> dict[str, Any]:
        batch, position = ref
        standing = self.account.messages.standing(batch, position, age)
        return {
            "id": batch.id_of(position),
            "phone": batch.phones[position],
            "title": batch.title,
            "accepted": position not in batch.refused,
            "error_code": batch.refused.get(position),
            "status": standing.status,
            "reason": standing.reason,
            "queued": self.account.stamp(batch.queued),
            "dispatched_at": self.account.stamp(batch.send_at),
            "file_ids": list(batch.file_ids),
            "send": batch.number,
        }

    def set_credit(self, mms: int | None, mode: str | None) -> None:
        """Set the limit.

        Raises:
            ValueError: an unknown mode.
        """
        modes: tuple[CreditMode, ...] = get_args(CreditMode)
        chosen = next((known for known in modes if known == mode), None)
        if mode is not None and chosen is None:
            raise ValueError(f"mode: expected one of {', '.join(modes)}")
        self.account.credit = mms
        self.account.credit_mode = chosen or self.account.credit_mode

    def described(self, received: Received) -> object:
        """The parsed body without credentials, for the log of requests."""
        try:
            values = read_params(received).values
        except ApiError:
            return {"unreadable": len(received.body)}
        return {name: _trimmed(value) for name, value in values.items() if name not in _SECRETS}


def _refuse(rule: FaultRule | None, fault: str) -> None:
    """Refuse the whole request, if the rule is this fault; with 1010 unless it names a code."""
    if rule is not None and rule.fault == fault:
        raise ApiError(rule.number or 1010)


def _trimmed(value: object) -> object:
    if isinstance(value, Upload):
        return {"name": value.name, "content_type": value.content_type, "size": len(value.content)}
    if isinstance(value, bytes):
        return {"size": len(value)}
    if isinstance(value, list):
        more = [f"and {len(value) - 1000} more"] if len(value) > 1000 else []
        return [*map(_trimmed, value[:1000]), *more]
    return value


def _equal(given: str | None, expected: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), expected.encode())
