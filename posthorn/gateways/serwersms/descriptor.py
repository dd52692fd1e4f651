"""SerwerSMS.pl as everybody else sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from posthorn.gateways.contract import CampaignGateway
from posthorn.gateways.descriptor import Account, Descriptor, Reader, Route, account_key
from posthorn.gateways.probing import ProbeOrder
from posthorn.gateways.serwersms.bounds import BOUNDS, FILE_TYPES
from posthorn.gateways.serwersms.encodings import ENCODINGS
from posthorn.models import Kind, Observation, Phone
from posthorn.prices import read_prices
from posthorn.settings import SerwerSmsSettings, Settings

_CALLBACK_BYTES = 16_384  # a callback is one short line of parameters


def _account(settings: Settings) -> Account:
    ours = settings.serwersms
    return Account(
        base_url=ours.base_url,
        has_credentials=ours.has_credentials(),
        concurrency=ours.concurrency,
        account_concurrency=ours.account_concurrency,
        breaker_after=ours.breaker_after,
        timeout_seconds=ours.timeout_seconds,
        chunk_size=ours.chunk_size,
        timezone=ours.timezone,
        settle_seconds=ours.settle_seconds,
        last_look_seconds=ours.last_look_seconds,
        price_per_message=ours.price_per_message,
        prices=read_prices(ours.prices) if ours.prices else {},
        key=account_key(ours.base_url, *_login(ours)),
        encodings=ENCODINGS if ours.upload == "auto" else (ours.upload,),
        test_number=Phone(int(ours.test_number.get_secret_value())) if ours.test_number else None,
    )


def _login(ours: SerwerSmsSettings) -> tuple[str, ...]:
    token = ours.token.get_secret_value().strip() if ours.token else ""
    return (token,) if token else ("", ours.username or "")


def _open(settings: Settings) -> CampaignGateway:
    from posthorn.gateways.serwersms.client import SerwerSms  # httpx, which a status does not need

    return SerwerSms(settings.serwersms, proxy=settings.proxy_for(settings.serwersms.base_url))


def _code_words(code: str) -> str:
    from posthorn.gateways.serwersms.codes import CODES, REASONS  # see above

    return CODES[int(code)].meaning if code.isdecimal() and int(code) in CODES else REASONS.get(code, "")


def _callbacks(settings: Settings) -> Reader:
    from posthorn.gateways.serwersms.callbacks import reader  # see above

    return reader(settings.serwersms.timezone)


def _probe(settings: Settings, order: ProbeOrder) -> AsyncIterator[Observation]:
    from posthorn.gateways.serwersms.probe import observations  # see above

    return observations(settings, order)


def _secrets(settings: Settings) -> Sequence[str]:
    ours = settings.serwersms
    kept = [secret.get_secret_value().strip() for secret in (ours.token, ours.password) if secret]
    return [*kept, ours.username or ""]


SERWERSMS = Descriptor(
    name="serwersms",
    title="SerwerSMS",
    kind=Kind.CAMPAIGN,
    account=_account,
    open=_open,
    variables="POSTHORN_SERWERSMS",
    credentials="POSTHORN_SERWERSMS__TOKEN (or USERNAME and PASSWORD)",
    bounds=BOUNDS,
    code_words=_code_words,
    routes=(
        Route(
            path="serwersms",
            methods=("GET", "POST"),
            max_bytes=_CALLBACK_BYTES,
            open=_callbacks,
            what="callback",
            query="id=#SMSID#&state=#STAN#&date=#DATA#&reason=#PRZYCZYNA#",
        ),
    ),
    looks_up=True,
    holds=True,
    withdraws=True,
    uploads=True,
    tests=True,
    file_types=FILE_TYPES,
    tells_account=True,
    tells_opt_outs=True,
    blacklisted_codes=("number_is_blacklisted",),
    probe=_probe,
    secrets=_secrets,
)
