"""How one request is made: for a campaign's chunk, or for an event's ticket."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from posthorn.delivery.preparing.tickets import ticket_request
from posthorn.delivery.running.run import CampaignRun, TicketRun
from posthorn.delivery.settling.reconcile import confirm_refused
from posthorn.errors import InputError, SlowDown, Stopped
from posthorn.gateways.contract import Before
from posthorn.ledger import media
from posthorn.ledger.claims import Claim
from posthorn.models import Answer, MessageState, MmsRequest, Phone, Receipt, TicketRequest


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


class TicketExchange:
    """Sends an event's tickets, one request each; two tickets of one number one after the other.

    The provider has no idempotency and no lookup, so only the claim in the ledger prevents a repeat. An unknown ticket
    waits for a postback or a person. The provider seems to look a code up by its number (reference, section 3), so two
    requests for one number must not overlap.
    """

    def __init__(self, run: TicketRun) -> None:
        self._run = run
        self._content = run.delivery.content
        self._one_at_a_time: defaultdict[Phone, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._under_way: Counter[Phone] = Counter()

    async def send(self, claimed: Claim, before: Before) -> Answer:
        """Make the one request for this ticket, once ``before`` lets it leave."""
        ((barcode, fields),) = claimed.tickets
        (phone,) = claimed.phones
        request = ticket_request(self._content, phone, barcode, fields)
        has_waited = self._under_way[phone] > 0  # a lock that was just freed for the next waiter looks free
        self._under_way[phone] += 1
        try:
            async with self._one_at_a_time[phone]:
                if has_waited:  # the ticket before it may have given a reason to wait or to stop
                    await self._run.pace.wait()
                    if self._run.is_stopped():
                        raise SlowDown(
                            "the run stopped while this ticket waited for another one of its number; nothing was sent"
                        )
                return await self._send_one(request, before)
        finally:
            self._under_way[phone] -= 1

    async def _send_one(self, request: TicketRequest, before: Before) -> Answer:
        try:
            return await self._run.gateway.send(request, before=before)
        except InputError as error:  # this attendee's own values; the others are not to wait for them
            return Answer([Receipt(MessageState.REJECTED, error=error.field)], anomalies=[str(error)])

    async def confirm_refused(self, claimed: Claim) -> None:
        """The provider cannot be asked: the ticket stays unknown."""
