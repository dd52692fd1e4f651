"""The parts of a probe that go to the operator's own number: sends that are only checked, and two real messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from posthorn.errors import GatewayError, InputError, OutcomeUnknown
from posthorn.gateways.probing import ProbeOrder, Reliance
from posthorn.gateways.serwersms.bounds import BOUNDS
from posthorn.gateways.serwersms.client import SerwerSms
from posthorn.gateways.serwersms.probe_clock import Watch, clock_of
from posthorn.models import UNREPORTED_STATES, Known, MessageState, MmsRequest, Observation, Phone, Receipt, Report

_JSON = Reliance("test_send", "a send with test=true is answered with an id for each number", "sending-mms page")
_OTHER = Reliance("test_send_other", "so it is in the other format", "sending-mms page")
_DATE = Reliance("test_date", "date is taken as 2026-11-30 09:00", "sending-mms page")
_TITLE = Reliance("test_title", "a title of 41 characters is refused", "sending-mms page")
_FILE = Reliance(Known.TEST_PROVES, "a file that is not there is refused, though the send is only checked", "inferred")
_FREE = Reliance(Known.TEST_FREE, "test=true sends nothing and costs nothing", "sending-mms page")
CHECKED = (_JSON, _OTHER, _DATE, _TITLE, _FILE, _FREE)
"""What a number for checked sends is needed for."""

_HOLD = Reliance(Known.HOLD, "a message with a date is kept, listed as saved, and withdrawn", "deleting page, for SMS")
_GONE = Reliance("hold_gone", "what was withdrawn is not listed any more", "inferred")
_TAKEN = Reliance("sent", "a real message is taken, and listed by number and time", "reports page")
_SHOWN = Reliance("sent_title", "reports show the title as it was sent", "the vendor's clients")
_QUEUED = Reliance(Known.CLOCK, "reports date a message when it was taken", "reports page")
_REPORT = Reliance("sent_report", "a report of its delivery comes", "reports page")
SENT = (_HOLD, _GONE, _TAKEN, _SHOWN, _QUEUED, _REPORT)
"""What a number for real messages is needed for."""

_T = TypeVar("_T")
_NO_SUCH_FILE = "0000000000"
_HELD_MINUTES = 30
_LEFT = f"a message may go out in {_HELD_MINUTES} minutes"
_LOOK_SECONDS = 2.0
_LISTED_SECONDS = 60.0
_REPORT_EVERY_SECONDS = 10.0
_AROUND = timedelta(hours=26)
_TEXT = "A probe of Posthorn. Nothing has to be done."


def _title() -> str:
    """A title that differs each time, with a letter that not every system keeps."""
    return f"Posthorn próba {datetime.now(UTC):%d %H:%M:%S}"


# -- Only checked ---------------------------------------------------------------------------------------------------------


async def checked(gateway: SerwerSms, other: SerwerSms, number: Phone, file_id: str | None) -> list[Observation]:
    """Sends with ``test=true`` to that number, in both formats."""
    started, before = datetime.now(UTC), await gateway.credit()
    files = [file_id] if file_id else []
    request = MmsRequest(_title(), [number], files, _TEXT, test=True)
    tomorrow = MmsRequest(_title(), [number], files, _TEXT, started + timedelta(days=1), test=True)
    found = [
        await _answered(gateway, request, MessageState.ACCEPTED, _JSON),
        await _answered(other, request, MessageState.ACCEPTED, _OTHER),
        await _answered(gateway, tomorrow, MessageState.SCHEDULED, _DATE),
        await _refused(gateway, _TITLE, number, title="x" * (BOUNDS.title_characters + 1), text=_TEXT),
        await _refused(gateway, _FILE, number, title=request.title, text=_TEXT, file_id=_NO_SUCH_FILE),
    ]
    try:
        left = await gateway.credit()
        rows = await _rows(gateway, number, started)
        listed = [row for row in rows if (row.title or "").startswith("Posthorn próba")]
        is_free = left == before and not listed
        found.append(_FREE.judged(is_free, "the limit is as before, none is listed" if is_free else _not_free(len(listed))))
    except (GatewayError, InputError) as error:
        found.append(_FREE.unclear(str(error)))
    return found


def _not_free(listed: int) -> str:
    return f"the account ignores it: {listed} of them are listed, or the limit has changed"


async def _answered(gateway: SerwerSms, request: MmsRequest, expected: MessageState, reliance: Reliance) -> Observation:
    try:
        answer = await gateway.send(request)
    except GatewayError as error:
        return reliance.failed(error)
    receipt = answer.receipts[0]
    return reliance.judged(receipt.state is expected and receipt.provider_id is not None, _words(receipt))


def _words(receipt: Receipt) -> str:
    with_id = "with an id" if receipt.provider_id else "without an id"
    return f"{receipt.state.name.lower()}, {with_id}" + (f", code {receipt.error}" if receipt.error else "")


async def _refused(gateway: SerwerSms, reliance: Reliance, number: Phone, **parameters: Any) -> Observation:
    """Whether the provider refuses requests that our own client would never make."""
    try:
        code = await gateway.refusal_of(phone=f"+{number}", **parameters)
    except GatewayError as error:
        return reliance.failed(error)
    return reliance.judged(code is not None, f"refused with {code}" if code else "taken", "yes" if code else "no")


# -- For real -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sent:
    """One message that was taken, and when its request was under way."""

    title: str
    message_id: str
    asked: tuple[datetime, datetime]


async def sent(
    gateway: SerwerSms, order: ProbeOrder, watch: Watch, number: Phone, file_id: str | None, zone: ZoneInfo
) -> AsyncIterator[Observation]:
    """One message that is held and withdrawn, then one that is delivered."""
    for observation in await _held(gateway, order, number, file_id):
        yield observation
    order.say("sending one real message")
    try:
        message = await _send(gateway, number, file_id, _title(), None)
    except (GatewayError, _NotTaken) as error:
        for reliance in (_TAKEN, _SHOWN, _QUEUED, _REPORT):
            yield reliance.failed(error) if isinstance(error, GatewayError) else reliance.other(str(error))
        return
    try:
        row = await _row(gateway, order, number, message)
    except (GatewayError, InputError) as error:
        for reliance in (_TAKEN, _SHOWN, _QUEUED, _REPORT):
            yield reliance.unclear(f"it was taken, and cannot be looked up: {error}")
        return
    if row is None:
        yield _TAKEN.other(f"taken, but not listed within {_LISTED_SECONDS:.0f} s")
        for reliance in (_SHOWN, _QUEUED, _REPORT):
            yield reliance.unclear("it is not listed")
        return
    yield _TAKEN.confirmed(f"listed as {row.status}")
    yield _SHOWN.judged(row.title == message.title, "as it was sent" if row.title == message.title else f'as "{row.title}"')
    if row.queued_at is None:
        yield _QUEUED.unclear("it carries no date")
    else:
        readings = [row.queued_at.astimezone(zone).replace(fold=fold) for fold in (0, 1)]
        yield clock_of(_QUEUED, readings, message.asked, watch, zone)
    yield await _reported(gateway, order, message)


class _NotTaken(Exception):
    """The one number of a request was refused."""


async def _send(gateway: SerwerSms, number: Phone, file_id: str | None, title: str, send_at: datetime | None) -> _Sent:
    before = datetime.now(UTC)
    answer = await gateway.send(MmsRequest(title, [number], [file_id] if file_id else [], _TEXT, send_at))
    receipt = answer.receipts[0]
    if receipt.provider_id is None or receipt.state not in UNREPORTED_STATES:
        raise _NotTaken(_words(receipt))
    return _Sent(title, receipt.provider_id, (before, datetime.now(UTC)))


async def _held(gateway: SerwerSms, order: ProbeOrder, number: Phone, file_id: str | None) -> list[Observation]:
    order.say(f"sending one message to be held for {_HELD_MINUTES} minutes, and withdrawing it")
    title, began = _title(), datetime.now(UTC)
    try:
        message = await _send(gateway, number, file_id, title, began + timedelta(minutes=_HELD_MINUTES))
    except OutcomeUnknown as error:
        became = await _take_back(gateway, order, number, title, began)
        return [_HOLD.unclear(f"{error}; {became}"), _GONE.unclear("the answer was lost")]
    except GatewayError as error:
        return [_HOLD.failed(error), _GONE.unclear("nothing was held")]
    except _NotTaken as error:
        return [_HOLD.other(str(error)), _GONE.unclear("nothing was held")]
    row: Report | None = None
    try:
        row = await _row(gateway, order, number, message)
    except asyncio.CancelledError:  # Ctrl-C: the person who stops waiting does not want the message
        await gateway.withdraw([message.message_id])
        raise
    except (GatewayError, InputError):
        pass  # it must be withdrawn whether it can be looked up or not
    try:
        withdrawn, _ = await gateway.withdraw([message.message_id])
    except GatewayError as error:
        return [_HOLD.unclear(f"{error}; {_LEFT}"), _GONE.unclear("it was not withdrawn")]
    status = "not listed" if row is None else f"listed as {row.status}"
    is_held = row is not None and row.state is MessageState.SCHEDULED and withdrawn == 1
    seen = f"{status}; {'withdrawn' if withdrawn == 1 else 'NOT withdrawn'}"
    return [_HOLD.judged(is_held, seen, "yes" if is_held else "no"), await _is_gone(gateway, order, number, message)]


async def _take_back(gateway: SerwerSms, order: ProbeOrder, number: Phone, title: str, since: datetime) -> str:
    """Withdraw a message that may go out although its answer was lost; says what became of it."""

    async def own() -> list[str] | None:
        return [row.provider_id for row in await _rows(gateway, number, since) if row.title == title] or None

    try:
        found = await _until(order, _LISTED_SECONDS, _LOOK_SECONDS, own)
        withdrawn = 0 if found is None else (await gateway.withdraw(found))[0]
    except (GatewayError, InputError):
        return _LEFT
    return "it had been taken, and was withdrawn" if withdrawn else _LEFT


async def _is_gone(gateway: SerwerSms, order: ProbeOrder, number: Phone, message: _Sent) -> Observation:
    try:
        gone = await _until(order, _LISTED_SECONDS, _LOOK_SECONDS, lambda: _is_not_listed(gateway, number, message))
    except (GatewayError, InputError) as error:
        return _GONE.unclear(str(error))
    return _GONE.judged(gone is not None, "gone" if gone else f"still listed after {_LISTED_SECONDS:.0f} s")


async def _is_not_listed(gateway: SerwerSms, number: Phone, message: _Sent) -> bool | None:
    return None if await _find(gateway, number, message) else True


async def _row(gateway: SerwerSms, order: ProbeOrder, number: Phone, message: _Sent) -> Report | None:
    return await _until(order, _LISTED_SECONDS, _LOOK_SECONDS, lambda: _find(gateway, number, message))


async def _find(gateway: SerwerSms, number: Phone, message: _Sent) -> Report | None:
    rows = await _rows(gateway, number, message.asked[0])
    return next((row for row in rows if row.provider_id == message.message_id), None)


async def _rows(gateway: SerwerSms, number: Phone, since: datetime) -> list[Report]:
    page = await gateway.reports(phones=[number], since=since - _AROUND, until=datetime.now(UTC) + _AROUND, order="desc")
    return list(page.reports)


async def _until(order: ProbeOrder, longest: float, every: float, look: Callable[[], Awaitable[_T | None]]) -> _T | None:
    """What ``look`` finds in the end; None if it finds nothing for that long."""
    waited = 0.0
    while (found := await look()) is None and waited < longest:
        await order.wait(every)
        waited += every
    return found


async def _reported(gateway: SerwerSms, order: ProbeOrder, message: _Sent) -> Observation:
    order.say(f"waiting up to {order.report_seconds / 60:.0f} minutes for its report")

    async def final() -> Report | None:
        report = await gateway.view_message(message.message_id)
        return report if report is not None and report.state in (MessageState.DELIVERED, MessageState.UNDELIVERED) else None

    try:
        report = await _until(order, order.report_seconds, _REPORT_EVERY_SECONDS, final)
    except GatewayError as error:
        return _REPORT.unclear(str(error))
    if report is None:
        return _REPORT.unclear(f"none came within {order.report_seconds / 60:.0f} minutes; it may come later")
    return _REPORT.confirmed(f"{report.status}" + (f", {report.reason}" if report.reason else ""))
