"""Skycore, wxml API 1.3: sends barcode tickets. One call sends one ticket, once; nothing here retries.

The provider has no idempotency, no lookup and no cancel (reference, section 3), so anything but a clear answer to a send is
``OutcomeUnknown``. Sources: the sendMMSBarcode page, and for the optional parameters its later revisions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NoReturn

import httpx

from posthorn.errors import GatewayError, InputError, OutcomeUnknown, RecipientRefused, RequestRefused, TryAgain
from posthorn.gateways.closing import Closing
from posthorn.gateways.http import Before, HttpAnswer, HttpClients, Tap, Trace, refusal
from posthorn.gateways.skycore import answers, codes, requests
from posthorn.models import Answer, MessageState, Receipt, TicketRequest
from posthorn.settings import SettingsError, SkycoreSettings

TEMPLATES = ("getMmsIds", ("MMSIDS", "MMSID"))
CAMPAIGNS = ("getMmsCampaigns", ("ID", "CAMPAIGNID", "CAMPAIGNREF"))
"""An action that lists what the account has, and the tags that the revisions of the pages use for it."""

_API_KEY = "POSTHORN_SKYCORE__API_KEY"
_KEEPALIVE_SECONDS = 0.25  # one ticket per request: a kept connection pays off, well before a server may drop it
_RAW_XML = {"Content-Type": "text/xml; charset=utf-8"}  # as the vendor's latest introduction has it
_MAX_URL_LENGTH = 8000  # Apache refuses request lines of more than 8190 bytes, with a status that proves nothing


class Skycore(Closing):
    """The ticket gateway. Use as ``async with``, or call ``aclose``; one per process, shared by all tasks of a loop.

    ``transport`` replaces the network in tests, ``tap`` is told of every exchange.

    Raises:
        SettingsError: the API key is not set, or cannot stand in a request.
    """

    name = "skycore"

    def __init__(
        self,
        settings: SkycoreSettings,
        *,
        proxy: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        tap: Tap | None = None,
    ) -> None:
        self._api_key = _checked_key(settings)
        self._base_url = settings.base_url
        self._transport = settings.transport
        self._http = HttpClients(
            codes.WHO,
            concurrency=settings.concurrency,
            timeout_seconds=settings.timeout_seconds,
            keepalive_seconds=_KEEPALIVE_SECONDS,
            proxy=proxy,
            transport=transport,
            tap=tap,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def preflight(self, mms_id: str, campaign_ref: str | None) -> Sequence[str]:
        """Ask getMmsIds and, with a campaign, getMmsCampaigns: are the template and the campaign the account's own?

        Returns a warning for each that cannot be looked up because the account lacks the action. No call tells whether a
        template holds a barcode object: only the first ticket does (E633).

        Raises:
            RequestRefused: the account has no such template or campaign, or none at all (E200, E405).
            StopRun, TryAgain: as any call that sends nothing.
        """
        warnings = await self._look_up(*TEMPLATES, mms_id, "mms_id")
        if campaign_ref:
            warnings += await self._look_up(*CAMPAIGNS, campaign_ref, "campaign_ref")
        return warnings

    async def send(self, request: TicketRequest, *, trace: Trace | None = None, before: Before | None = None) -> Answer:
        """Call sendMMSBarcode for one ticket, once: an ``Answer`` with one receipt, accepted (not delivered) or rejected.

        ``request.extras`` may hold ``ddm_title``, ``ddm_text``, ``ddm_timeout`` (minutes), ``device``, ``custom_subject``,
        ``from_mask``, ``custom_texts`` ({slide: text}) and ``data`` ({FIELD: value}); none of them is sent by default.
        ``before`` is awaited right before the first byte is written; what it raises holds the request back.

        Raises:
            InputError: refused here, nothing was sent: a value is missing or cannot stand in XML.
            Unreachable, TryAgain, SlowDown, StopRun: surely not taken.
            OutcomeUnknown: it may have been taken.
        """
        trace = trace or Trace(before)
        told, http = await self._exchange("sendMMSBarcode", requests.ticket(request), repeatable=False, trace=trace)
        return _answer_of(told, request, http)

    async def listed(self, action: str, tags: Sequence[str]) -> Sequence[str]:
        """What an action lists under these tags, asked once.

        Raises:
            StopRun, TryAgain: as any call that sends nothing.
        """
        told, http = await self._exchange(action, requests.Parameters(), repeatable=True)
        if told.is_failure:
            raise codes.call_error(told.code, told.info, http.evidence())
        return [entry for tag in tags for text in told.values.get(tag, ()) for entry in _entries(tag, text)]

    async def _look_up(self, action: str, tags: Sequence[str], wanted: str, name: str) -> list[str]:
        told, http = await self._exchange(action, requests.Parameters(), repeatable=True)
        if told.is_failure:
            if told.code in codes.NO_SUCH_ACTION:
                return [f"{codes.WHO} does not offer {action} to this account ({told.code}): {name} {wanted} is not checked"]
            raise codes.call_error(told.code, told.info, http.evidence())
        listed = [entry for tag in tags for text in told.values.get(tag, ()) for entry in _entries(tag, text)]
        if not listed:
            return [f"{codes.WHO} answered {action} without a list: {name} {wanted} is not checked"]
        if wanted.strip() not in listed:
            raise RequestRefused(f"{name} {wanted} is not among those of the {codes.WHO} account", evidence=http.evidence())
        return []

    async def _exchange(
        self, action: str, parameters: requests.Parameters, *, repeatable: bool, trace: Trace | None = None
    ) -> tuple[answers.Told, HttpAnswer]:
        """One call: what was answered in XML, or the error for an answer that is none."""
        if self._transport != "get":
            method, url, document = "POST", self._base_url, requests.document(action, self._api_key, parameters)
            is_raw = self._transport == "raw"
            body: dict[str, Any] = {"content": document, "headers": _RAW_XML} if is_raw else {"data": {"xml": document}}
        else:
            method, url, body = "GET", f"{self._base_url}?{requests.query(action, self._api_key, parameters)}", {}
            if len(url) > _MAX_URL_LENGTH:
                raise InputError(
                    "transport", f"the ticket's values are too long for a URL ({len(url)} characters); use post"
                )
        http = await self._http.exchange(method, url, repeatable=repeatable, trace=trace, **body)
        return _readable(http, repeatable=repeatable), http


def _checked_key(settings: SkycoreSettings) -> str:
    key = settings.api_key.get_secret_value().strip() if settings.api_key else ""
    if not key:
        raise SettingsError(f"{codes.WHO} needs {_API_KEY}, which is not set")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise SettingsError(f"{_API_KEY}: expected printable ASCII characters without spaces")
    return key


def _entries(tag: str, text: str) -> list[str]:
    """MMSIDS holds many numbers with commas between; a campaign's reference may be of several words."""
    return re.split(r"[\s,;]+", text) if tag == "MMSIDS" else [text]


