"""The list of gateways, one line each. Everybody else asks it and iterates; nobody else imports a provider."""

from __future__ import annotations

from collections.abc import Mapping

from posthorn.errors import InputError
from posthorn.gateways.descriptor import Descriptor
from posthorn.gateways.serwersms.descriptor import SERWERSMS
from posthorn.gateways.skycore.descriptor import SKYCORE
from posthorn.models import OUR_CODES, Bounds, Kind
from posthorn.settings import SettingsError

GATEWAYS: tuple[Descriptor, ...] = (
    SERWERSMS,
    SKYCORE,
)
"""The first of each kind is the default, for files that name none."""


def for_kind(kind: Kind) -> tuple[Descriptor, ...]:
    """The gateways for campaigns, or for events; the default one first."""
    return tuple(one for one in GATEWAYS if one.kind == kind)


def bounds_of(kind: Kind) -> Mapping[str, Bounds]:
    """The names that a file of that kind may give as its ``gateway``, with their bounds; the default one first."""
    return {one.name: one.bounds for one in for_kind(kind)}


def by_name(name: str) -> Descriptor:
    """The gateway that the ledger knows by that name.

    Raises:
        SettingsError: there is none (any more).
    """
    for one in GATEWAYS:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in GATEWAYS)
    raise SettingsError(f"the ledger names the gateway {name}, which this installation does not have (it has {known})")


def chosen(kind: Kind, name: str | None) -> Descriptor:
    """The gateway that a campaign or event file names, or the default one of its kind.

    Raises:
        InputError: there is none of that name for that kind.
    """
    gateways = for_kind(kind)
    for one in gateways:
        if name is None or one.name == name:
            return one
    raise InputError("gateway", f"expected one of {', '.join(one.name for one in gateways)}")


def code_words(gateway: str, code: str) -> str:
    """What a code or a report's reason means, of that gateway or our own; empty if that is not known."""
    if code in OUR_CODES:
        return OUR_CODES[code]
    return next((one.code_words(code) for one in GATEWAYS if one.name == gateway), "")
