"""Builds and checks what SerwerSMS is asked: the parameters of a send, and times as its naive local text.

What the provider's pages forbid is refused here, before anything is sent. Makes no request itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from posthorn.errors import InputError
from posthorn.gateways.serwersms.bounds import BOUNDS


def send_parameters(
    title: str,
    phones: Sequence[str],
    file_ids: Sequence[str],
    zone: ZoneInfo,
    *,
    text: str | None,
    date: datetime | None,
    details: bool,
    test: bool,
) -> dict[str, Any]:
    """The parameters of messages/send_mms (sending-mms page). The provider reads an absent one as "no".

    Raises:
        InputError: title, media, phone or send_at cannot be sent like this.
    """
    _check_send(title, phones, file_ids, date)
    parameters = {
        "title": title,
        "phone": one_or_many(phones),
        "file_id": one_or_many(file_ids),
        "text": text,
        "date": date and dispatch_minute(date, zone),
        "details": details,
        "test": test,
    }
    return {key: value for key, value in parameters.items() if value}


def dispatch_minute(send_at: datetime, zone: ZoneInfo) -> str:
    """``send_at`` as the provider takes it, ``2010-11-09 15:23``: local time, whole minutes, never before ``send_at``.

    A time in the second passing of the autumn hour would be read as the first, an hour early. So the hour's end is used.
    """
    minute = (send_at.astimezone(UTC) + timedelta(minutes=1, microseconds=-1)).replace(second=0, microsecond=0)
    while (local := minute.astimezone(zone)).fold:
        minute += timedelta(minutes=1)
    return local.strftime("%Y-%m-%d %H:%M")


def wall_clock(field: str, moment: datetime, zone: ZoneInfo, *, outward: int) -> str:
    """``moment`` in local time to the second; within the repeated autumn hour moved outward by the change."""
    if moment.tzinfo is None:
        raise InputError(field, "expected a time with its zone")
    local = moment.astimezone(zone)
    change = abs((local.replace(fold=0).utcoffset() or timedelta()) - (local.replace(fold=1).utcoffset() or timedelta()))
    return (local.replace(tzinfo=None) + outward * change).strftime("%Y-%m-%d %H:%M:%S")


def _check_send(title: str, phones: Sequence[str], file_ids: Sequence[str], date: datetime | None) -> None:
    if len(title) > BOUNDS.title_characters:
        raise InputError("title", f"at most {BOUNDS.title_characters} characters, this has {len(title)}")
    if len(file_ids) > BOUNDS.files_per_message:
        raise InputError("media", f"at most {BOUNDS.files_per_message} files, {len(file_ids)} given")
    if not phones:
        raise InputError("phone", "no recipients")
    if len(phones) > BOUNDS.numbers_per_request:
        most = BOUNDS.numbers_per_request
        raise InputError("phone", f"at most {most} recipients in one request, {len(phones)} given")
    if len(set(phones)) < len(phones):
        raise InputError("phone", "one recipient twice in one request; the provider may send to them twice")
    if date is not None and date.tzinfo is None:
        raise InputError("send_at", "expected a time with its zone, such as 2026-11-30T09:00:00+01:00")
    if date is not None and date <= datetime.now(UTC):
        raise InputError("send_at", "this time has passed")


def one_of(field: str, value: object, allowed: Sequence[object]) -> None:
    """Refuse a word the provider does not know."""
    if value not in allowed:
        raise InputError(field, f"expected one of {', '.join(str(word) for word in allowed if word)}")


def one_or_many(values: Sequence[str]) -> str | list[str]:
    """String or array, as the provider's pages have it."""
    return values[0] if len(values) == 1 else list(values)


def slices(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """``values`` in runs of at most ``size``."""
    return (values[start : start + size] for start in range(0, len(values), size))


async def read_file(path: Path) -> bytes:
    """What is to be uploaded.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise InputError("media", f"{path.name} cannot be read ({error.strerror})") from error
