"""What one request is made of: a campaign's chunk, or an event's ticket."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from posthorn.delivery.running.run import CampaignRun
from posthorn.delivery.settling.reconcile import confirm_refused
from posthorn.errors import Stopped
from posthorn.gateways.contract import Before
from posthorn.ledger import media
from posthorn.ledger.sending import Claim
from posthorn.models import Answer, MmsRequest, Phone


class CampaignExchange:
    """Sends a campaign's chunks: the same content to each chunk's numbers, dated as it was when the sending began."""

    def __init__(self, run: CampaignRun, file_ids: Sequence[str]) -> None:
        self._run = run
        self._campaign = run.delivery
        self._file_ids = file_ids

    async def send(self, claimed: Claim, before: Before) -> Answer:
        """Make the one request for this claim, once ``before`` lets it leave."""
        return await self._run.gateway.send(self._request(claimed.phones), before=before)

    def _request(self, phones: Sequence[Phone]) -> MmsRequest:
        """The request for these numbers, dated from now if the campaign is held."""
        campaign, content = self._campaign, self._campaign.content
        held = timedelta(minutes=content.hold_minutes) if content.hold_minutes else None
        send_at = datetime.now(UTC) + held if held else campaign.named_moment
        return MmsRequest(content.title, phones, self._file_ids, content.text, send_at, campaign.test)

    async def confirm_refused(self, claimed: Claim) -> None:
        """Ask the provider's reports whether a request answered with a bare HTTP 429 was taken all the same."""
        await confirm_refused(self._run, claimed)


async def campaign_exchange(run: CampaignRun) -> CampaignExchange:
    """The exchange of a campaign whose media are verified.

    Raises:
        Stopped: a file was never verified with the provider; nothing is sent.
    """
    items = await run.do(media.of, run.delivery)
    missing = [item.media.source for item in items if item.file_id is None or item.verified_at is None]
    if missing:
        raise Stopped(f"media not verified with the provider: {', '.join(missing)}; nothing was sent")
    return CampaignExchange(run, tuple(item.file_id for item in items if item.file_id))
