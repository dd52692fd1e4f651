"""The small actions beside sending: stored content and subscriptions."""

from __future__ import annotations

from posthorn.sandbox.skycore.account import Account
from posthorn.sandbox.skycore.answers import Fields, Xml, element
from posthorn.sandbox.skycore.errors import ApiError
from posthorn.sandbox.skycore.params import Params


def mms_ids(account: Account, _: Params) -> Fields:
    """getMmsIds: the ids of the stored MMS with commas between them; E200 if there are none."""
    if not account.options.templates:
        raise ApiError("E200")
    return [("MMSIDS", ",".join(template.mms_id for template in account.options.templates))]


def mms_campaigns(account: Account, _: Params) -> Fields:
    """getMmsCampaigns: id and name of each; E405 if there are none."""
    if not account.options.campaigns:
        raise ApiError("E405")
    listed = [
        element("CAMPAIGN", Xml(element("ID", campaign_id) + element("NAME", name)))
        for campaign_id, name in account.options.campaigns.items()
    ]
    return [("MMSCAMPAIGNS", Xml("".join(listed)))]


def subscribe(account: Account, params: Params) -> Fields:
    """subscribe; E904 for a number that opted out itself."""
    campaign, mobile = _subscription(account, params)
    if mobile in account.opted_out:
        raise ApiError("E904")
    account.joined.add(mobile)
    account.left.discard(mobile)
    return [("CAMPAIGNID", campaign), ("MOBILE", mobile)]


def unsubscribe(account: Account, params: Params) -> Fields:
    """unsubscribe; E905 for a number that is not subscribed."""
    campaign, mobile = _subscription(account, params)
    if not account.is_subscribed(mobile):
        raise ApiError("E905")
    account.joined.discard(mobile)
    account.left.add(mobile)
    return [("CAMPAIGNID", campaign), ("MOBILE", mobile)]


def _subscription(account: Account, params: Params) -> tuple[str, str]:
    campaign, mobile = params.get("campaignid"), params.get("mobile")
    if not mobile:
        raise ApiError("E901")
    if not campaign:
        raise ApiError("E902")
    if campaign not in account.options.campaigns:
        raise ApiError("E903")
    return campaign, mobile
