"""Faults on demand: which request of which call goes wrong, and how. ``wire.py`` carries them out.

A rule is a JSON object, or has the short form ``reset_after@messages/send_mms:2``. Requests are counted per rule, from 1,
starting when the rules were set.
"""

from __future__ import annotations

import enum
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any


class Stage(enum.Enum):
    """The stage at which a fault strikes."""

    BEFORE = "instead of the work: nothing is done"
    AFTER = "the work is done, then the answer is spoiled"
    PROVIDER = "the provider's own code does less, more, or says something else"


FAULTS: dict[str, Stage] = {
    # The connection.
    "reset_before": Stage.BEFORE,
    "close_before": Stage.BEFORE,
    "hang_before": Stage.BEFORE,
    "reset_after": Stage.AFTER,
    "close_after": Stage.AFTER,
    "hang_after": Stage.AFTER,
    "close_idle": Stage.AFTER,
    "late": Stage.AFTER,
    # The HTTP answer.
    "status_before": Stage.BEFORE,
    "redirect": Stage.BEFORE,
    "status_after": Stage.AFTER,
    "truncated": Stage.AFTER,
    "truncated_chunked": Stage.AFTER,
    "truncated_no_length": Stage.AFTER,
    "drip": Stage.AFTER,
    # The body.
    "empty": Stage.AFTER,
    "null": Stage.AFTER,
    "html": Stage.AFTER,
    "garbage_charset": Stage.AFTER,
    "bad_gzip": Stage.AFTER,
    "bom": Stage.AFTER,
    "huge": Stage.AFTER,
    # What the provider says and does.
    "error_code": Stage.PROVIDER,
    "error_code_after": Stage.PROVIDER,
    "success_without_trackingid": Stage.PROVIDER,
    "prefix_then_status": Stage.PROVIDER,
    "credit_midway": Stage.PROVIDER,
    "item_error": Stage.PROVIDER,
    "lie_queued": Stage.PROVIDER,
    "missing_items": Stage.PROVIDER,
    "duplicate_item": Stage.PROVIDER,
    "foreign_item": Stage.PROVIDER,
    "items_dict": Stage.PROVIDER,
    "items_null": Stage.PROVIDER,
    "no_items": Stage.PROVIDER,
    "bare_phones": Stage.PROVIDER,
    "unfiltered": Stage.PROVIDER,
    "lie_withdrawn": Stage.PROVIDER,
    "withdrawn_uncounted": Stage.PROVIDER,
    # Listings of several pages, while they are read.
    "page_repeats": Stage.PROVIDER,
    "page_empty": Stage.PROVIDER,
    "page_added": Stage.PROVIDER,
    "rows_moved": Stage.PROVIDER,
    "no_ids": Stage.PROVIDER,
}
"""Every fault by name. ``late`` waits ``seconds`` and then does the work, whether the client is still there or not.

Listings: ``page_repeats`` shows the first page instead of the requested one, ``page_empty`` shows nothing, ``page_added``
counts one page too many, ``rows_moved`` begins ``items`` rows further on, ``no_ids`` leaves out the ids of ``items`` rows,
``unfiltered`` lists everything, whatever ids and numbers are asked for.

Withdrawals: ``lie_withdrawn`` counts messages and leaves them, ``withdrawn_uncounted`` withdraws them and counts none.
"""

_CODE = re.compile(r"E?[0-9]{1,6}")


class FaultError(ValueError):
    """A rule that cannot be understood; the message names the part."""


