"""SerwerSMS.pl, HTTPS API v2: sends campaigns. Every call the product needs, each made once; nothing here retries.

Sources: the sending-mms page, and what ``serwersms_codes`` and ``serwersms_answers`` name. A call other than a send may be
repeated without harm, so its lost answer is ``TryAgain``; a send's is ``OutcomeUnknown``. When a send is cancelled, nothing
is converted: the ledger's claim already says *sending*, and a ``Trace`` passed in says whether the request went out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, Self
from zoneinfo import ZoneInfo

import httpx
import orjson

from posthorn.errors import GatewayError, InputError, OutcomeUnknown, TryAgain
from posthorn.gateways.http import Before, HttpAnswer, HttpClients, Trace, refusal
from posthorn.gateways.serwersms import answers, codes, requests
from posthorn.gateways.serwersms.bounds import BOUNDS
from posthorn.models import Answer, Credit, Media, MessageState, MmsRequest, Phone, Receipt, Report, ReportPage, StoredFile
from posthorn.settings import SerwerSmsSettings, SettingsError

FileType = Literal["mms", "voice"]

_KEEPALIVE_SECONDS = 0.1  # for requests that follow each other; far from the time a server may drop an idle connection

_ANSWER_BYTES = 256 * 1024
_BYTES_PER_RECIPIENT = 1024  # an item has about 250, and 750 with a title of forty escaped emoji
_LISTING_BYTES = 8 * 1024 * 1024  # a page of reports or of the blacklist, or all files, which come in no pages
_MOST_PAGES = 10_000

_FILE_TYPES = ("mms", "voice")
_REPORT_TYPES = ("eco", "full", "voice", "mms")
_ORDERS = ("asc", "desc")
_TOKEN = "POSTHORN_SERWERSMS__TOKEN"  # noqa: S105 - a variable's name, not its value
_LOGIN = "POSTHORN_SERWERSMS__USERNAME with POSTHORN_SERWERSMS__PASSWORD"

_logger = logging.getLogger(__name__)


class SerwerSms:
    """The campaign gateway. Use as ``async with``, or call ``aclose``; one per process, shared by all tasks of a loop.

    ``transport`` replaces the network in tests.

    Raises:
        SettingsError: neither token nor login is set, or one of them cannot stand in a request.
    """

    name = "serwersms"

    def __init__(
        self, settings: SerwerSmsSettings, *, proxy: str | None = None, transport: httpx.AsyncBaseTransport | None = None
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
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # -- Files ------------------------------------------------------------------------------------------------------------

    async def upload(self, media: Media) -> str:
        """Store one file for MMS, from disk or by its URL, and return its id.

        Raises:
            InputError: the file cannot be read.
            GatewayError: as ``add_file``.
        """
        if media.path is None:
            return await self.add_file(url=media.source, name=media.name)
        return await self.add_file(path=media.path, filename=media.name, content_type=media.content_type)

    async def add_file(
        self,
        *,
        type: FileType = "mms",  # noqa: A002 - the provider's word
        url: str | None = None,
        path: str | Path | None = None,
        name: str | None = None,
        filename: str | None = None,
        content_type: str = "application/octet-stream",
    ) -> str:
        """files/add: store a file the provider fetches from ``url``, or one from disk (``path``; MMS only); returns its id.

        ``name`` is how it is shown in the account (seen in the vendor's tests, not documented).

        Raises:
            InputError: an unknown type, not exactly one of ``url`` and ``path``, or a file that cannot be read.
            TryAgain: no complete answer. The file may be there; storing it again costs nothing but a second copy.
            StopRun: refused (4000 too large, 4001 not found, 4002 invalid).
        """
        requests.one_of("type", type, _FILE_TYPES)
        if (url is None) == (path is None):
            raise InputError("media", "a file is given either by url or by path")
        if path is not None and type != "mms":
            raise InputError("type", "only files for MMS can be uploaded from disk; a voice file is given by url")
        named = {"name": name} if name else {}
        if path is None:
            data = await self._call("files/add", {"type": type, "url": url, **named})
        else:
            file = (filename or Path(path).name, await requests.read_file(Path(path)), content_type)
            data = await self._call("files/add", {"type": type, **named}, file=file)
        return answers.stored_id(data)

    async def list_files(self, *, type: FileType = "mms") -> Sequence[StoredFile]:  # noqa: A002 - the provider's word
        """files/index: every file the account holds; there is no paging (sending-mms page)."""
        requests.one_of("type", type, _FILE_TYPES)
        data = await self._call("files/index", {"type": type}, max_bytes=_LISTING_BYTES)
        return [answers.stored_file(item) for item in answers.items(data)]

    async def view_file(self, file_id: str, *, type: FileType = "mms") -> StoredFile:  # noqa: A002 - the provider's word
        """files/view: one file's entry. ``StopRun`` where there is none."""
        requests.one_of("type", type, _FILE_TYPES)
        return answers.stored_file(await self._call("files/view", {"id": file_id, "type": type}))

    async def delete_file(self, file_id: str, *, type: FileType = "mms") -> bool:  # noqa: A002 - the provider's word
        """files/delete: whether the file was deleted. What becomes of a scheduled MMS that uses it is not documented."""
        requests.one_of("type", type, _FILE_TYPES)
        return answers.is_true((await self._call("files/delete", {"id": file_id, "type": type})).get("success"))

    # -- Sending ----------------------------------------------------------------------------------------------------------

    async def send(self, request: MmsRequest, *, trace: Trace | None = None, before: Before | None = None) -> Answer:
        """messages/send_mms for one chunk, once, with ``details=true``: one receipt per phone, in the request's order.

        ``before`` is awaited right before the first byte is written; what it raises holds the request back.

        Raises:
            InputError: refused here; nothing was sent (``field`` is title, media, phone or send_at).
            Unreachable, SlowDown, StopRun: surely not taken.
            OutcomeUnknown: it may have been taken, in whole or in part.
        """
        parameters = requests.send_parameters(
            request.title,
            [f"+{phone}" for phone in request.phones],
            request.file_ids,
            self._zone,
            text=request.text,
            date=request.send_at,
            details=True,
            test=request.test,
        )
        data, http = await self._send_once(parameters, len(request.phones), trace or Trace(before))
        failed, code = answers.error_code(data)
        if not failed:
            if not (answers.items(data) or answers.is_true(data.get("success"))):
                raise OutcomeUnknown(f"{codes.WHO} answered neither success nor error", evidence=http.evidence())
            return answers.answer_of(data, request, http.body)
        error = codes.whole_send_error(code, http.evidence())
        if answers.items(data):  # refused, and yet something for single recipients: believe what binds
            answer = answers.answer_of(data, request, http.body)
            return replace(answer, stop=answer.stop or error)
        if code == codes.INVALID_RECIPIENT and len(request.phones) == 1:
            return Answer([Receipt(MessageState.REJECTED, error=code)], raw=http.body)
        raise error

    async def send_mms(
        self,
        *,
        title: str,
        phone: Phone | str | Sequence[Phone | str],
        file_id: str | Sequence[str] = (),
        text: str | None = None,
        date: datetime | None = None,
        details: bool = True,
        test: bool = False,
        trace: Trace | None = None,
    ) -> dict[str, Any]:
        """messages/send_mms with each parameter of the sending-mms page; the provider's answer as it is. Raises as ``send``.

        ``phone`` is one number or many, as ``Phone`` or in full (``+48500600700``). Without ``details`` only counters come
        back, and nothing can be told about single recipients.
        """
        phones = [phone] if isinstance(phone, (int, str)) else phone
        parameters = requests.send_parameters(
            title,
            [number if isinstance(number, str) else f"+{number}" for number in phones],
            [file_id] if isinstance(file_id, str) else file_id,
            self._zone,
            text=text,
            date=date,
            details=details,
            test=test,
        )
        data, http = await self._send_once(parameters, len(phones), trace)
        failed, code = answers.error_code(data)
        if failed:
            raise codes.whole_send_error(code, http.evidence())
        return data

    # -- After sending ----------------------------------------------------------------------------------------------------

    async def reports(
        self,
        *,
        ids: Sequence[str] = (),
        phones: Sequence[Phone] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        page: int = 1,
        status: str | None = None,
        type: str | None = "mms",  # noqa: A002 - the provider's word
        limit: int | None = None,
        order: str = "asc",
    ) -> ReportPage:
        """messages/reports: one page; ``since`` and ``until`` bound the time of queueing. Read on to ``pages``.

        How many reports a page holds is the provider's choice without ``limit``. The hour repeated in autumn is asked for
        generously, so reports from just outside the window may come along.

        Raises:
            InputError: more than 500 ids, an unknown type or order, or more records than the provider shows (3331).
            TryAgain, StopRun: as any call.
        """
        if len(ids) > BOUNDS.ids_per_report:
            raise InputError("ids", f"at most {BOUNDS.ids_per_report} ids in one query, {len(ids)} given")
        requests.one_of("type", type, (*_REPORT_TYPES, None))
        requests.one_of("order", order, _ORDERS)
        filters = {
            "id": list(ids),
            "phone": [f"+{phone}" for phone in phones],
            "date_from": since and requests.wall_clock("since", since, self._zone, outward=-1),
            "date_to": until and requests.wall_clock("until", until, self._zone, outward=1),
            "status": status,
            "type": type,
            "limit": limit,
        }
        given = {key: value for key, value in filters.items() if value}
        return await self._report_page({**given, "page": page, "order": order}, page)

    async def view_message(self, message_id: str) -> Report | None:
        """messages/view: what is known of one message; None where the provider says that it has none of that id.

        Raises:
            TryAgain: no complete answer, or one about nothing: silence is no word.
        """
        data, http = await self._exchange("messages/view", {"id": message_id}, repeatable=True)
        failed, code = answers.error_code(data)
        if code in (codes.NO_MESSAGES, codes.INVALID_ID):
            return None
        if failed:
            raise codes.call_error(code, http.evidence())
        if (report := answers.report_of(data, self._zone)) is None:
            raise TryAgain(f"{codes.WHO} answered about no message", evidence=http.evidence())
        return report

    async def withdraw(self, ids: Sequence[str]) -> tuple[int, int]:
        """messages/delete: withdraw scheduled messages; ``(withdrawn, not withdrawn)``.

        Messages already dispatched count as not withdrawn: the provider says ``success: false`` then, which is no error.
        """
        withdrawn = 0
        for some in requests.slices(ids, BOUNDS.ids_per_report):
            data = await self._call("messages/delete", {"id": requests.one_or_many(some)})
            correct = answers.whole(data.get("correct"))
            every = len(some) if answers.is_true(data.get("success")) and not answers.whole(data.get("failed")) else 0
            withdrawn += min(len(some), every if correct is None else correct)
        return withdrawn, len(ids) - withdrawn

    # -- Account ----------------------------------------------------------------------------------------------------------

    async def credit(self) -> Credit:
        """account/limits: how many MMS the account may still send. The provider asks not to be asked every few seconds."""
        return next((limit.credit for limit in await self.limits() if limit.type == "mms"), Credit(left=0, available=False))

    async def limits(self, *, show_type: bool = False) -> Sequence[answers.AccountLimit]:
        """account/limits: every line. ``show_type`` asks for the kind of account too (prepaid or not), which is not kept."""
        data = await self._call("account/limits", {"show_type": True} if show_type else {})
        return [answers.account_limit(item) for item in answers.items(data)]

    async def blacklist(
        self, *, phone: Phone | None = None, page: int = 1, limit: int | None = None
    ) -> answers.BlacklistPage:
        """blacklist/index: one page of the numbers this account never sends to; ``phone`` looks for one."""
        wanted = {"phone": f"+{phone}" if phone else None, "limit": limit}
        given = {key: value for key, value in wanted.items() if value} | {"page": page}
        data = await self._call("blacklist/index", given, max_bytes=_LISTING_BYTES)
        entries = [
            (answers.phone_of(item.get("phone")), answers.moment(item.get("added"), self._zone))
            for item in answers.items(data)
        ]
        return answers.BlacklistPage(entries, *answers.pages_of(data, page))

    async def explain_error(self, code: int) -> answers.ProviderError:
        """error/<code>: the provider's own words about a code (general-communications page)."""
        data, http = await self._exchange(f"error/{int(code)}", {}, repeatable=True)
        failed, answered = answers.error_code(data)
        if not failed or answered != str(int(code)):
            raise codes.call_error(answered, http.evidence())
        words: Mapping[str, Any] = data["error"]
        return answers.ProviderError(
            answered, answers.text(words.get("type")) or "", answers.text(words.get("message")) or ""
        )

    # -- Inside -----------------------------------------------------------------------------------------------------------

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

    async def _call(
        self,
        action: str,
        parameters: dict[str, Any],
        *,
        file: tuple[str, bytes, str] | None = None,
        max_bytes: int = _ANSWER_BYTES,
    ) -> answers.Plain:
        """Any call that may be repeated: its answer, or the error it carries."""
        data, http = await self._exchange(action, parameters, repeatable=True, file=file, max_bytes=max_bytes)
        failed, code = answers.error_code(data)
        if failed:
            raise codes.call_error(code, http.evidence())
        return data

    async def _send_once(
        self, parameters: dict[str, Any], count: int, trace: Trace | None
    ) -> tuple[answers.Plain, HttpAnswer]:
        bound = _ANSWER_BYTES + _BYTES_PER_RECIPIENT * count
        return await self._exchange("messages/send_mms", parameters, repeatable=False, trace=trace, max_bytes=bound)

    async def _exchange(
        self,
        action: str,
        parameters: dict[str, Any],
        *,
        repeatable: bool,
        trace: Trace | None = None,
        file: tuple[str, bytes, str] | None = None,
        max_bytes: int = _ANSWER_BYTES,
    ) -> tuple[answers.Plain, HttpAnswer]:
        fields = {**self._login, **parameters}
        body: dict[str, Any] = {"headers": self._headers, "data": fields, "files": {"file": file}}
        if file is None:
            body = {"headers": {**self._headers, "Content-Type": "application/json"}, "content": orjson.dumps(fields)}
        url = f"{self._base_url}/{action}.{self._format}"
        http = await self._http.exchange("POST", url, repeatable=repeatable, trace=trace, max_bytes=max_bytes, **body)
        return self._readable(http, repeatable=repeatable), http

    def _readable(self, http: HttpAnswer, *, repeatable: bool) -> answers.Plain:
        refused = refusal(codes.WHO, http, repeatable=repeatable)
        try:
            data = answers.read(http.body, self._format)
        except answers.Unreadable as why:
            self._raise_unreadable(refused, why, http, repeatable=repeatable)
        if refused is None:
            return data
        surely_refused = refused.stops_run and not refused.maybe_sent
        if surely_refused and answers.error_code(data)[1]:
            return data  # the provider's code says more than the status of its envelope
        raise refused

    def _raise_unreadable(
        self, refused: GatewayError | None, why: Exception, http: HttpAnswer, *, repeatable: bool
    ) -> NoReturn:
        if refused is not None:
            raise refused from None
        what = f"{codes.WHO} answered what is no complete {self._format.upper()} document ({why})"
        if repeatable:
            raise TryAgain(what, evidence=http.evidence()) from None
        raise OutcomeUnknown(f"{what}; the request may have been carried out", evidence=http.evidence()) from None

    async def _report_page(self, parameters: dict[str, Any], page: int) -> ReportPage:
        data, http = await self._exchange("messages/reports", parameters, repeatable=True, max_bytes=_LISTING_BYTES)
        failed, code = answers.error_code(data)
        if code == codes.NO_MESSAGES:
            return ReportPage([], page, page)
        if code == codes.TOO_MANY_RECORDS:
            raise InputError("since", f"{codes.WHO} has too many reports to show; ask for a shorter time or fewer numbers")
        if failed:
            raise codes.call_error(code, http.evidence())
        found = [answers.report_of(item, self._zone) for item in answers.items(data)]
        reports = [report for report in found if report is not None]
        if len(reports) < len(found):
            _logger.warning("%d reports of a page carry no id and are passed over", len(found) - len(reports))
        current, pages = answers.pages_of(data, page)
        if pages > _MOST_PAGES:  # to read on would take days
            raise TryAgain(f"{codes.WHO} speaks of {pages:,} pages of reports", evidence=http.evidence())
        return ReportPage(reports, current, pages, passed_over=len(found) - len(reports))
