"""Probing an account: what we rely on is tried, shown, and kept in the ledger for the code that relies on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from posthorn.content.plain import plain
from posthorn.delivery.running.place import known_of
from posthorn.errors import InputError
from posthorn.gateways import registry
from posthorn.gateways.descriptor import Descriptor
from posthorn.gateways.probing import ProbeOrder
from posthorn.ledger import accounts
from posthorn.ledger.accounts import AccountFinding
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Known, Observation, Phone, Verdict
from posthorn.privatefile import written_privately
from posthorn.settings import Settings

_MAX_SEEN = 300


def probed(gateway: str | None, settings: Settings) -> list[Descriptor]:
    """The gateways to probe: the one that is named, or all that have credentials.

    Raises:
        InputError: none of that name can be probed, or none has credentials.
    """
    those = [one for one in registry.GATEWAYS if one.probe is not None and gateway in (None, one.name)]
    if not those:
        names = ", ".join(one.name for one in registry.GATEWAYS if one.probe is not None)
        raise InputError("--gateway", f"expected one that can be probed: {names}")
    ready = [one for one in those if gateway is not None or one.account(settings).has_credentials]
    if not ready:
        raise InputError("credentials", f"none are set: {'; '.join(one.credentials for one in those)}")
    return ready


async def probe(
    descriptor: Descriptor,
    settings: Settings,
    *,
    test_number: Phone | None = None,
    send_to: Phone | None = None,
    **more: Any,
) -> list[Observation]:
    """Probe the account, and keep what was found out. ``more`` is what ``ProbeOrder`` takes beside the numbers.

    Sends only to the given numbers: with ``test=true`` to the first, for real to the second.

    Raises:
        SettingsError: credentials are missing.
        GatewayError: the account cannot be used at all.
    """
    assert descriptor.probe is not None
    order = ProbeOrder(test_number=test_number, send_to=send_to, **more)
    found = [observation async for observation in descriptor.probe(settings, order)]
    _keep(descriptor, settings, found)
    return found


@contextmanager
def recording(descriptors: Sequence[Descriptor], settings: Settings, save: Path | None) -> Iterator[Any]:
    """A tap that keeps every exchange, masked, and writes it even if an error ends the block; None without a file.

    Raises:
        InputError: the file cannot be written.
    """
    if save is None:
        yield None
        return
    from posthorn.gateways.record import Record  # httpx, which nobody else here needs

    record = Record(secret for one in descriptors for secret in one.secrets(settings))
    with written_privately(save) as file:  # find out that it cannot be written before anything is asked
        problem: Exception | None = None
        try:
            yield record.keep
        except Exception as error:  # noqa: BLE001 - an exchange that failed is what is to be looked at
            problem = error
        file.writelines(record.lines())
    if problem is not None:
        raise problem


def _keep(descriptor: Descriptor, settings: Settings, found: Sequence[Observation]) -> None:
    """What is certain now; what could not be told leaves the older knowledge in place."""
    key = descriptor.account(settings).key
    ledger = Ledger(settings.database_url)
    try:
        for one in found:
            if one.verdict is not Verdict.UNCLEAR:
                accounts.keep(ledger, descriptor.name, key, one.subject, verdict=one.verdict, value=one.value, seen=one.seen)
    finally:
        ledger.close()


def as_json(descriptor: Descriptor, found: Sequence[Observation]) -> list[dict[str, str]]:
    """The same for scripts."""
    return [{"gateway": descriptor.name, **asdict(one)} for one in found]


def hold_words(ledger: Ledger, descriptor: Descriptor, settings: Settings) -> tuple[bool, str]:
    """Whether it is proven for this account that it keeps and withdraws messages; also in words."""
    found = known_of(ledger, descriptor, descriptor.account(settings)).get(Known.HOLD)
    if found is not None and found.verdict == Verdict.CONFIRMED:
        return True, f"proven for this account on {_day(found)}"
    if found is not None:
        return False, f"the probe of {_day(found)} saw otherwise: {plain(found.seen, most=_MAX_SEEN)}"
    return False, "inferred from the provider's pages; `posthorn account probe --send-to NUMBER` proves it"


def refuse_ignored_test(ledger: Ledger, descriptor: Descriptor, settings: Settings) -> None:
    """Refuse a test if a probe saw that the account sends what it should only check.

    Raises:
        InputError: it would go out.
    """
    found = known_of(ledger, descriptor, descriptor.account(settings)).get(Known.TEST_FREE)
    if found is not None and found.verdict == Verdict.OTHER:
        raise InputError(
            "test",
            f"the probe of {_day(found)} saw that this account sends even what is only to be checked (test = true);"
            " nothing was sent. Leave that line out to send for real, or probe again:"
            " posthorn account probe --test-number NUMBER",
        )


def known_words(settings: Settings, descriptor: Descriptor) -> list[AccountFinding]:
    """Everything that is known of the account, for `doctor`."""
    ledger = Ledger(settings.database_url)
    try:
        return list(known_of(ledger, descriptor, descriptor.account(settings)).values())
    finally:
        ledger.close()


def _day(found: AccountFinding) -> str:
    return f"{datetime.fromtimestamp(found.found_at).astimezone():%Y-%m-%d}"
