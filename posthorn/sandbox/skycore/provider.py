"""Skycore as the server sees it: request to action, key, limits, dispatch, and the data for readers of the truth.

Answers are HTTP 200 with a ``RESPONSE``, refusals too: Skycore documents no HTTP statuses, so others come from faults only.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from posthorn.sandbox.clock import SandboxClock
from posthorn.sandbox.faults import FaultRule
from posthorn.sandbox.skycore import calls
from posthorn.sandbox.skycore.account import Account
from posthorn.sandbox.skycore.answers import Answers, Fields
from posthorn.sandbox.skycore.errors import ApiError
from posthorn.sandbox.skycore.options import SkycoreOptions
from posthorn.sandbox.skycore.params import Params, read_params
from posthorn.sandbox.skycore.postbacks import Postbacks
from posthorn.sandbox.skycore.sending import send
from posthorn.sandbox.skycore.statistics import Reports
from posthorn.sandbox.wire import Received, Reply, page

SEND = "sendMMSBarcode"
PREFIX = "/API/wxml/1.3/"
_ENTRIES = (PREFIX, PREFIX + "index.php")
_REPORTS = PREFIX + "reports/"
_CALLS: dict[str, Callable[[Account, Params], Fields]] = {
    "getMmsIds": calls.mms_ids,
    "getMmsCampaigns": calls.mms_campaigns,
    "subscribe": calls.subscribe,
    "unsubscribe": calls.unsubscribe,
}
# The page about statistics is named one way, and its samples are spelt the other.
_STATISTICS = ("getSendingStatus", "getSendingStatistics")
_SUBSCRIPTION_CODES = {"subscribe": "N301", "unsubscribe": "N302"}
# Action names are compared without case (the pages and the SDK mix it).
_NAMES = {name.lower(): name for name in (SEND, *_CALLS, *_STATISTICS)}


class Skycore:
    """The sandbox's provider for barcode tickets."""

    name = "skycore"
    prefix = PREFIX
    send_calls = frozenset({SEND})

    def __init__(self, options: SkycoreOptions, clock: SandboxClock) -> None:
        self.account = Account(options, clock)
        self.postbacks = Postbacks(self.account)
        self._reports = Reports(self.account)
        self._answers = Answers(seed=options.seed)

    @property
    def options(self) -> SkycoreOptions:
        """The options that are in force now."""
        return self.account.options

    def variables(self, url: str) -> Mapping[str, str]:
        """Environment variables that make Posthorn use the sandbox."""
        return {
            "POSTHORN_SKYCORE__BASE_URL": f"{url}{PREFIX}index.php",
            "POSTHORN_SKYCORE__API_KEY": self.options.api_key,
        }

    def call_of(self, received: Received) -> str:
        """The action as its page spells it; ``unknown`` for any other action and for a request that cannot be read."""
        try:
            return _NAMES.get(read_params(received).get("action", "").lower(), "unknown")
        except ApiError:
            return "unknown"

    async def start(self) -> None:
        """Start sending postbacks, if there is a URL for them."""
        await self.postbacks.start()

    async def stop(self) -> None:
        """Stop sending postbacks."""
        await self.postbacks.stop()

    async def answer(self, received: Received, rule: FaultRule | None) -> Reply:
        """Answer the request, or do what the rule makes of it."""
        if received.path not in _ENTRIES:
            return self._reports.fetch(received.path.removeprefix(_REPORTS)) or page(404)
        params: Params = {}
        try:
            params = read_params(received)
            _refuse(rule, "error_code")
            fields = self._done(received, params, rule)
            _refuse(rule, "error_code_after")
        except ApiError as error:
            return self._answers.failure(error, params.get("to"), vary=self.options.vary)
        if rule is not None and rule.fault == "success_without_trackingid":
            fields = [(name, value) for name, value in fields if name != "TRACKINGID"]
        return self._answers.success(fields, vary=self.options.vary)

    def _done(self, received: Received, params: Params, rule: FaultRule | None) -> Fields:
        call = _NAMES.get(params.get("action", "").lower())
        if call is None:
            raise ApiError("E101")
        self._authenticate(params)
        if call in self.options.denied_actions:
            raise ApiError("E107")
        self.account.admit()
        if call == SEND:
            return self._send(params, received.number, keep=rule is None or rule.fault != "lie_queued")
        if call in _STATISTICS:
            return self._reports.order(params, f"http://{received.headers.get('Host', '')}{_REPORTS}")
        fields = _CALLS[call](self.account, params)
        if code := _SUBSCRIPTION_CODES.get(call):
            self.postbacks.tell_subscription(code, params["campaignid"], params["mobile"])
        return fields

    def _send(self, params: Params, request: int, *, keep: bool) -> Fields:
        """Take a ticket and queue its postbacks; with ``keep`` False only answer that it was taken."""
        fields, ticket = send(self.account, params, request)
        if keep:
            self.account.tickets.store(ticket)
            self.postbacks.tell(ticket)
        return fields

    def _authenticate(self, params: Params) -> None:
        key = params.get("api_key")
        if not key:
            raise ApiError("E102")
        if not hmac.compare_digest(key.encode(), self.options.api_key.encode()):
            raise ApiError("E104")

    # For the readers of the truth.

    def reset(self) -> None:
        """Forget everything."""
        self.account.reset()
        self.postbacks.reset()
        self._reports.reset()

    def truth(self) -> dict[str, int]:
        """Counts of what was taken."""
        return self.account.tickets.totals()

    def counts(self, title: str | None) -> Mapping[str, int]:
        """How many tickets were taken per ``<number> <barcode>``; of one stored MMS if ``title`` is its id."""
        return self.account.tickets.counts(title)

    def listed(self, phone: str | None, title: str | None, start: int, length: int) -> list[dict[str, Any]]:
        """Tickets to a number, or of the stored MMS whose id is ``title``, oldest first."""
        return self.tickets({"to": phone, "mms_id": title}, start, length)

    def tickets(self, query: Mapping[str, str | None], start: int, length: int) -> list[dict[str, Any]]:
        """Tickets by ``to``, ``barcode`` and ``mms_id``, oldest first."""
        # A query string easily loses the plus of a number.
        to = (query.get("to") or "").strip().removeprefix("+") or None
        told = self.account.tickets.told(to, query.get("barcode"), query.get("mms_id"))
        return list(islice(told, start, start + length))

    def barcode(self, tracking_id: str) -> bytes | None:
        """The image of a ticket's barcode as PNG, drawn as the handset would get it; None if no such ticket was taken.

        Raises:
            InputError: the symbology cannot hold the value.
        """
        from posthorn.content.media.barcode import render  # the imaging libraries take a while to load

        ticket = self.account.tickets.by_tracking_id(tracking_id)
        return None if ticket is None else render(ticket.barcode, symbology=self.options.symbology)

    def described(self, received: Received) -> object:
        """The parameters without credentials, for the log of requests."""
        try:
            params = read_params(received)
        except ApiError as error:
            return {"unreadable": len(received.body), "code": error.code}
        return {name: value for name, value in params.items() if name not in ("api_key", "pass")}


def _refuse(rule: FaultRule | None, fault: str) -> None:
    """Refuse the request, if the rule is this fault; with E503 unless it names a code."""
    if rule is not None and rule.fault == fault:
        raise ApiError(f"E{rule.number or 503}")
