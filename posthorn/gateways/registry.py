"""The list of gateways: one line each. Imported when first used, so that a status needs no HTTP client."""

from __future__ import annotations

from posthorn.gateways.contract import CampaignGateway, TicketGateway
from posthorn.settings import Settings


def campaign_gateway(settings: Settings) -> CampaignGateway:
    """The gateway that sends campaigns.

    Raises:
        SettingsError: its credentials are missing; the message names the variables.
    """
    from posthorn.gateways.serwersms import SerwerSms  # noqa: PLC0415

    return SerwerSms(settings.serwersms)


def ticket_gateway(settings: Settings) -> TicketGateway:
    """The gateway that sends tickets.

    Raises:
        SettingsError: its key is missing; the message names the variable.
    """
    from posthorn.gateways.skycore import Skycore  # noqa: PLC0415

    return Skycore(settings.skycore)


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
