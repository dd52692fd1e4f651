"""Pulling opt-outs: numbers that, as the providers know, want no messages go onto the suppression list. Sends nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from posthorn.content.stopwords import StopWords
from posthorn.errors import AlreadyRunning, GatewayError, InputError
from posthorn.gateways import registry
from posthorn.gateways.contract import OptOutSource
from posthorn.gateways.descriptor import Descriptor
from posthorn.ledger import refusals, suppression
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import OptOut
from posthorn.settings import Settings, SettingsError, load_settings

AGAIN_SECONDS = 86_400.0
"""Answers of the day before the last pull are read again: they may have come late, and a second reading changes nothing."""

_LOCK = "opt-outs"


@dataclass(slots=True)
class PulledOptOuts:
    """What a pull did: which gateways were asked, how many entries they told of, how many are new.

    ``refused`` is how many are new because of refusals in the ledger. ``problems`` says which gateway could not be asked.
    """

    asked: list[str] = field(default_factory=list)
    told: int = 0
    new: int = 0
    refused: int = 0
    problems: list[str] = field(default_factory=list)


async def pull_opt_outs(settings: Settings | None = None, clock: Callable[[], float] = time.time) -> PulledOptOuts:
    """Ask every gateway that can tell and whose credentials are set. What one has told stays although another fails.

    Raises:
        AlreadyRunning: another process is at it.
    """
    settings, pulled = settings or load_settings(), PulledOptOuts()
    with open_ledger(settings) as ledger, ledger.locks.hold(_LOCK) as held:
        if not held:
            raise AlreadyRunning("the opt-outs are being pulled already, by another process")
        pulled.refused = await asyncio.to_thread(take_refusals, ledger)
        for descriptor in registry.GATEWAYS:
            if descriptor.tells_opt_outs and descriptor.account(settings).has_credentials:
                pulled.asked.append(descriptor.name)
                try:
                    await _pull(settings, ledger, descriptor, pulled, clock())
                except (GatewayError, InputError, SettingsError) as error:
                    pulled.problems.append(f"{descriptor.title}: {error}")
    return pulled


async def _pull(settings: Settings, ledger: Ledger, descriptor: Descriptor, pulled: PulledOptOuts, now: float) -> None:
    last = refusals.pulled_at(ledger).get(descriptor.name)
    since = None if last is None else datetime.fromtimestamp(last - AGAIN_SECONDS, UTC)
    gateway: Any = descriptor.open(settings)
    source: OptOutSource = gateway
    try:
        async for page in source.opt_outs(since=since, stop_words=StopWords(settings.stop_words)):
            pulled.told += len(page)
            pulled.new += await asyncio.to_thread(suppression.add_unknown, ledger, page, by=descriptor.name)
    finally:
        await gateway.aclose()
    refusals.note_pulled(ledger, descriptor.name, now)


def take_refusals(ledger: Ledger) -> int:
    """Put numbers on the list that a provider has called blacklisted when it refused a message; returns how many."""
    found = unheard_refusals(ledger)
    return suppression.add(ledger, found, by="posthorn") if found else 0


def unheard_refusals(ledger: Ledger) -> list[OptOut]:
    """Those numbers that are not on the list yet."""
    return [
        one
        for descriptor in registry.GATEWAYS
        for one in refusals.refused(ledger, descriptor.name, descriptor.blacklisted_codes)
    ]