def _readable(http: HttpAnswer, *, repeatable: bool) -> answers.Told:
    refused = refusal(codes.WHO, http, repeatable=repeatable)
    try:
        told = answers.read(http.body)
    except answers.Unreadable as why:
        _raise_unreadable(refused, why, http, repeatable=repeatable)
    if refused is None:
        return told
    if not repeatable and told.claims_success:
        raise OutcomeUnknown(
            f"{codes.WHO} answered HTTP {http.status} around a success; the ticket may have been sent",
            retry_after_seconds=refused.retry_after_seconds,
            evidence=http.evidence(),
            stops_run=refused.stops_run,
            slows_all=refused.slows_all,
        )
    if refused.stops_run and not refused.maybe_sent and told.code:
        return told  # the provider's code says more than the status of its envelope
    raise refused


def _raise_unreadable(refused: GatewayError | None, why: Exception, http: HttpAnswer, *, repeatable: bool) -> NoReturn:
    if refused is not None:
        raise refused from None
    what = f"{codes.WHO} answered what is not a complete RESPONSE ({why})"
    if repeatable:
        raise TryAgain(what, evidence=http.evidence()) from None
    raise OutcomeUnknown(f"{what}; the ticket may have been sent", evidence=http.evidence()) from None


def _answer_of(told: answers.Told, request: TicketRequest, http: HttpAnswer) -> Answer:
    """What the answer to a send means. The provider echoes number and template: an echo of another ticket proves nothing."""
    if answers.names_another(told, request):
        _raise_contradiction("answered for another ticket", http)
    if told.is_failure:
        return _refused(told, http)
    if not told.is_success:
        _raise_contradiction("answered neither success nor failure", http)
    tracking_id = told.one("TRACKINGID")
    if tracking_id is None or len(tracking_id) > answers.MAX_ID_LENGTH or not tracking_id.isprintable():
        _raise_contradiction("answered success without one TRACKINGID", http)
    return Answer([Receipt(MessageState.ACCEPTED, provider_id=tracking_id)], raw=http.body)


def _refused(told: answers.Told, http: HttpAnswer) -> Answer:
    error = codes.send_error(told.code, told.info, http.evidence())
    if "TRACKINGID" in told.values:
        _raise_contradiction(f"refused the ticket ({told.code}) and gave a TRACKINGID", http, stops_run=error.stops_run)
    if isinstance(error, RecipientRefused):
        return Answer([Receipt(MessageState.REJECTED, error=error.code)], raw=http.body)
    raise error


def _raise_contradiction(what: str, http: HttpAnswer, *, stops_run: bool = False) -> NoReturn:
    message = f"{codes.WHO} {what}; the ticket may have been sent"
    raise OutcomeUnknown(message, evidence=http.evidence(), stops_run=stops_run)
