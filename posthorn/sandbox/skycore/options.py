"""How the sandbox's Skycore account behaves where the documentation leaves it open. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from posthorn.sandbox.flags import flag, share


@dataclass(frozen=True, slots=True)
class Template:
    """A stored MMS. It is being encoded (E626) until the clock's age is ``encoding_seconds``."""

    mms_id: str
    has_barcode: bool = True
    encoding_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SkycoreOptions:
    """The account. Numbers are digits with country code; shares are parts of all tickets, from 0 to 1.

    ``min_interval_seconds`` and ``throughput`` (tickets a second) are real time; all other times are those of the sandbox's
    ageing clock. ``credit`` is how many tickets it takes before E713; ``subscribers`` None means all who did not opt out.
    """

    api_key: str = flag("sandbox-key", "Skycore: the one API key it accepts")
    seed: int = flag(1, "With the same seed each number has the same outcome")
    tracking_ids: Literal["seed", "base64"] = flag("seed", "Skycore: MMS_<n>, or base64 as since 2013-11")
    vary: bool = flag(False, "Skycore: vary order, padding and wording of answers")

    templates: tuple[Template, ...] = (Template("35674"),)
    shortcodes: frozenset[str] = flag(
        frozenset({"60856"}), "Skycore: a sender it accepts; repeatable [default: 60856]", name="shortcode", read=frozenset
    )
    campaigns: Mapping[str, str] = flag(
        lambda: {"12333": "Sandbox campaign"},
        "Skycore: id of a campaign; repeatable [default: 12333]",
        name="campaign",
        read=lambda ids: {campaign_id: f"Campaign {campaign_id}" for campaign_id in ids},
    )
    enforce_campaign_check: bool = flag(False, "Skycore: every ticket needs a campaign and a subscriber")
    subscribers: frozenset[str] | None = None
    opted_out: frozenset[str] = flag(frozenset(), "Skycore: a number that opted out; repeatable", read=frozenset)
    blacklist: frozenset[str] = flag(frozenset(), "Skycore: a blacklisted number (E114); repeatable", read=frozenset)
    unsupported: frozenset[str] = frozenset()
    unsupported_share: float = share("Skycore: share of numbers whose operator is not supported (E628)", name="unsupported")
    denied_actions: frozenset[str] = frozenset()

    billing_problem: bool = flag(False, "Skycore: refuse every ticket with E713")
    credit: int | None = flag(None, "Skycore: tickets until E713 [default: no limit]", name="ticket_credit", least=0)
    request_quota: int | None = flag(None, "Skycore: calls until E120 [default: no limit]", name="quota", least=0)
    quota_window_seconds: float | None = None
    min_interval_seconds: float = flag(0.0, "Skycore: real seconds between two calls (E106)", name="min_interval", least=0)
    throughput: int | None = flag(None, "Skycore: tickets a second (E113) [default: no limit]", least=1)

    processed_after_seconds: float = 2.0
    reported_after_seconds: float = 60.0
    undelivered: float = share("Share of messages that end undelivered", command_default=0.02)
    undelivered_code: Literal["E102", "N102"] = "E102"
    silent: float = share("Share of messages that are never reported on", command_default=0.01)
    link_sms: float = share("Skycore: share of tickets sent as an SMS with a link")
    late_failure: float = share("Skycore: share of taken tickets that end in E101", name="late_barcode_failure")

    postback_url: str | None = flag(None, "Skycore: where postbacks are POSTed [default: nowhere]")
    postback_shape: Literal["new", "old"] = flag("new", "Skycore: one event each, or batches as in 2013")
    postback_as: Literal["raw", "xml"] = flag("raw", "Skycore: as the body, or in the form field xml")
    postback_duplicates: float = share("Skycore: share of postbacks that come twice")
    postback_shuffle: bool = flag(False, "Skycore: postbacks come in any order")
    postback_batch_seconds: float = 60.0
    postback_retry_seconds: float = 300.0
    postback_retries: int = 5
    postback_timeout_seconds: float = 10.0

    symbology: Literal["auto", "qr", "code128"] = "qr"

    statistics_days: int = 31
    statistics_interval_seconds: float = 0.0
