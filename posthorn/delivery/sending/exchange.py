"""What one request is made of: a campaign's chunk, or an event's ticket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from posthorn.delivery.running.run import CampaignRun
from posthorn.delivery.settling.reconcile import confirm_refused
from posthorn.errors import Stopped
from posthorn.gateways.contract import Before
from posthorn.ledger import media
from posthorn.ledger.sending import Claim
from posthorn.models import Answer, MmsRequest, Phone


@dataclass(frozen=True, slots=True)
class Content:
    """What every request of a campaign has in common."""

    title: str
    text: str | None
    file_ids: tuple[str, ...]
    send_at: datetime | None
    hold_minutes: int | None
    test: bool

    def request(self, phones: Sequence[Phone]) -> MmsRequest:
        """The request for these numbers, dated now if the campaign is held."""
        send_at = datetime.now(UTC) + timedelta(minutes=self.hold_minutes) if self.hold_minutes else self.send_at
        return MmsRequest(self.title, phones, self.file_ids, self.text, send_at, self.test)


class CampaignExchange:
    """Sends a campaign's chunks: the same content to each chunk's numbers."""

    def __init__(self, run: CampaignRun, content: Content) -> None:
        self._run = run
        self._content = content

    async def send(self, claimed: Claim, before: Before) -> Answer:
        """Make the one request for this claim, once ``before`` lets it leave."""
        return await self._run.gateway.send(self._content.request(claimed.phones), before=before)

    async def confirm_refused(self, claimed: Claim) -> None:
        """Ask the provider's reports whether a request answered with a bare HTTP 429 was taken all the same."""
        await confirm_refused(self._run, claimed)


async def campaign_exchange(run: CampaignRun) -> CampaignExchange:
    """The exchange of a campaign whose media are verified.

    Raises:
        Stopped: a file was never verified with the provider; nothing is sent.
    """
    definition = run.delivery.definition
    send_at = definition.get("send_at")
    items = await run.do(media.of, run.delivery)
    missing = [item.media.source for item in items if item.file_id is None or item.verified_at is None]
    if missing:
        raise Stopped(f"media not verified with the provider: {', '.join(missing)}; nothing was sent")
    content = Content(
        title=definition["title"],
        text=definition.get("text"),
        file_ids=tuple(item.file_id for item in items if item.file_id),
        send_at=None if run.delivery.is_canary or not send_at else datetime.fromisoformat(send_at),
        hold_minutes=definition.get("hold_minutes"),
        test=run.delivery.test,
    )
    return CampaignExchange(run, content)
