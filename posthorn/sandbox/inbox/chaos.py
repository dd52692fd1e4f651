"""Faults that are switched on by hand or by the clock: presets, one switch per fault, and a schedule from a file."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from posthorn.sandbox.faults import FaultError, parse_rule

if TYPE_CHECKING:
    from posthorn.sandbox.server import Sandbox

CALLS = ("*", "messages/send_mms", "messages/reports", "files/add", "files/index", "account/limits", "sendMMSBarcode")
_SENDS = ("messages/send_mms", "sendMMSBarcode")
_LEFT = 10
_MAX_SECONDS = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Preset:
    """Several faults under one name. ``credit`` is how many messages may still be sent; None leaves it unchanged."""

    says: str
    rules: tuple[dict[str, Any], ...] = ()
    credit: int | None = None


PRESETS: dict[str, Preset] = {
    "a bad night": Preset(
        "A bit of everything: 502s, lost answers, a 503, waits.",
        (
            {"fault": "status_before", "status": 503, "retry_after": "1", "probability": 0.05, "seed": 1},
            {"fault": "status_after", "status": 502, "probability": 0.04, "seed": 2},
            {"fault": "close_after", "probability": 0.04, "seed": 3},
            {"fault": "late", "seconds": 2, "probability": 0.05, "seed": 4},
        ),
    ),
    "provider down": Preset("Every request is answered with 503.", ({"fault": "status_before", "status": 503},)),
    "answers lost": Preset(
        "Every third send is taken, and its answer never comes.",
        tuple({"fault": "close_after", "call": call, "every": 3} for call in _SENDS),
    ),
    "slow": Preset("Every request takes two seconds.", ({"fault": "late", "seconds": 2},)),
    "credit runs out": Preset(f"Both accounts may send {_LEFT} more.", credit=_LEFT),
}
"""By name."""


def use_preset(box: Sandbox, name: str) -> None:
    """Replace all faults by those of a preset.

    Raises:
        FaultError: there is no such preset.
    """
    preset = PRESETS.get(name)
    if preset is None:
        raise FaultError(f"preset: {name!r} is unknown; expected one of {', '.join(PRESETS)}")
    box.faults.replace(preset.rules)
    if preset.credit is not None:
        box.serwersms.set_credit(preset.credit, None)
        box.skycore.account.change({"credit": preset.credit})


def switch(box: Sandbox, given: Mapping[str, Any]) -> bool:
    """Add a rule, or remove the rules of its fault and call if there are any; returns whether the fault is on now.

    Raises:
        FaultError: the rule cannot be understood.
    """
    rule = parse_rule(given)
    kept = [known for known in box.faults.rules if known.name != rule.name]
    if len(kept) < len(box.faults.rules):
        box.faults.rules = kept
        return False
    box.faults.add(given)
    return True


class Schedule:
    """Timed changes: a list of ``{"at": seconds since the start, …}``.

    Each entry has some of ``rules``, ``preset``, ``credit`` and ``clock`` (``speed``, ``advance_seconds``).

    Raises:
        FaultError: it is not such a list.
    """

    def __init__(self, moments: object = ()) -> None:
        if not isinstance(moments, list | tuple):
            raise FaultError("schedule: expected a JSON list")
        self._moments = sorted((_checked(moment) for moment in moments), key=lambda moment: float(moment["at"]))

    async def run(self, box: Sandbox) -> None:
        """Apply each entry at its moment. Ends after the last one."""
        passed = 0.0
        for moment in self._moments:
            await asyncio.sleep(max(0.0, float(moment["at"]) - passed))
            passed = float(moment["at"])
            apply(box, moment)


def apply(box: Sandbox, moment: Mapping[str, Any]) -> None:
    """Apply one entry of a schedule now."""
    if "preset" in moment:
        use_preset(box, moment["preset"])
    if "rules" in moment:
        box.faults.replace(moment["rules"])
    if "credit" in moment:
        box.serwersms.set_credit(moment["credit"], None)
    box.move_clock(moment.get("clock", {}))


_KEYS = {"at", "preset", "rules", "credit", "clock"}


def _checked(moment: object) -> Mapping[str, Any]:
    at = moment.get("at") if isinstance(moment, Mapping) else None
    if not isinstance(moment, Mapping) or not isinstance(at, int | float) or not 0 <= at <= _MAX_SECONDS:
        raise FaultError('schedule: expected {"at": seconds, …} in each place')
    if unknown := sorted(set(moment) - _KEYS):
        raise FaultError(
            f"schedule: {', '.join(map(str, unknown))}: no such key; expected some of {', '.join(sorted(_KEYS))}"
        )
    if "preset" in moment and moment["preset"] not in PRESETS:
        raise FaultError(f"schedule: preset {moment['preset']!r} is unknown; expected one of {', '.join(PRESETS)}")
    rules, clock = moment.get("rules", []), moment.get("clock", {})
    if not isinstance(rules, list | tuple) or not isinstance(clock, Mapping):
        raise FaultError("schedule: expected a list as rules, an object as clock")
    for rule in rules:
        parse_rule(rule)
    if not all(isinstance(value, int | float) and 0 <= value < math.inf for value in clock.values()):
        raise FaultError("schedule: clock: expected numbers from zero on")
    if not isinstance(moment.get("credit", 0), int | None):
        raise FaultError("schedule: credit: expected a whole number, or null")
    return moment
