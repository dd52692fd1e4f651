"""What a SerwerSMS account really does where its pages leave it open: each free call, made once and judged.

Sends nothing, unless a number is given: ``probe_sending`` has those parts. What is uploaded is deleted again.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
import tempfile
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from posthorn.errors import FileRefused, GatewayError, InputError
from posthorn.gateways.probing import NEEDS_SEND_TO, NEEDS_TEST_NUMBER, ProbeOrder, Reliance
from posthorn.gateways.serwersms import answers, codes, probe_sending
from posthorn.gateways.serwersms.client import SerwerSms
from posthorn.gateways.serwersms.encodings import ENCODINGS
from posthorn.gateways.serwersms.probe_clock import Watch, clock_of
from posthorn.gateways.storedfile import Condition, Look, look_at
from posthorn.models import Known, Media, Observation, StoredFile
from posthorn.settings import Settings

_LIMITS = Reliance("limits", "account/limits says how many MMS are left", "account page")
_TITLE = Reliance("title_length", "a title has at most 40 characters", "sending-mms page")
_XML = Reliance("xml", "answers in XML say the same as those in JSON", "the vendor's clients")
_CODES = Reliance("codes", "error/3103 explains a code", "general-communications page")
_BY_ENCODING = {
    "multipart": Reliance("upload_multipart", "a file comes in a multipart body", "sending-mms page: upload from disk"),
    "form": Reliance("upload_form", "a file comes as the field of a form", "the vendor's client of API v1"),
    "base64": Reliance("upload_base64", "a file comes as base64 text", "comments of the vendor's clients, for send_mms"),
}
_UPLOAD = Reliance(Known.UPLOAD, "files from disk can be uploaded", "sending-mms page")
_LISTED = Reliance(Known.LISTS_FILES, "files/index shows what was uploaded", "sending-mms page")
_SIZE = Reliance("file_size", "a listed file has the size of what was uploaded", "inferred from the page's example")
_VIEW = Reliance("view", "files/view shows a file by its id", "the vendor's clients")
_DELETE = Reliance("delete", "files/delete deletes a file", "the vendor's clients")
_CLOCK = Reliance(Known.FILE_CLOCK, "dates are in the zone of the settings, and the clocks agree", "inferred")
_REPORTS = Reliance("reports", "messages/reports of a window without messages is empty", "reports page")
_PAGING = Reliance("paging", "messages/reports takes type, page, limit and order", "the vendor's clients")
_UNKNOWN = Reliance(
    "unknown_message", "messages/view says of an unknown id that there is none", "inferred from the code table"
)
_BLACKLIST = Reliance("blacklist", "blacklist/index answers in pages", "blacklist page; pages: the vendor's clients")

_LISTING_TRIES = 4
_NO_SUCH_ID = "posthornprobe"
_SIDE = 32
_LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def picture() -> bytes:
    """A small PNG of noise: no two ways to store it have the same size."""
    noise = b"".join(hashlib.sha256(bytes([row, part])).digest() for row in range(_SIDE) for part in range(3))
    rows = b"".join(b"\0" + noise[3 * _SIDE * row : 3 * _SIDE * (row + 1)] for row in range(_SIDE))
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@dataclass(slots=True)
class _Uploads:
    """What became of the same picture in each encoding. ``seen`` is the provider's entry of the first one that works."""

    looks: dict[str, Look] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    best: str | None = None
    seen: StoredFile | None = None
    is_listed: bool = False
    list_error: GatewayError | None = None
    is_viewed: bool | None = None
    stored_at: tuple[datetime, datetime] | None = None


async def observations(settings: Settings, order: ProbeOrder) -> AsyncIterator[Observation]:
    """Everything that we rely on, one after the other.

    Raises:
        SettingsError: credentials are missing.
        GatewayError: the account cannot be used at all: refused credentials, no answer.
    """
    watch = Watch(order)
    ours = settings.serwersms
    async with SerwerSms(ours, proxy=settings.proxy_for(ours.base_url), tap=watch.notice) as gateway:
        for observation in await _account(gateway, settings, watch):
            yield observation
        uploads = _Uploads()
        try:
            for observation in await _files(gateway, order, uploads):
                yield observation
            yield _clock(uploads, watch, ZoneInfo(ours.timezone))
            for observation in await _listings(gateway):
                yield observation
            async for observation in _sends(settings, order, watch, gateway, uploads):
                yield observation
        finally:
            deleted = await _clear(gateway, uploads)
        yield deleted


