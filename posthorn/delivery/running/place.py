"""What work at a provider needs, with or without a delivery: its gateway, its account, and the ledger.

A run is such a place. What an operator does there by hand (files, limits, a probe) opens one without a delivery.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from posthorn.errors import InputError
from posthorn.gateways import registry
from posthorn.gateways.contract import CampaignGateway
from posthorn.gateways.descriptor import Account, Descriptor
from posthorn.ledger import accounts
from posthorn.ledger.accounts import AccountFinding
from posthorn.ledger.deliveries import PlannedCampaign
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Known, Verdict
from posthorn.settings import Settings, load_settings

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Place(Protocol):
    """Where something is done at a provider."""

    @property
    def descriptor(self) -> Descriptor:
        """What everybody may know of the gateway."""

    @property
    def account(self) -> Account:
        """The account of the settings."""

    @property
    def gateway(self) -> CampaignGateway:
        """The gateway, opened."""

    async def do(self, verb: Callable[Concatenate[Ledger, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run one of the ledger's verbs."""


class AtCampaign(Place, Protocol):
    """A place where something is done for a campaign: a run, or a proof."""

    @property
    def delivery(self) -> PlannedCampaign:
        """What it is done for."""


@dataclass(frozen=True, slots=True)
class AtProvider:
    """A place without a delivery."""

    settings: Settings
    descriptor: Descriptor
    account: Account
    gateway: Any
    ledger: Ledger

    async def do(self, verb: Callable[Concatenate[Ledger, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run one of the ledger's verbs in this thread: nothing else is under way."""
        return verb(self.ledger, *args, **kwargs)


def able(name: str | None, has: Callable[[Descriptor], object], what: str) -> Descriptor:
    """The gateway of that name; without a name, the first that can do it.

    Raises:
        InputError: it cannot do it, or there is none of that name. The message names those that can.
    """
    those = [one for one in registry.GATEWAYS if has(one)]
    for one in those:
        if name is None or one.name == name:
            return one
    raise InputError("--gateway", f"expected one that {what}: {', '.join(one.name for one in those) or 'none does'}")


@asynccontextmanager
async def at(descriptor: Descriptor) -> AsyncIterator[AtProvider]:
    """Open the gateway of the settings, and the ledger.

    Raises:
        SettingsError: credentials are missing.
    """
    settings = load_settings()
    gateway = descriptor.open(settings)
    try:
        ledger = Ledger(settings.database_url)
        try:
            yield AtProvider(settings, descriptor, descriptor.account(settings), gateway, ledger)
        finally:
            ledger.close()
    finally:
        await gateway.aclose()


def account_of(ledger: Ledger, descriptor: Descriptor, settings: Settings) -> Account:
    """The account of the settings, with what a probe has found out: how its clock goes, whether it takes messages back."""
    account = descriptor.account(settings)
    known = known_of(ledger, descriptor, account)
    if Known.HOLD in known and known[Known.HOLD].verdict == Verdict.OTHER:
        account = replace(account, takes_back=False)
    clocks = [known[one] for one in (Known.FILE_CLOCK, Known.CLOCK) if one in known and known[one].value]
    if not clocks:
        return account
    newest = max(clocks, key=lambda one: one.found_at)
    return replace(account, clock_offset_seconds=float(newest.value))


def known_of(ledger: Ledger, descriptor: Descriptor, account: Account) -> Mapping[str, AccountFinding]:
    """What is known of the account, by subject."""
    return accounts.findings(ledger, descriptor.name, account.key)
