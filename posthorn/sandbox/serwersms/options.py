"""How the SerwerSMS account of the sandbox behaves where the documentation leaves a choice. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

CreditMode = Literal["items", "request", "midway"]
"""When the MMS limit runs out: each further item gets 3004; the whole request does and nothing is queued; or the request
does although the first part of it is queued."""

Titles = Literal["kept", "cut", "rewritten"]
"""How reports show a message's title: as it was sent, its first ten characters, or in capitals without accents."""


@dataclass(frozen=True, slots=True)
class SerwerSmsOptions:
    """The account. Times are seconds on the sandbox's ageing clock, shares are between 0 and 1 of all messages."""

    token: str = "sandbox-token"  # noqa: S105 - opens nothing but this sandbox
    expired_token: str = "expired-token"  # noqa: S105 - answers 1011
    username: str = "sandbox"
    password: str = "sandbox"  # noqa: S105 - opens nothing but this sandbox
    seed: int = 1

    credit: int | None = None
    credit_mode: CreditMode = "items"
    refused: float = 0.0
    refuse: Mapping[str, int] = field(default_factory=dict)
    all_unsent_success: bool = True
    duplicates: Literal["twice", "once"] = "twice"
    shuffle: bool = False
    foreign_allowed: bool = False
    title_limit: int = 40
    request_limit: int = 100_000

    sent_after_seconds: float = 5.0
    reported_after_seconds: float = 60.0
    undelivered: float = 0.0
    silent: float = 0.0
    late: float = 0.0
    visible_after_seconds: float = 0.0
    withdrawn_listed_seconds: float = 0.0
    kept_seconds: float = 14 * 86_400.0
    titles: Titles = "kept"

    page_size: int = 100
    page_size_limit: int = 500
    too_many_ids_code: int = 3331
    widest_answer: int | None = None
    empty_report_code: int | None = None

    callback_url: str | None = None
    callback_duplicates: float = 0.0
    callback_shuffle: bool = False
    callback_lost: float = 0.0
    callback_forged: float = 0.0

    max_file_bytes: int = 1_000_000
    legacy_file_types: bool = False
    test_account: bool = False
