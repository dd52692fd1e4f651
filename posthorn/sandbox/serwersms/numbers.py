"""The small calls around numbers and the account: limits, blacklist, syntax check, incoming messages (always none)."""

from __future__ import annotations

from posthorn.sandbox.serwersms.account import Account, normalised
from posthorn.sandbox.serwersms.answers import Document
from posthorn.sandbox.serwersms.errors import ApiError
from posthorn.sandbox.serwersms.params import Params

_FIRST_ENTRY = 12_354


async def limits(account: Account, params: Params) -> Document:
    """account/limits: values are text, ``no_limit`` or ``not_available`` (account page); eco comes first."""
    mms = "no_limit" if account.credit is None else str(max(0, account.credit))
    items = [
        {"type": "eco", "chars_limit": "160/1", "value": "not_available"},
        {"type": "full", "chars_limit": "160/1", "value": "not_available"},
        {"type": "voice", "chars_limit": "160/1", "value": "not_available"},
        {"type": "mms", "chars_limit": f"{account.options.title_limit}/1", "value": mms},
        {"type": "lookup", "value": "not_available"},
        {"type": "hlr", "value": "not_available"},
    ]
    return {"account": {"type": "prepaid"}, "items": items} if params.flag("show_type") else {"items": items}


async def blacklist_add(account: Account, params: Params) -> Document:
    """blacklist/add; 4601 where the number is listed already."""
    phone = account.phone(params.text("phone"))
    if phone in account.blacklist:
        raise ApiError(4601)
    entry = _FIRST_ENTRY + len(account.blacklist)
    account.blacklist[phone] = (entry, account.clock.wall())
    return {"success": True, "id": entry}


async def blacklist_check(account: Account, params: Params) -> Document:
    """blacklist/check."""
    return {"exists": account.phone(params.text("phone")) in account.blacklist}


async def blacklist_index(account: Account, params: Params) -> Document:
    """blacklist/index: all of it, or one number's entry."""
    wanted = params.text("phone")
    listed = account.blacklist if wanted is None else {account.phone(wanted)} & account.blacklist.keys()
    items = [{"phone": phone, "added": account.stamp(account.blacklist[phone][1])} for phone in listed]
    return {"paging": {"page": 1, "count": 1}, "items": items}


async def blacklist_delete(account: Account, params: Params) -> Document:
    """blacklist/delete; 4602 where the number is not listed."""
    if account.blacklist.pop(account.phone(params.text("phone")), None) is None:
        raise ApiError(4602)
    return {"success": True}


async def phone_test(_: Account, params: Params) -> Document:
    """phones/test: whether a number is written correctly."""
    return {"correct": normalised(params.text("phone") or "") is not None}


async def received(*_: object) -> Document:
    """messages/recived, and received as newer clients spell it: nobody ever answers."""
    return {"paging": {"page": 1, "count": 1}, "items": []}
