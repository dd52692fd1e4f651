"""The list of gateways: one line each. Imported when first used, so that a status needs no HTTP client."""

from __future__ import annotations

from posthorn.gateways.contract import CampaignGateway, TicketGateway
from posthorn.models import TicketRequest
from posthorn.settings import Settings


def campaign_gateway(settings: Settings) -> CampaignGateway:
    """The gateway that sends campaigns.

    Raises:
        SettingsError: its credentials are missing; the message names the variables.
    """
    from posthorn.gateways.serwersms.client import SerwerSms  # noqa: PLC0415

    return SerwerSms(settings.serwersms, proxy=settings.proxy_for(settings.serwersms.base_url))


def ticket_gateway(settings: Settings) -> TicketGateway:
    """The gateway that sends tickets.

    Raises:
        SettingsError: its key is missing; the message names the variable.
    """
    from posthorn.gateways.skycore.client import Skycore  # noqa: PLC0415

    return Skycore(settings.skycore, proxy=settings.proxy_for(settings.skycore.base_url))


def check_campaign_gateway(settings: Settings) -> None:
    """Refuse early where the campaign gateway's credentials are missing.

    Raises:
        SettingsError: the message names the variables.
    """
    if not settings.serwersms.has_credentials():
        campaign_gateway(settings)


def check_ticket_gateway(settings: Settings) -> None:
    """Refuse early where the ticket gateway's key is missing.

    Raises:
        SettingsError: the message names the variable.
    """
    if not settings.skycore.api_key:
        ticket_gateway(settings)


def check_ticket(request: TicketRequest) -> None:
    """Refuse a ticket that the provider's parameters cannot hold.

    Raises:
        InputError: which value, and why.
    """
    from posthorn.gateways.skycore import requests as skycore_requests  # noqa: PLC0415

    skycore_requests.ticket(request)


def campaign_code_words(code: str) -> str:
    """What a code, or a report's reason, of the campaign gateway means; empty where that is not known."""
    from posthorn.gateways.serwersms.codes import CODES, REASONS  # noqa: PLC0415

    return CODES[int(code)].meaning if code.isdecimal() and int(code) in CODES else REASONS.get(code, "")


def ticket_code_words(code: str) -> str:
    """What a code of the ticket gateway means; empty for a reason that is in words already, or not known."""
    from posthorn.gateways.skycore.codes import CODES  # noqa: PLC0415

    return CODES[code].meaning if code in CODES else ""
