"""The small contract of every gateway. What a method may raise is in ``posthorn.errors``; the class carries the decision.

A send either returns an ``Answer`` (the provider answered for each recipient) or raises a ``GatewayError`` that says whether
it may have been carried out. Nothing here retries: the caller, who has the ledger, decides that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias

from posthorn.content.stopwords import StopWords
from posthorn.models import (
    AccountLimit,
    Answer,
    BlacklistPage,
    CodeWords,
    Credit,
    Media,
    MmsRequest,
    OptOut,
    Phone,
    Report,
    ReportPage,
    StoredFile,
    TicketRequest,
)

Before: TypeAlias = Callable[[], Awaitable[None]]


class CampaignGateway(Protocol):
    """A provider that sends one MMS to many numbers."""

    name: str

    async def upload(self, media: Media, *, encoding: str | None = None) -> str:
        """Store one file with the provider and return its id there. ``encoding`` is one of the account's.

        Raises ``FileRefused`` if another encoding may work.
        """

    async def list_files(self) -> Sequence[StoredFile]:
        """Every file the provider holds for MMS."""

    async def view_file(self, file_id: str) -> StoredFile | None:
        """One file, even if the list does not show it; None if the provider says that it has no file with that id."""

    async def delete_file(self, file_id: str) -> bool:
        """Delete one file; whether it was deleted."""

    async def send(self, request: MmsRequest, *, before: Before | None = None) -> Answer:
        """Send one chunk, once. Raises ``GatewayError``; never retries.

        ``before`` is awaited right before the first byte is written; what it raises holds the request back.
        """

    async def reports(
        self,
        *,
        ids: Sequence[str] = (),
        phones: Sequence[Phone] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        page: int = 1,
        limit: int | None = None,
        order: str = "asc",
    ) -> ReportPage:
        """One page of at most ``limit`` delivery reports, by ids, or by numbers and time of queueing.

        The oldest first, or with ``desc`` the newest, as far as the provider can.
        """

    async def view_message(self, message_id: str) -> Report | None:
        """What is known of one message; None if the provider says that it has none with that id."""

    async def withdraw(self, ids: Sequence[str]) -> tuple[int, int]:
        """Withdraw scheduled messages; ``(withdrawn, not withdrawn)``."""

    async def credit(self) -> Credit:
        """What the account may still send."""

    async def aclose(self) -> None:
        """Close the connections."""


class FileStore(Protocol):
    """The files of an account, for a gateway with ``file_types``. ``type`` is one of them."""

    async def list_files(self, *, type: str) -> Sequence[StoredFile]:  # noqa: A002 - the field's word
        """Every file of that type."""

    async def add_file(self, *, type: str, url: str, name: str | None = None) -> str:  # noqa: A002 - see above
        """Have the provider fetch a file; returns its id there. A file from disk is uploaded with ``upload``."""

    async def view_file(self, file_id: str, *, type: str) -> StoredFile | None:  # noqa: A002 - see above
        """One file, or None if there is none of that id."""

    async def delete_file(self, file_id: str, *, type: str) -> bool:  # noqa: A002 - see above
        """Delete one file; whether it was deleted."""


class AccountApi(Protocol):
    """What a gateway with ``tells_account`` says about its account."""

    async def limits(self) -> Sequence[AccountLimit]:
        """What may still be sent, by kind of message."""

    async def blacklist(self, *, phone: Phone | None = None, page: int = 1, limit: int | None = None) -> BlacklistPage:
        """One page of the numbers that the provider never sends to; ``phone`` looks for one."""

    async def explain_error(self, code: int) -> CodeWords:
        """The provider's own words about one of its codes."""


class OptOutSource(Protocol):
    """What a gateway with ``tells_opt_outs`` knows of who must not be messaged."""

    def opt_outs(self, *, since: datetime | None, stop_words: StopWords) -> AsyncIterator[Sequence[OptOut]]:
        """Page after page: its whole blacklist, and everybody who has answered with a stop word since that moment."""


class TicketGateway(Protocol):
    """A provider that sends one stored MMS with a barcode of its own to one number."""

    name: str

    async def preflight(self, mms_id: str, campaign_ref: str | None) -> Sequence[str]:
        """Check the template and the campaign before the first ticket; returns warnings, raises ``StopRun``."""

    async def send(self, request: TicketRequest, *, before: Before | None = None) -> Answer:
        """Send one ticket, once: an ``Answer`` with one receipt. Raises ``GatewayError``; never retries.

        ``before`` is awaited right before the first byte is written; what it raises holds the request back.
        """

    async def aclose(self) -> None:
        """Close the connections."""
