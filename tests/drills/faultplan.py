"""What goes wrong in a drill's round: fault rules for the sandbox, drawn from a seed. Chooses, and does nothing."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from posthorn.sandbox.serwersms.options import Titles

SEND = "messages/send_mms"
REPORTS = "messages/reports"
MODES = ("plain", "resend", "hold")

Rule = dict[str, Any]

# Each strikes single sends at random; the sandbox has taken the messages, a part of them, or none.
_SEND_FAULTS: tuple[Rule, ...] = (
    {"fault": "reset_before"},
    {"fault": "reset_after"},
    {"fault": "close_before"},
    {"fault": "close_after"},
    {"fault": "hang_before"},
    {"fault": "hang_after"},
    {"fault": "close_idle"},
    *({"fault": f"status_{when}", "status": status} for status in (408, 500, 502, 504, 520) for when in ("before", "after")),
    *({"fault": f"status_{when}", "status": 429, "retry_after": "0"} for when in ("before", "after")),
    *({"fault": f"status_{when}", "status": 503, "retry_after": "0.1"} for when in ("before", "after")),
    {"fault": "truncated"},
    {"fault": "truncated_chunked"},
    {"fault": "truncated_no_length"},
    {"fault": "drip", "seconds": 0.3},
    {"fault": "empty"},
    {"fault": "null"},
    {"fault": "html"},
    {"fault": "garbage_charset"},
    {"fault": "bad_gzip"},
    {"fault": "bom"},
    {"fault": "missing_items", "items": 7},
    {"fault": "missing_items", "items": 1},
    {"fault": "duplicate_item"},
    {"fault": "foreign_item"},
    {"fault": "items_dict"},
    {"fault": "items_null"},
    {"fault": "no_items"},
    {"fault": "bare_phones"},
    {"fault": "item_error", "items": 3, "code": 3103},
    {"fault": "prefix_then_status", "items": 20, "status": 500},
    # After these everybody waits, so that more of them would only make the drill slow.
    {"fault": "error_code", "code": 1010, "times": 2},
    {"fault": "error_code_after", "code": 1010, "times": 2},
)

# Each stops a run, so it strikes a few times only and the next run goes on.
_STOPPING_FAULTS: tuple[Rule, ...] = (
    *({"fault": "error_code", "code": code} for code in (1009, 1011, 3005, 3100, 3109, 7777)),
    *({"fault": "error_code_after", "code": code} for code in (3100, 7777)),
    {"fault": "credit_midway", "items": 20},
    {"fault": "credit_midway", "items": 20, "mode": "request"},
    {"fault": "redirect", "location": "/messages/send_mms.json"},
    {"fault": "status_before", "status": 401},
    {"fault": "status_before", "status": 404},
)

# What a listing of several pages shows while it is read.
_PAGE_FAULTS: tuple[Rule, ...] = (
    {"fault": "page_repeats"},
    {"fault": "page_empty"},
    {"fault": "page_added"},
    {"fault": "rows_moved", "items": 3},
    {"fault": "no_ids", "items": 3},
)

_OTHER_CALLS = (REPORTS, REPORTS, "files/index", "files/add", "account/limits")
_OTHER_FAULTS: tuple[Rule, ...] = (
    {"fault": "reset_before"},
    {"fault": "reset_after"},
    {"fault": "status_before", "status": 500},
    {"fault": "status_before", "status": 429, "retry_after": "0"},
    {"fault": "truncated"},
    {"fault": "hang_before"},
    {"fault": "html"},
    {"fault": "error_code", "code": 1010},
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One round: how the campaign is sent, how the sandbox behaves, which faults strike, and whether its list changes."""

    mode: str
    rules: list[Rule]
    speed: float
    latency_seconds: float
    lag_seconds: float
    settle_seconds: float
    concurrency: int
    breaker_after: int
    chunk_size: int
    page_size: int
    shuffle: bool
    pulls_reports: bool
    titles: Titles = "kept"
    skew_seconds: float = 0.0
    campaign_keys: dict[str, str] = field(default_factory=dict)
    list_changes: bool = False

    @property
    def provider(self) -> str:
        """How the provider's records differ from what happened, in a word or two."""
        if self.titles != "kept":
            return f"titles {self.titles}"
        if self.skew_seconds:
            return "another zone"
        return "listed late" if self.lag_seconds > self.settle_seconds else "true to what happened"

    @property
    def is_blind(self) -> bool:
        """Whether a lookup cannot be expected to find what was taken: then it stays unknown, whatever the mode."""
        return self.provider != "true to what happened"