@dataclass(slots=True)
class FaultRule:
    """One rule. Without ``at``, ``every`` and ``probability`` it strikes every request of its call.

    ``seconds`` is how long (hang, late: until; drip: between two bytes; close_idle: after the answer), ``status`` and
    ``retry_after`` shape HTTP answers, ``code`` is the provider's error (3004 or E713), ``items`` the number of items,
    ``mode`` is ``request`` or ``items`` (credit_midway), ``location`` the target of a redirect.
    """

    fault: str
    call: str = "*"
    at: tuple[int, ...] = ()
    every: int | None = None
    probability: float | None = None
    seed: int = 0
    times: int | None = None
    seconds: float | None = None
    status: int = 500
    retry_after: str | None = None
    code: str | None = None
    items: int = 1
    mode: str = "items"
    location: str | None = None
    size: int = 50_000_000
    seen: int = field(default=0, init=False)
    fired: int = field(default=0, init=False)
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.fault not in FAULTS:
            raise FaultError(f"fault: {self.fault!r} is unknown; expected one of {', '.join(FAULTS)}")
        if self.every is not None and self.every < 1:
            raise FaultError("every: expected 1 or more")
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise FaultError("probability: expected 0 to 1")
        if self.mode not in ("items", "request"):
            raise FaultError("mode: expected items or request")
        if self.code is not None and not _CODE.fullmatch(self.code):
            raise FaultError("code: expected a number, or E and a number")
        self._random = random.Random(self.seed)  # noqa: S311 - repeatable on purpose, protects nothing

    @property
    def stage(self) -> Stage:
        """The stage at which it strikes."""
        return FAULTS[self.fault]

    @property
    def name(self) -> str:
        """The rule's name in the truth: ``reset_after@messages/send_mms``."""
        return f"{self.fault}@{self.call}"

    def shown(self) -> dict[str, Any]:
        """The values that differ from the defaults, and how many requests it saw and struck."""
        given = {item.name: getattr(self, item.name) for item in _SETTABLE.values()}
        told = {name: value for name, value in given.items() if value != _SETTABLE[name].default}
        return {"fault": self.fault, "call": self.call, **told, "seen": self.seen, "fired": self.fired}

    @property
    def number(self) -> int | None:
        """The number in ``code``: 713 for E713."""
        return int(self.code.removeprefix("E")) if self.code else None

    def strikes(self, call: str) -> bool:
        """Count one request; returns whether this rule strikes it."""
        if self.call not in ("*", call):
            return False
        self.seen += 1
        # Drawn for each request, so that the same seed picks the same requests whatever other rules there are.
        drawn = self.probability is None or self._random.random() < self.probability
        if self.times is not None and self.fired >= self.times:
            return False
        return drawn and (not self.at or self.seen in self.at) and (self.every is None or self.seen % self.every == 0)


_SETTABLE = {item.name: item for item in fields(FaultRule) if item.init}
_WHOLE = ("every", "seed", "times", "status", "items", "size")


def parse_rule(rule: Mapping[str, Any] | str) -> FaultRule:
    """A rule from a JSON object or the short form ``fault@call[:2,5][:key=value]…``.

    Raises:
        FaultError: an unknown fault or key, or a value of the wrong kind.
    """
    given = _from_short(rule) if isinstance(rule, str) else dict(rule)
    if unknown := sorted(set(given) - set(_SETTABLE)):
        raise FaultError(f"{', '.join(unknown)}: no such key; expected some of {', '.join(_SETTABLE)}")
    if "fault" not in given:
        raise FaultError("fault: missing")
    try:
        return FaultRule(**{key: _value(key, value) for key, value in given.items()})
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, FaultError) else FaultError(f"{given['fault']}: {error}") from error


def _from_short(text: str) -> dict[str, Any]:
    head, *parts = text.split(":")
    fault, _, call = head.partition("@")
    given: dict[str, Any] = {"fault": fault, "call": call or "*"}
    for part in parts:
        key, equals, value = part.partition("=")
        given[key if equals else "at"] = value if equals else part
    return given


def _value(key: str, value: Any) -> Any:
    if value is None:
        return None
    if key == "at":
        listed = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
        return tuple(int(ordinal) for ordinal in listed)
    if key in _WHOLE:
        return int(value)
    return float(value) if key in ("probability", "seconds") else str(value)


class FaultBook:
    """The rules in force."""

    def __init__(self, rules: Iterable[Mapping[str, Any] | str] = ()) -> None:
        self.rules: list[FaultRule] = []
        self.replace(rules)

    def replace(self, rules: Iterable[Mapping[str, Any] | str]) -> None:
        """Replace the rules; the new ones count from zero.

        Raises:
            FaultError: one of them cannot be understood; the old rules stay.
        """
        self.rules = [parse_rule(rule) for rule in rules]

    def add(self, rule: Mapping[str, Any] | str) -> None:
        """Add a rule that counts from now on.

        Raises:
            FaultError: it cannot be understood.
        """
        self.rules = [*self.rules, parse_rule(rule)]

    def remove(self, place: int) -> None:
        """Remove the rule at a place of ``rules``.

        Raises:
            FaultError: there is no such rule.
        """
        if not 0 <= place < len(self.rules):
            raise FaultError(f"rule {place}: there are {len(self.rules)}")
        self.rules = [rule for position, rule in enumerate(self.rules) if position != place]

    def draw(self, call: str) -> FaultRule | None:
        """The rule that strikes this request: the first that matches. Every rule counts the request."""
        if not self.rules:
            return None
        wanting = [rule for rule in self.rules if rule.strikes(call)]
        if not wanting:
            return None
        wanting[0].fired += 1
        return wanting[0]

    def fired(self) -> dict[str, int]:
        """How often each rule struck; rules with the same name are added up."""
        counts: dict[str, int] = {}
        for rule in self.rules:
            counts[rule.name] = counts.get(rule.name, 0) + rule.fired
        return counts