async def _account(gateway: SerwerSms, settings: Settings, watch: Watch) -> list[Observation]:
    limits = await gateway.limits()
    mms = next((one for one in limits if one.type == "mms"), None)
    if mms is None:
        return [_LIMITS.other("no line of MMS"), _TITLE.unclear("no line of MMS")]
    left = "not available" if not mms.credit.available else "no limit" if mms.credit.left is None else f"{mms.credit.left:,}"
    found = [
        _LIMITS.judged(mms.credit.available, f"MMS: {left}"),
        _TITLE.judged(mms.length.startswith("40"), f"chars_limit is {mms.length or 'not given'}"),
    ]
    try:
        async with other_format(settings, watch) as xml:
            found.append(_XML.judged(await xml.limits() == limits, "account/limits asked in both"))
    except GatewayError as error:
        found.append(_XML.failed(error))
    try:
        words = await gateway.explain_error(int(codes.INVALID_RECIPIENT))
        found.append(_CODES.confirmed(f"{words.type}: {words.message}"))
    except GatewayError as error:
        found.append(_CODES.failed(error))
    return found


def other_format(settings: Settings, watch: Watch) -> SerwerSms:
    """The same account, asked in the format that the settings do not name."""
    ours = settings.serwersms
    other = ours.model_copy(update={"response_format": "json" if ours.response_format == "xml" else "xml"})
    return SerwerSms(other, proxy=settings.proxy_for(ours.base_url), tap=watch.notice)


# -- Files ----------------------------------------------------------------------------------------------------------------


async def _files(gateway: SerwerSms, order: ProbeOrder, uploads: _Uploads) -> list[Observation]:
    content = picture()
    with tempfile.TemporaryDirectory(prefix="posthorn-probe-") as folder:
        path = Path(folder) / "posthorn-probe.png"
        await asyncio.to_thread(path.write_bytes, content)
        media = Media(path.name, path.name, "image/png", str(path), hashlib.sha256(content).hexdigest(), len(content))
        for encoding in ENCODINGS:
            await _try_upload(gateway, order, uploads, encoding, media)
    return [*(_told_of(uploads, encoding) for encoding in ENCODINGS), *_told_of_files(uploads)]


async def _try_upload(gateway: SerwerSms, order: ProbeOrder, uploads: _Uploads, encoding: str, media: Media) -> None:
    before = datetime.now(UTC)
    try:
        file_id = uploads.ids[encoding] = await gateway.upload(media, encoding=encoding)
    except GatewayError as error:
        uploads.refused[encoding] = str(error) if isinstance(error, FileRefused) else f"{error}"
        return
    stored_at = (before, datetime.now(UTC))
    entry = await _listed(gateway, order, uploads, file_id)
    viewed = await _viewed(gateway, uploads, file_id)
    uploads.is_listed = uploads.is_listed or entry is not None
    look = uploads.looks[encoding] = look_at(media, entry or viewed)
    if look.condition is not Condition.GARBLED and (uploads.best is None or (look.will_do and uploads.seen is None)):
        uploads.best, uploads.seen, uploads.stored_at = encoding, entry or viewed, stored_at


async def _listed(gateway: SerwerSms, order: ProbeOrder, uploads: _Uploads, file_id: str) -> StoredFile | None:
    """Its entry in the list. The list may lag for some seconds: it is waited for once, until it was seen to work."""
    has_waited = bool(uploads.looks) and not uploads.is_listed
    for again in range(1 if has_waited else _LISTING_TRIES):
        if again:
            await order.wait(1.0)
        try:
            files = await gateway.list_files()
        except GatewayError as error:
            uploads.list_error = error
            return None
        if (found := next((file for file in files if file.id == file_id), None)) is not None:
            return found
    return None


async def _viewed(gateway: SerwerSms, uploads: _Uploads, file_id: str) -> StoredFile | None:
    try:
        found = await gateway.view_file(file_id)
    except GatewayError:
        return None
    uploads.is_viewed = bool(uploads.is_viewed) or found is not None
    return found


def _told_of(uploads: _Uploads, encoding: str) -> Observation:
    reliance = _BY_ENCODING[encoding]
    if encoding in uploads.refused:
        return reliance.other(uploads.refused[encoding])
    look = uploads.looks[encoding]
    if look.condition is Condition.UNSEEN:
        return reliance.unclear("taken; neither listed nor shown by its id")
    return reliance.judged(look.will_do, look.words)


