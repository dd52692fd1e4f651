"""The small calls around numbers and the account: limits, blacklist, syntax check, incoming messages (always none)."""

from __future__ import annotations

from posthorn.sandbox.serwersms.account import Account, Incoming, normalised
from posthorn.sandbox.serwersms.answers import Document
from posthorn.sandbox.serwersms.errors import ApiError
from posthorn.sandbox.serwersms.params import Params

_PAGE = 100


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


async def account_help(*_: object) -> Document:
    """account/help: whom to ask; the clients' fields, with made-up values."""
    keeper = {"name": "Sandbox", "email": "sandbox@example.com", "telephone": "", "photo": ""}
    shown = {"telephone": "", "email": "sandbox@example.com", "form": "", "faq": ""}
    return {**shown, "account_maintainer": keeper}


async def account_messages(*_: object) -> Document:
    """account/messages: nobody writes to the sandbox."""
    return {"new": False, "message": ""}


async def blacklist_add(account: Account, params: Params) -> Document:
    """blacklist/add; 4601 if the number is already listed."""
    phone = account.phone(params.text("phone"))
    if phone in account.blacklist:
        raise ApiError(4601)
    return {"success": True, "id": account.block(phone)}


async def blacklist_check(account: Account, params: Params) -> Document:
    """blacklist/check."""
    return {"exists": account.phone(params.text("phone")) in account.blacklist}


async def blacklist_index(account: Account, params: Params) -> Document:
    """blacklist/index: a page of it, or one number's entry."""
    wanted = params.text("phone")
    listed = list(account.blacklist if wanted is None else {account.phone(wanted)} & account.blacklist.keys())
    items = [{"phone": phone, "added": account.stamp(account.blacklist[phone][1])} for phone in listed]
    return _paged(items, params)


def _paged(items: list[Document], params: Params) -> Document:
    """The requested page; ``paging.count`` is how many there are (clients)."""
    limit, page = max(1, params.number("limit", _PAGE)), max(1, params.number("page", 1))
    paging = {"page": page, "count": max(1, -(-len(items) // limit))}
    return {"paging": paging, "items": items[(page - 1) * limit : page * limit]}


async def blacklist_delete(account: Account, params: Params) -> Document:
    """blacklist/delete; 4602 if the number is not listed."""
    if account.blacklist.pop(account.phone(params.text("phone")), None) is None:
        raise ApiError(4602)
    return {"success": True}


async def phone_test(_: Account, params: Params) -> Document:
    """phones/test: whether a number is written correctly."""
    return {"correct": normalised(params.text("phone") or "") is not None}


async def not_sent(*_: object) -> Document:
    """messages/send_nd and send_ndi: answers to text messages, of which an MMS account has none (clients' tests)."""
    return {"success": False}


async def received(account: Account, params: Params) -> Document:
    """messages/recived, and received, as newer clients spell it: incoming answers, newest first.

    With ``read`` the messages are shown once and never again (incoming messages page).
    """
    wanted = {normalised(phone) or phone for phone in params.many("phone")}
    if params.text("type") not in (None, "eco"):
        return _paged([], params)
    came = [one for one in reversed(account.incoming) if not one.is_read and (not wanted or one.phone in wanted)]
    document = _paged([_answer(account, one) for one in came], params)
    if params.flag("read"):
        shown = {item["id"] for item in document["items"]}
        for one in came:
            one.is_read = one.id in shown
    return document


def _answer(account: Account, came: Incoming) -> Document:
    return {
        "id": came.id,
        "type": "eco",
        "phone": came.phone,
        "recived": account.stamp(came.at),
        "message_id": came.message_id,
        "blacklist": came.blacklisted,
        "text": came.text,
    }
