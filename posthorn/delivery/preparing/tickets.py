"""Tickets: what one ticket's request is made of, and whether the provider knows what it names.

The provider has no idempotency and no lookup, so the claim in the ledger is the only guard: an unknown ticket waits for a
postback or a person.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from posthorn.content.event import AttendeeIntake, TicketEvent, fill
from posthorn.delivery.running.run import TicketRun
from posthorn.errors import InputError, SlowDown
from posthorn.gateways import registry
from posthorn.gateways.contract import Before
from posthorn.ledger.sending import Claim
from posthorn.models import Answer, Kind, MessageState, Phone, Receipt, TicketRequest

_PASSED_ON = ("ddm_title", "ddm_text", "ddm_timeout", "device", "from_mask")


def refuse_unsendable_event(event: TicketEvent, intake: AttendeeIntake) -> None:
    """Refuse an event whose own keys the provider's parameters cannot hold, whoever the attendee is.

    Raises:
        InputError: which key, and why.
    """
    definition = event.definition()
    anybody = dict.fromkeys(intake.sent_columns, "x")
    gateway = registry.chosen(Kind.EVENT, event.gateway)
    gateway.check_ticket(ticket_request(definition, Phone(48500600700), "x", anybody))


async def preflight_event(run: TicketRun) -> Sequence[str]:
    """Ask the provider whether the stored MMS (and the campaign) exist; returns warnings where the account may not ask.

    Raises:
        StopRun: they do not exist, or the account is refused; nothing was sent.
        TryAgain: the provider could not be asked.
    """
    await run.pace.wait()  # the shortest time between two calls holds for this one too
    definition = run.delivery.definition
    return await run.gateway.preflight(definition["mms_id"], definition["campaign_ref"])


class TicketExchange:
    """Sends an event's tickets, one request each; two tickets of one number one after the other.

    The provider seems to look a code up by its number (reference, section 3), so two of one number must not overlap.
    """

    def __init__(self, run: TicketRun) -> None:
        self._run = run
        self._definition = run.delivery.definition
        self._one_at_a_time: defaultdict[Phone, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._under_way: Counter[Phone] = Counter()

    async def send(self, claimed: Claim, before: Before) -> Answer:
        """Make the one request for this ticket, once ``before`` lets it leave."""
        ((barcode, fields),) = claimed.tickets
        (phone,) = claimed.phones
        request = ticket_request(self._definition, phone, barcode, fields)
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


def ticket_request(definition: Mapping[str, Any], phone: Phone, barcode: str, fields: Mapping[str, str]) -> TicketRequest:
    """The request for one ticket; ``fields`` are the attendee's other columns."""
    return TicketRequest(
        mms_id=definition["mms_id"],
        phone=phone,
        sender=definition["from"],
        barcode_id=barcode,
        campaign_ref=definition["campaign_ref"],
        extras=_extras(definition, fields),
    )


def _extras(definition: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, object]:
    """The optional parameters of one ticket, with the attendee's own values in them."""
    extras: dict[str, object] = {key: definition[key] for key in _PASSED_ON if definition.get(key) is not None}
    if definition.get("custom_subject"):
        extras["custom_subject"] = fill(definition["custom_subject"], fields)
    if definition.get("custom_texts"):
        extras["custom_texts"] = {slide: fill(text, fields) for slide, text in definition["custom_texts"].items()}
    if definition.get("data"):
        extras["data"] = {field: fields.get(column.casefold(), "") for field, column in definition["data"].items()}
    return extras
