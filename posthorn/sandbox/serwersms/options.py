"""How the sandbox's SerwerSMS account behaves where the documentation leaves it open. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from posthorn.sandbox.flags import flag, share

CreditMode = Literal["items", "request", "midway"]
"""When the MMS limit runs out: each further item gets 3004; or the whole request gets it and nothing is queued; or the
whole request gets it although its first part is queued."""

Titles = Literal["kept", "cut", "rewritten"]
"""How reports show a message's title: as it was sent, its first ten characters, or in capitals without accents."""


Encoding = Literal["any", "multipart", "form", "base64"]
"""The encoding in which a file is accepted: a file in a multipart body, bytes in a field, base64 text; or any of these."""

Character = Literal["documented", "test", "reencodes", "no-multipart"]
"""The kind of account: as the pages say; a test account, which lists no files; one that re-encodes pictures, so that their
sizes differ; one that ignores files in a multipart body."""


@dataclass(frozen=True, slots=True)
class SerwerSmsOptions:
    """The account. Times are seconds on the sandbox's ageing clock, shares are parts of all messages, from 0 to 1."""

    token: str = flag("sandbox-token", "The one Bearer token it accepts")
    expired_token: str = "expired-token"  # noqa: S105 - answers 1011
    username: str = flag("sandbox", "The one API user it accepts")
    password: str = flag("sandbox", "That user's password")
    seed: int = flag(1, "With the same seed each number has the same outcome")
    account: Character = flag("documented", "What kind of account it is, where the pages leave it open")
    upload: Encoding = flag("any", "Which encoding of a file files/add and send_mms accept")

    ignores_test: bool = flag(False, "Really send requests that ask for a check only (test=true)")

    credit: int | None = flag(None, "MMS the account may send (default: no limit)", least=0)
    credit_mode: CreditMode = "items"
    refused: float = share("Share of correct numbers refused with 3103")
    refuse: Mapping[str, int] = field(default_factory=dict)
    all_unsent_success: bool = True
    duplicates: Literal["twice", "once"] = "twice"
    shuffle: bool = flag(False, "Answer a send's items in random order")
    foreign_allowed: bool = False
    title_limit: int = 40
    request_limit: int = 100_000

    sent_after_seconds: float = 5.0
    reported_after_seconds: float = 60.0
    undelivered: float = share("Share of messages that end undelivered", command_default=0.02)
    silent: float = share("Share of messages that are never reported on", command_default=0.01)
    late: float = 0.0
    visible_after_seconds: float = flag(0.0, "Aged seconds until reports list a message", name="visible_after", least=0)
    withdrawn_listed_seconds: float = 0.0
    kept_seconds: float = 14 * 86_400.0
    titles: Titles = flag("kept", "How reports show titles: as sent, ten characters, or in capitals without accents")

    page_size: int = flag(100, "Reports per page if the request names no number", least=1, most=500)
    page_size_limit: int = 500
    too_many_ids_code: int = 3331
    widest_answer: int | None = None
    empty_report_code: int | None = None

    callback_url: str | None = flag(
        None, "URL to GET for each report, with #SMSID# #STAN# #DATA# #PRZYCZYNA# [default: none]"
    )
    callback_duplicates: float = share("Share of callbacks that come twice")
    callback_shuffle: bool = flag(False, "Callbacks come in any order")
    callback_lost: float = share("Share of callbacks that never come")
    callback_forged: float = share("Share of callbacks that are followed by one about an unknown id")

    max_file_bytes: int = 1_000_000
    legacy_file_types: bool = False
    test_account: bool = flag(False, "Never list uploaded files, as --account test")

    @property
    def lists_files(self) -> bool:
        """Whether files/index lists uploaded files."""
        return not self.test_account and self.account != "test"

    def counts(self, encoding: Encoding) -> bool:
        """Whether a file in this encoding is accepted."""
        return self.upload in ("any", encoding) and not (encoding == "multipart" and self.account == "no-multipart")
