"""How the Skycore account of the sandbox behaves where the documentation leaves a choice. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Template:
    """A stored MMS. Until ``encoding_seconds`` have aged since the start it is being encoded (E626)."""

    mms_id: str
    has_barcode: bool = True
    encoding_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SkycoreOptions:
    """The account. Numbers are digits with country code; shares are between 0 and 1 of all tickets.

    ``min_interval_seconds`` and ``throughput`` (tickets a second) are real time; every other time is the sandbox's ageing
    clock's. ``credit`` is how many tickets it takes before E713; ``subscribers`` None is everybody who did not opt out.
    """

    api_key: str = "sandbox-key"
    seed: int = 1
    tracking_ids: Literal["seed", "base64"] = "seed"
    vary: bool = False

    templates: tuple[Template, ...] = (Template("35674"),)
    shortcodes: frozenset[str] = frozenset({"60856"})
    campaigns: Mapping[str, str] = field(default_factory=lambda: {"12333": "Sandbox campaign"})
    enforce_campaign_check: bool = False
    subscribers: frozenset[str] | None = None
    opted_out: frozenset[str] = frozenset()
    blacklist: frozenset[str] = frozenset()
    unsupported: frozenset[str] = frozenset()
    unsupported_share: float = 0.0
    denied_actions: frozenset[str] = frozenset()

    billing_problem: bool = False
    credit: int | None = None
    request_quota: int | None = None
    quota_window_seconds: float | None = None
    min_interval_seconds: float = 0.0
    throughput: int | None = None

    processed_after_seconds: float = 2.0
    reported_after_seconds: float = 60.0
    undelivered: float = 0.0
    undelivered_code: Literal["E102", "N102"] = "E102"
    silent: float = 0.0
    link_sms: float = 0.0
    late_failure: float = 0.0

    postback_url: str | None = None
    postback_shape: Literal["new", "old"] = "new"
    postback_as: Literal["raw", "xml"] = "raw"
    postback_duplicates: float = 0.0
    postback_shuffle: bool = False
    postback_batch_seconds: float = 60.0
    postback_retry_seconds: float = 300.0
    postback_retries: int = 5
    postback_timeout_seconds: float = 10.0

    symbology: Literal["auto", "qr", "code128"] = "qr"

    statistics_days: int = 31
    statistics_interval_seconds: float = 0.0
