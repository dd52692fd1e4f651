"""How a call reaches SerwerSMS: address, credentials, body, and what an answer that says nothing means.

A call other than a send may be repeated without harm, so its lost answer is ``TryAgain``; a send's is ``OutcomeUnknown``.
No body is ever empty: the vendor's clients always send something, so nobody knows what an empty one would do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import httpx
import orjson

from posthorn.errors import GatewayError, OutcomeUnknown, TryAgain
from posthorn.gateways.closing import Closing
from posthorn.gateways.http import HttpAnswer, HttpClients, Tap, Trace, refusal
from posthorn.gateways.serwersms import answers, codes
from posthorn.gateways.serwersms.encodings import Body
from posthorn.settings import SerwerSmsSettings, SettingsError

ANSWER_BYTES = 256 * 1024
LISTING_BYTES = 8 * 1024 * 1024
"""Of a page of reports or of the blacklist, or of all files, which come in no pages."""

_KEEPALIVE_SECONDS = 0.1  # for requests that follow each other; well before a server may drop an idle connection
_TOKEN = "POSTHORN_SERWERSMS__TOKEN"  # noqa: S105 - a variable's name, not its value
_LOGIN = "POSTHORN_SERWERSMS__USERNAME with POSTHORN_SERWERSMS__PASSWORD"
_NOTHING_ELSE: Mapping[str, Any] = {"system": "posthorn"}
"""What a call without parameters says: the tag that the vendor's clients put into every body."""


class Connection(Closing):
    """Makes calls with the account's credentials. Use as ``async with``, or call ``aclose``.

    ``transport`` replaces the network in tests, ``tap`` is told of every exchange.

    Raises:
        SettingsError: neither token nor login is set, or one of them cannot stand in a request.
    """

    def __init__(
        self,
        settings: SerwerSmsSettings,
        *,
        proxy: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        tap: Tap | None = None,
    ) -> None:
        self._format = settings.response_format
        self._base_url = settings.base_url
        self._zone = ZoneInfo(settings.timezone)
        self._headers = {"Accept": f"application/{self._format}"}
        self._login: dict[str, str] = {}
        self._authenticate(settings)
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

    async def _call(
        self, action: str, parameters: dict[str, Any], *, body: Body | None = None, max_bytes: int = ANSWER_BYTES
    ) -> answers.Plain:
        """Any call that may be repeated; returns its answer, or raises the error that it carries."""
        data, http = await self._exchange(action, parameters, repeatable=True, body=body, max_bytes=max_bytes)
        failed, code = answers.error_code(data)
        if failed:
            raise codes.call_error(code, http.evidence())
        return data

    async def _exchange(
        self,
        action: str,
        parameters: dict[str, Any],
        *,
        repeatable: bool,
        trace: Trace | None = None,
        body: Body | None = None,
        max_bytes: int = ANSWER_BYTES,
    ) -> tuple[answers.Plain, HttpAnswer]:
        fields = {**self._login, **parameters} or {**_NOTHING_ELSE}
        headers, content = (body or _as_json)(fields)
        url = f"{self._base_url}/{action}.{self._format}"
        http = await self._http.exchange(
            "POST",
            url,
            repeatable=repeatable,
            trace=trace,
            max_bytes=max_bytes,
            headers={**self._headers, **headers},
            **content,
        )
        return self._readable(http, repeatable=repeatable), http

    def _authenticate(self, settings: SerwerSmsSettings) -> None:
        token = settings.token.get_secret_value().strip() if settings.token else ""
        if token:
            if not (token.isascii() and token.isprintable() and " " not in token):
                raise SettingsError(f"{_TOKEN}: expected printable ASCII characters without spaces")
            self._headers["Authorization"] = f"Bearer {token}"
        elif settings.has_credentials() and settings.username and settings.password:
            self._login = {"username": settings.username, "password": settings.password.get_secret_value()}
        else:
            raise SettingsError(f"SerwerSMS needs {_TOKEN} (recommended), or {_LOGIN}; neither is set")

    def _readable(self, http: HttpAnswer, *, repeatable: bool) -> answers.Plain:
        refused = refusal(codes.WHO, http, repeatable=repeatable)
        try:
            data = answers.read(http.body, self._format)
        except answers.Unreadable as why:
            self._raise_unreadable(refused, why, http, repeatable=repeatable)
        if refused is None:
            return data
        if not repeatable and answers.claims_taken(data):
            raise codes.contradicted(refused, http.evidence())
        surely_refused = refused.stops_run and not refused.maybe_sent
        if surely_refused and answers.error_code(data)[1]:
            return data  # the provider's code says more than the status of its envelope
        raise refused

    def _raise_unreadable(
        self, refused: GatewayError | None, why: Exception, http: HttpAnswer, *, repeatable: bool
    ) -> NoReturn:
        if refused is not None:
            raise refused from None
        what = f"{codes.WHO} answered what is not a complete {self._format.upper()} document ({why})"
        if repeatable:
            raise TryAgain(what, evidence=http.evidence()) from None
        raise OutcomeUnknown(f"{what}; the request may have been carried out", evidence=http.evidence()) from None


def _as_json(fields: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    return {"Content-Type": "application/json"}, {"content": orjson.dumps(fields)}
