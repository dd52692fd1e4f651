"""SerwerSMS.pl, HTTPS API v2: sends campaigns. Every call the product needs, each made once; nothing here retries.

Sources: the sending-mms page, and what ``codes`` and ``answers`` name. The cancellation of a send is passed on unchanged:
the ledger's claim already says *sending*, and a ``Trace`` passed in says whether the request went out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from posthorn.errors import InputError, OutcomeUnknown, RequestRefused, TryAgain
from posthorn.gateways.http import Before, HttpAnswer, Trace
from posthorn.gateways.serwersms import answers, codes, requests
from posthorn.gateways.serwersms.account import AccountCalls
from posthorn.gateways.serwersms.bounds import BOUNDS
from posthorn.gateways.serwersms.connection import ANSWER_BYTES, LISTING_BYTES
from posthorn.gateways.serwersms.files import FileCalls
from posthorn.gateways.serwersms.optouts import OptOutCalls
from posthorn.models import Answer, MessageState, MmsRequest, Phone, Receipt, Report, ReportPage

_BYTES_PER_RECIPIENT = 1024  # an item has about 250, and 750 with a title of forty escaped emoji
_MAX_PAGES = 10_000

_REPORT_TYPES = ("eco", "full", "voice", "mms")
_ORDERS = ("asc", "desc")
_OF_CLIENTS = frozenset({"type", "page", "limit", "order"})
"""Parameters of messages/reports that only the vendor's clients use."""

_logger = logging.getLogger(__name__)


class SerwerSms(FileCalls, AccountCalls, OptOutCalls):
    """The campaign gateway; one per process, shared by all tasks of a loop.

    Raises:
        SettingsError: neither token nor login is set, or one of them cannot stand in a request.
    """

    name = codes.GATEWAY
    takes_pages = True

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
        if answers.items(data):  # refused, and yet something about single recipients: believe what binds
            answer = answers.answer_of(data, request, http.body)
            return replace(answer, stop=answer.stop or error)
        if answers.claims_taken(data):
            raise codes.contradicted(error, http.evidence())
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
        """messages/send_mms with each parameter of the sending-mms page; returns the raw answer. Raises as ``send``.

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

    async def refusal_of(self, **parameters: Any) -> str | None:
        """The code with which messages/send_mms refuses these parameters or the only number; None if it takes them.

        Always with ``test=true``. Nothing is checked here first, so requests that the pages forbid can be tried.

        Raises:
            OutcomeUnknown: no complete answer, or a refusal without a code.
        """
        data, http = await self._send_once({**parameters, "details": True, "test": True}, 1, None)
        failed, code = answers.error_code(data)
        if failed and code is None:
            raise codes.whole_send_error(code, http.evidence())
        refused = (answers.digits(item.get("error_code")) for item in answers.items(data) if item.get("status") == "unsent")
        return code if failed else next(refused, None)

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

        ``type``, ``page``, ``limit`` and ``order`` are known only from the vendor's clients. They are left out after a query
        with them was refused and one without them was not. Without ``limit`` the provider chooses how many reports a page
        holds. Around the hour that repeats in autumn, reports from just outside the time may come, too.

        Raises:
            InputError: more than 500 ids, an unknown type or order, or more records than the provider shows (3331, or a
                second page where it takes no page number).
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
        asked = {key: value for key, value in filters.items() if value} | {"page": page, "order": order}
        if self.takes_pages:
            try:
                return await self._report_page(asked, page)
            except RequestRefused as refused:
                if refused.code is None or page > 1:
                    raise
        return await self._documented_reports(asked)

    async def view_message(self, message_id: str) -> Report | None:
        """messages/view: what is known of one message; None if the provider says that it has none with that id.

        Raises:
            TryAgain: no complete answer, or one about no message: that proves nothing.
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

        Messages already dispatched count as not withdrawn. The provider then says ``success: false``, which is not an error.
        """
        withdrawn = 0
        for some in requests.slices(ids, BOUNDS.ids_per_report):
            data = await self._call("messages/delete", {"id": requests.one_or_many(some)})
            correct = answers.whole(data.get("correct"))
            every = len(some) if answers.is_true(data.get("success")) and not answers.whole(data.get("failed")) else 0
            withdrawn += min(len(some), every if correct is None else correct)
        return withdrawn, len(ids) - withdrawn

    # -- Inside -----------------------------------------------------------------------------------------------------------

    async def _send_once(
        self, parameters: dict[str, Any], count: int, trace: Trace | None
    ) -> tuple[answers.Plain, HttpAnswer]:
        bound = ANSWER_BYTES + _BYTES_PER_RECIPIENT * count
        return await self._exchange("messages/send_mms", parameters, repeatable=False, trace=trace, max_bytes=bound)

    async def _documented_reports(self, asked: Mapping[str, Any]) -> ReportPage:
        """The whole answer to a query that the page documents; other kinds of messages are skipped here."""
        documented = {key: value for key, value in asked.items() if key not in _OF_CLIENTS}
        answer = await self._report_page(documented, 1, only=asked.get("type"))
        self.takes_pages = False
        if answer.pages > 1 or asked["page"] > 1:
            raise InputError("since", f"{codes.WHO} shows one page of its reports only; ask for fewer numbers")
        return answer

    async def _report_page(self, parameters: dict[str, Any], page: int, *, only: str | None = None) -> ReportPage:
        data, http = await self._exchange("messages/reports", parameters, repeatable=True, max_bytes=LISTING_BYTES)
        failed, code = answers.error_code(data)
        if code == codes.NO_MESSAGES:
            return ReportPage([], page, page)
        if code == codes.TOO_MANY_RECORDS:
            raise InputError("since", f"{codes.WHO} has too many reports to show; ask for a shorter time or fewer numbers")
        if failed:
            raise codes.call_error(code, http.evidence())
        items = [item for item in answers.items(data) if only is None or answers.may_be_of(only, item, _REPORT_TYPES)]
        found = answers.reports_of(items, self._zone)
        reports = [report for report in found if report is not None]
        if len(reports) < len(found):
            _logger.warning("%d reports of a page carry no id and are passed over", len(found) - len(reports))
        current, pages = answers.pages_of(data, page)
        if pages > _MAX_PAGES:  # to read on would take days
            raise TryAgain(f"{codes.WHO} speaks of {pages:,} pages of reports", evidence=http.evidence())
        return ReportPage(reports, current, pages, passed_over=len(found) - len(reports))