CALM = Plan(
    mode="plain",
    rules=[],
    speed=1.0,
    latency_seconds=0.0,
    lag_seconds=0.0,
    settle_seconds=0.25,
    concurrency=8,
    breaker_after=3,
    chunk_size=200,
    page_size=200,
    shuffle=False,
    pulls_reports=False,
)
"""Nothing goes wrong."""

_SETTLE_SECONDS = 0.6


def plan_of(dice: random.Random, only: str | None = None) -> Plan:
    """A round's plan, in the mode ``only`` if it is given.

    Where the campaign sends again what is absent, nothing is late by more than half of the settle time: sending again is
    promised to be safe only if the settle time is longer than any delay of a request plus any lag of the listing.
    """
    drawn = dice.choices(MODES, weights=(5, 3, 3))[0]
    mode = only or drawn
    pulls_reports = mode != "hold" and dice.random() < 0.3
    titles, skew_seconds, lag_seconds = _records(dice, mode)
    rules = _rules(dice, mode)
    if lag_seconds > _SETTLE_SECONDS:  # then what was refused with a bare 429 and taken all the same is listed too late, too
        rules = [rule for rule in rules if (rule["fault"], rule.get("status")) != ("status_after", 429)]
    return Plan(
        mode=mode,
        rules=rules,
        speed=60.0 if pulls_reports else 1.0,
        latency_seconds=dice.choice((0.0, 0.01, 0.03, 0.1)),
        lag_seconds=lag_seconds,
        settle_seconds=1.0 if mode == "resend" else _SETTLE_SECONDS,
        concurrency=dice.choice((2, 4, 8)),
        breaker_after=dice.choice((3, 10, 30)),
        chunk_size=dice.choice((25, 50, 50, 100)),
        page_size=dice.choice((50, 100, 200)),
        shuffle=dice.random() < 0.3,
        pulls_reports=pulls_reports,
        titles=titles,
        skew_seconds=skew_seconds,
        campaign_keys={"resend": {"resend_unconfirmed": "true"}, "hold": {"hold_minutes": "15"}}.get(mode, {}),
        list_changes=dice.random() < 0.5,
    )


def _records(dice: random.Random, mode: str) -> tuple[Titles, float, float]:
    """The provider's titles, how far its dates are off, and how late it lists: all true to what happened in most rounds.

    Nothing is held at a provider in another zone: it would dispatch at another hour than it was asked to.
    """
    lag_seconds = dice.choice((0.0, 0.0, 0.2))
    drawn = dice.random()
    if drawn < 0.1:
        return dice.choice(("cut", "rewritten")), 0.0, lag_seconds
    if drawn < 0.2 and mode != "hold":
        return "kept", dice.choice((-7_200.0, -3_600.0, 3_600.0, 5 * 3_600.0)), lag_seconds
    if drawn < 0.3 and mode == "plain":
        return "kept", 0.0, 3.0
    return "kept", 0.0, lag_seconds


def _rules(dice: random.Random, mode: str) -> list[Rule]:
    rules = [
        {"call": SEND, "probability": round(dice.uniform(0.02, 0.08), 3), "seed": dice.randrange(10**6), **fault}
        for fault in dice.sample(_SEND_FAULTS, dice.randint(3, 10))
    ]
    if dice.random() < 0.5:
        late = dice.uniform(0.1, 0.5 if mode == "resend" else 2.0)
        rules.append({"call": SEND, "fault": "late", "seconds": round(late, 2), "probability": 0.04, "seed": 7})
    rules += [
        {"call": SEND, "times": 1, "at": [dice.randint(1, 60)], **fault}
        for fault in dice.sample(_STOPPING_FAULTS, dice.randint(0, 2))
    ]
    if dice.random() < 0.3:
        fault = dice.choice(_PAGE_FAULTS)
        rules.append({"call": REPORTS, "times": 6, "probability": 0.5, "seed": dice.randrange(10**6), **fault})
    for call in dice.sample(_OTHER_CALLS, dice.randint(0, 3)):
        fault = dice.choice(_OTHER_FAULTS)
        rules.append({"call": call, "times": 3, "probability": 0.4, "seed": dice.randrange(10**6), **fault})
    return rules
