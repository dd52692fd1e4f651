"""What a Skycore account really does, as far as free calls tell: the transports, its templates and campaigns.

It never sends anything: each ticket costs money, and there is no way to have a send only checked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from posthorn.errors import CredentialsRefused, GatewayError, Unreachable
from posthorn.gateways.probing import ProbeOrder, Reliance
from posthorn.gateways.skycore.client import CAMPAIGNS, TEMPLATES, Skycore
from posthorn.models import Observation
from posthorn.settings import Settings

_POST = Reliance("post", "the request is taken as XML in a form field", "overview page of 2013")
_RAW = Reliance("raw", "the request is taken as XML in the body", "the vendor's latest introduction")
_GET = Reliance("get", "the request is taken as a query string", "sendMMSBarcode page")
_TEMPLATES = Reliance("templates", "getMmsIds lists the stored MMS", "method page")
_CAMPAIGNS = Reliance("campaigns", "getMmsCampaigns lists the campaigns", "method page")
_BARCODE = Reliance("barcode", "a stored MMS holds a barcode", "sendMMSBarcode page, E633")
_REPEATED = Reliance("repeated_code", "the same code twice is sent twice", "inferred: no page knows of a refusal")


async def observations(settings: Settings, order: ProbeOrder) -> AsyncIterator[Observation]:
    """Everything that can be asked for free, one after the other.

    Raises:
        SettingsError: the API key is missing.
        CredentialsRefused, Unreachable: the account cannot be used at all.
    """
    yield await _transported(settings, order, "post", _POST)
    yield await _transported(settings, order, "raw", _RAW)
    yield _GET.unclear("not tried: the key would stand in the address, and in logs")
    async with _opened(settings, order, settings.skycore.transport) as gateway:
        yield await _listed(gateway, TEMPLATES, _TEMPLATES, "stored MMS")
        yield await _listed(gateway, CAMPAIGNS, _CAMPAIGNS, "campaigns")
    yield _BARCODE.unclear("cannot tell without a ticket: the first one does (E633)")
    yield _REPEATED.unclear("cannot tell without two tickets")


def _opened(settings: Settings, order: ProbeOrder, transport: Literal["post", "raw", "get"]) -> Skycore:
    ours = settings.skycore.model_copy(update={"transport": transport})
    return Skycore(ours, proxy=settings.proxy_for(ours.base_url), tap=order.tap)


async def _transported(
    settings: Settings, order: ProbeOrder, transport: Literal["post", "raw"], reliance: Reliance
) -> Observation:
    async with _opened(settings, order, transport) as gateway:
        try:
            await gateway.listed(*TEMPLATES)
        except (CredentialsRefused, Unreachable):
            raise
        except GatewayError as error:
            return reliance.failed(error)
        return reliance.confirmed("getMmsIds answers")


async def _listed(gateway: Skycore, question: tuple[str, tuple[str, ...]], reliance: Reliance, what: str) -> Observation:
    try:
        found = await gateway.listed(*question)
    except GatewayError as error:
        return reliance.failed(error)
    return reliance.judged(bool(found), f"{what}: {len(found):,}")
