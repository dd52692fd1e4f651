"""Skycore as everybody else sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from posthorn.content.stopwords import StopWords
from posthorn.gateways.contract import TicketGateway
from posthorn.gateways.descriptor import Account, Descriptor, Reader, Route, account_key
from posthorn.gateways.probing import ProbeOrder
from posthorn.gateways.skycore.bounds import BOUNDS, MAX_POSTBACK_BYTES
from posthorn.models import Kind, Observation, TicketRequest
from posthorn.settings import Settings


def _account(settings: Settings) -> Account:
    ours = settings.skycore
    return Account(
        base_url=ours.base_url,
        has_credentials=bool(ours.api_key and ours.api_key.get_secret_value()),
        concurrency=ours.concurrency,
        account_concurrency=ours.account_concurrency,
        breaker_after=ours.breaker_after,
        timeout_seconds=ours.timeout_seconds,
        min_interval_seconds=ours.min_interval_seconds,
        key=account_key(ours.base_url, ours.api_key.get_secret_value().strip() if ours.api_key else ""),
        price_per_message=ours.price_per_message,
    )


def _open(settings: Settings) -> TicketGateway:
    from posthorn.gateways.skycore.client import Skycore  # httpx, which a status does not need

    return Skycore(settings.skycore, proxy=settings.proxy_for(settings.skycore.base_url))


def _code_words(code: str) -> str:
    """Empty for a reason that is in words already, or not known."""
    from posthorn.gateways.skycore.codes import CODES  # see above

    return CODES[code].meaning if code in CODES else ""


def _check_ticket(request: TicketRequest) -> None:
    from posthorn.gateways.skycore import requests  # see above

    requests.ticket(request)


def _postbacks(settings: Settings) -> Reader:
    from posthorn.gateways.skycore.postbacks import reader  # see above

    return reader(StopWords(settings.stop_words))


def _probe(settings: Settings, order: ProbeOrder) -> AsyncIterator[Observation]:
    from posthorn.gateways.skycore.probe import observations  # see above

    return observations(settings, order)


def _secrets(settings: Settings) -> Sequence[str]:
    return [settings.skycore.api_key.get_secret_value().strip()] if settings.skycore.api_key else []


SKYCORE = Descriptor(
    name="skycore",
    title="Skycore",
    kind=Kind.EVENT,
    account=_account,
    open=_open,
    variables="POSTHORN_SKYCORE",
    credentials="POSTHORN_SKYCORE__API_KEY",
    bounds=BOUNDS,
    code_words=_code_words,
    check_ticket=_check_ticket,
    blacklisted_codes=("E114",),
    probe=_probe,
    secrets=_secrets,
    routes=(Route(path="skycore", methods=("POST",), max_bytes=MAX_POSTBACK_BYTES, open=_postbacks, what="postback"),),
)
