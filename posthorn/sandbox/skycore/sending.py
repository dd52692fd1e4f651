"""The action sendMMSBarcode: what it refuses, in which order, and what it takes. It never recognises a repeated request.

Source: the sendMMSBarcode page; the order is the SDK's up to the barcode and our own after it.
"""

from __future__ import annotations

import re

from posthorn.sandbox.skycore.account import Account
from posthorn.sandbox.skycore.answers import Fields
from posthorn.sandbox.skycore.errors import ApiError
from posthorn.sandbox.skycore.lifecycle import share_of
from posthorn.sandbox.skycore.options import Template
from posthorn.sandbox.skycore.params import Params
from posthorn.sandbox.skycore.tickets import Ticket

# Country code and number, digits only (Appendix D); the length is E.164's.
_NUMBER = re.compile(r"[1-9][0-9]{6,14}")
_MANY_NUMBERS = 100
_MANDATORY = frozenset({"action", "api_key", "mmsid", "to", "from", "barcodeid", "campaignref"})


def send(account: Account, params: Params, request: int) -> tuple[Fields, Ticket]:
    """Check sendMMSBarcode, the request of that number; returns the answer and the ticket to store.

    Raises:
        ApiError: the ticket is refused.
    """
    account.admit_send()
    template = _template(account, params.get("mmsid"))
    to = _number(params.get("to"))
    if not params.get("barcodeid"):
        raise ApiError("E631")
    if params.get("from") not in account.options.shortcodes:
        raise ApiError("E111")
    _check_content(account, template)
    _check_campaign(account, params.get("campaignref"), to)
    _check_recipient(account, to)
    account.charge()
    ticket = _ticket(account, params, request)
    return [("MMSID", ticket.mms_id), ("TRACKINGID", ticket.tracking_id), ("TO", to)], ticket


def _template(account: Account, mms_id: str | None) -> Template:
    if not mms_id:
        raise ApiError("E620")
    template = account.template(mms_id)
    if template is None:
        raise ApiError("E241")
    return template


def _number(to: str | None) -> str:
    if not to:
        raise ApiError("E621")
    if to.count(",") >= _MANY_NUMBERS:
        raise ApiError("E623")
    if not _NUMBER.fullmatch(to):
        raise ApiError("E110")
    return to


def _check_content(account: Account, template: Template) -> None:
    if not template.has_barcode:
        raise ApiError("E633")
    if account.is_encoding(template):
        raise ApiError("E626")


def _check_campaign(account: Account, campaign_ref: str | None, to: str) -> None:
    """A campaign that is named must exist; only if the account enforces it must it be named and the number subscribed."""
    is_enforced = account.options.enforce_campaign_check
    if (is_enforced or campaign_ref) and campaign_ref not in account.options.campaigns:
        raise ApiError("E714")
    if is_enforced and not account.is_subscribed(to):
        raise ApiError("E715")


def _check_recipient(account: Account, to: str) -> None:
    options = account.options
    if to in options.blacklist:
        raise ApiError("E114")
    if to in options.unsupported or (options.unsupported_share and share_of(options.seed, to) < options.unsupported_share):
        raise ApiError("E628")


def _ticket(account: Account, params: Params, request: int) -> Ticket:
    number, tracking_id = account.tickets.new_id()
    return Ticket(
        number=number,
        tracking_id=tracking_id,
        to=params["to"],
        barcode=params["barcodeid"],
        mms_id=params["mmsid"],
        sender=params["from"],
        campaign_ref=params.get("campaignref") or None,
        data={name: value for name, value in params.items() if name not in _MANDATORY},
        taken_at=account.clock.age(),
        accepted=account.clock.wall(),
        request=request,
        nth=account.tickets.nth((params["to"], params["barcodeid"])),
    )