def _told_of_files(uploads: _Uploads) -> Sequence[Observation]:
    is_taken, look = bool(uploads.ids), uploads.looks.get(uploads.best or "")
    if look is not None and look.will_do and uploads.best:
        upload = _UPLOAD.confirmed(f"as {uploads.best}", uploads.best)
    elif look is not None:
        upload = _UPLOAD.unclear(f"taken as {uploads.best}; nothing shows it")
    else:
        upload = _UPLOAD.other("in no encoding: host pictures and name their URLs")
    if look is None or not look.will_do:
        size = _SIZE.unclear("no file of ours is shown")
    else:
        size = _SIZE.judged(look.condition is Condition.WHOLE, look.words)
    if not is_taken:
        return [upload, _LISTED.unclear("nothing was taken"), size, _VIEW.unclear("nothing was taken")]
    view = _VIEW.judged(bool(uploads.is_viewed), "shown" if uploads.is_viewed else "not shown")
    if uploads.list_error is not None:
        return [upload, _LISTED.failed(uploads.list_error), size, view]
    how = ("within seconds", "yes") if uploads.is_listed else (_TEST_ACCOUNT, "no")
    listed = _LISTED.judged(uploads.is_listed, *how)
    return [upload, listed, size, view]


_TEST_ACCOUNT = "uploads succeed and none is listed, as on test accounts"


async def _clear(gateway: SerwerSms, uploads: _Uploads) -> Observation:
    """Delete what was uploaded, and say whether that works."""
    if not uploads.ids:
        return _DELETE.unclear("nothing was taken")
    deleted, problem = 0, ""
    for file_id in uploads.ids.values():
        try:
            deleted += await gateway.delete_file(file_id) and await gateway.view_file(file_id) is None
        except GatewayError as error:
            problem = f"; {error}"
    return _DELETE.judged(deleted == len(uploads.ids), f"{deleted} of {len(uploads.ids)} deleted{problem}")


# -- Clock and listings ---------------------------------------------------------------------------------------------------


def _clock(uploads: _Uploads, watch: Watch, zone: ZoneInfo) -> Observation:
    dated = [answers.moment(uploads.seen.date, zone, fold=fold) for fold in (0, 1)] if uploads.seen else []
    moments = [one for one in dated if one is not None]
    if not moments or uploads.stored_at is None:
        return _CLOCK.unclear("no upload shows a date")
    return clock_of(_CLOCK, moments, uploads.stored_at, watch, zone)


async def _listings(gateway: SerwerSms) -> list[Observation]:
    found = []
    try:
        page = await gateway.reports(since=_LONG_AGO, until=_LONG_AGO + timedelta(days=1))
        found.append(_REPORTS.judged(not page.reports, f"reports of 2001: {len(page.reports)}"))
        found.append(_PAGING.judged(gateway.takes_pages, "taken" if gateway.takes_pages else "refused, and left out since"))
    except (GatewayError, InputError) as error:
        failed = _REPORTS.failed(error) if isinstance(error, GatewayError) else _REPORTS.other(str(error))
        found += [failed, _PAGING.unclear("no report could be asked for")]
    try:
        is_none = await gateway.view_message(_NO_SUCH_ID) is None
        found.append(_UNKNOWN.judged(is_none, "none" if is_none else "it shows a message"))
    except GatewayError as error:
        found.append(_UNKNOWN.failed(error))
    try:
        blocked = await gateway.blacklist(limit=1)
        found.append(_BLACKLIST.judged(len(blocked.entries) <= 1, f"pages of one number: {blocked.pages:,}"))
    except GatewayError as error:
        found.append(_BLACKLIST.failed(error))
    return found


# -- Sends ----------------------------------------------------------------------------------------------------------------


async def _sends(
    settings: Settings, order: ProbeOrder, watch: Watch, gateway: SerwerSms, uploads: _Uploads
) -> AsyncIterator[Observation]:
    file_id = uploads.ids.get(uploads.best or "")
    if order.test_number is None:
        for reliance in probe_sending.CHECKED:
            yield reliance.unclear(NEEDS_TEST_NUMBER)
    else:
        async with other_format(settings, watch) as other:
            for observation in await probe_sending.checked(gateway, other, order.test_number, file_id):
                yield observation
    if order.send_to is None:
        for reliance in probe_sending.SENT:
            yield reliance.unclear(NEEDS_SEND_TO)
    else:
        zone = ZoneInfo(settings.serwersms.timezone)
        async for observation in probe_sending.sent(gateway, order, watch, order.send_to, file_id, zone):
            yield observation
