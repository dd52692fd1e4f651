"""What a provider says of the account, for an operator: its limits, its blacklist, what a code means."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from posthorn.content.plain import plain
from posthorn.content.recipients.number import read_phone
from posthorn.delivery.running.place import able, at
from posthorn.errors import GatewayError, InputError
from posthorn.gateways import registry
from posthorn.gateways.contract import AccountApi
from posthorn.gateways.descriptor import Descriptor
from posthorn.models import BlacklistPage, Phone, mask_phone
from posthorn.privatefile import written_privately
from posthorn.settings import load_settings

_MAX_SHOWN = 50


def teller(gateway: str | None) -> Descriptor:
    """The gateway that tells of its account.

    Raises:
        InputError: no gateway of that name does.
    """
    return able(gateway, lambda one: one.tells_account, "tells of its account")


async def limits(descriptor: Descriptor) -> list[Mapping[str, Any]]:
    """What may still be sent, by kind of message: ``left`` is None if there is no limit."""
    async with at(descriptor) as place:
        api: AccountApi = place.gateway
        return [
            {"type": one.type, "length": one.length, "available": one.credit.available, "left": one.credit.left}
            for one in await api.limits()
        ]


async def is_blacklisted(descriptor: Descriptor, number: str) -> tuple[str, bool]:
    """The number masked, and whether the provider's blacklist holds it.

    Raises:
        InputError: it is not a number.
    """
    phone = read_phone(number, load_settings())
    async with at(descriptor) as place:
        page = await place.gateway.blacklist(phone=phone)
    return mask_phone(phone), any(one == phone for one, _ in page.entries)


async def blacklisted(descriptor: Descriptor, out: Path | None) -> Mapping[str, Any]:
    """The blacklist: how many entries, the first of them masked; all of them in full into ``out`` (CSV, mode 0600)."""
    entries: list[tuple[Phone | None, datetime | None]] = []
    async with at(descriptor) as place:
        async for page in _pages(place.gateway):
            entries += page.entries
    if out is not None:
        with written_privately(out) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("phone", "added"))
            writer.writerows((phone or "", _date(added)) for phone, added in entries)
    shown = [{"phone": _masked(phone), "added": _date(added)} for phone, added in entries[:_MAX_SHOWN]]
    return {"count": len(entries), "entries": shown}


async def _pages(api: AccountApi) -> AsyncIterator[BlacklistPage]:
    """Every page, until one shows nothing new."""
    page = pages = 1
    seen: set[Phone | None] = set()
    while page <= pages:
        answer = await api.blacklist(page=page)
        new = {phone for phone, _ in answer.entries} - seen
        if page > 1 and not new:
            return  # a page that repeats others
        yield answer
        seen |= new
        page, pages = page + 1, answer.pages


def _masked(phone: Phone | None) -> str:
    return "no number" if phone is None else mask_phone(phone)


def _date(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M %Z}"


async def explained(code: str, gateway: str | None) -> list[dict[str, str]]:
    """What a code means to each gateway that knows it: in our words, and in the provider's if it can be asked.

    Raises:
        InputError: nobody knows it.
    """
    told = []
    for one in registry.GATEWAYS:
        if gateway in (None, one.name):
            ours, theirs = one.code_words(code), await _their_words(one, code)
            if ours or theirs:
                told.append({"gateway": one.name, "code": code, "meaning": ours, "provider": theirs})
    if not told:
        known = ", ".join(one.name for one in registry.GATEWAYS)
        raise InputError("CODE", f"{plain(code, most=40)}: not a known code or reason (gateways: {known})")
    return told


async def _their_words(descriptor: Descriptor, code: str) -> str:
    """The provider's own words; none if it cannot be asked or does not know the code."""
    settings = load_settings()
    if not (descriptor.tells_account and code.isascii() and code.isdecimal() and len(code) <= 6):
        return ""
    if not descriptor.account(settings).has_credentials:
        return ""
    gateway = descriptor.open(settings)
    try:
        words = await gateway.explain_error(int(code))
    except GatewayError:
        return ""
    finally:
        await gateway.aclose()
    return f"{words.type}: {words.message}" if words.type else str(words.message)
