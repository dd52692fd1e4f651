"""Tickets: what one ticket's request is made of, and whether the provider knows what it names.

The provider has no idempotency and no lookup, so the claim in the ledger is the only guard: an unknown ticket waits for a
postback or a person.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from posthorn.content.definition import EventContent
from posthorn.content.event import AttendeeIntake, TicketEvent, fill
from posthorn.delivery.running.run import TicketRun
from posthorn.errors import InputError, SlowDown
from posthorn.gateways import registry
from posthorn.gateways.contract import Before
from posthorn.ledger.sending import Claim
from posthorn.models import Answer, Kind, MessageState, Phone, Receipt, TicketRequest


def refuse_unsendable_event(event: TicketEvent, intake: AttendeeIntake) -> None:
    """Refuse an event whose own keys the provider's parameters cannot hold, whoever the attendee is.

    Raises:
        InputError: which key, and why.
    """
    anybody = dict.fromkeys(intake.sent_columns, "x")
    gateway = registry.chosen(Kind.EVENT, event.gateway)
    gateway.check_ticket(ticket_request(event.content(), Phone(48500600700), "x", anybody))


async def preflight_event(run: TicketRun) -> Sequence[str]:
    """Ask the provider whether the stored MMS (and the campaign) exist; returns warnings where the account may not ask.

    Raises:
        StopRun: they do not exist, or the account is refused; nothing was sent.
        TryAgain: the provider could not be asked.
    """
    await run.pace.wait()  # the shortest time between two calls holds for this one too
    content = run.delivery.content
    return await run.gateway.preflight(content.mms_id, content.campaign_ref)


class TicketExchange:
    """Sends an event's tickets, one request each; two tickets of one number one after the other.

    The provider seems to look a code up by its number (reference, section 3), so two of one number must not overlap.
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
        has_waited = self._under_way[phone] > 0  # a lock that was just freed for the next in line looks free
        self._under_way[phone] += 1
        try:
            async with self._one_at_a_time[phone]:
                if has_waited:  # the ticket before it may have been a reason to wait, or to stop
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


def ticket_request(content: EventContent, phone: Phone, barcode: str, fields: Mapping[str, str]) -> TicketRequest:
    """The request for one ticket; ``fields`` are the attendee's other columns."""
    return TicketRequest(
        mms_id=content.mms_id,
        phone=phone,
        sender=content.sender,
        barcode_id=barcode,
        campaign_ref=content.campaign_ref,
        extras=_extras(content, fields),
    )


def _extras(content: EventContent, fields: Mapping[str, str]) -> dict[str, object]:
    """The optional parameters of one ticket, with the attendee's own values in them."""
    given = {
        "ddm_title": content.ddm_title,
        "ddm_text": content.ddm_text,
        "ddm_timeout": content.ddm_timeout,
        "device": content.device,
        "from_mask": content.from_mask,
    }
    extras: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    if content.custom_subject:
        extras["custom_subject"] = fill(content.custom_subject, fields)
    if content.custom_texts:
        extras["custom_texts"] = {slide: fill(text, fields) for slide, text in content.custom_texts.items()}
    if content.data:
        extras["data"] = {field: fields.get(column.casefold(), "") for field, column in content.data.items()}
    return extras
