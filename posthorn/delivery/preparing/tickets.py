"""Tickets: how one ticket's request is made, and whether the provider knows what it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from posthorn.content.definition import EventContent
from posthorn.content.event import AttendeeIntake, TicketEvent, fill
from posthorn.delivery.running.run import TicketRun
from posthorn.gateways import registry
from posthorn.models import Kind, Phone, TicketRequest


def refuse_unsendable_event(event: TicketEvent, intake: AttendeeIntake) -> None:
    """Refuse an event whose own keys the provider's parameters cannot hold, whoever the attendee is.

    Raises:
        InputError: which key, and why.
    """
    anybody = dict.fromkeys(intake.sent_columns, "x")
    gateway = registry.chosen(Kind.EVENT, event.gateway)
    gateway.check_ticket(ticket_request(event.content(), Phone(48500600700), "x", anybody))


async def preflight_event(run: TicketRun) -> Sequence[str]:
    """Ask the provider whether the stored MMS (and the campaign) exist; returns warnings if the account may not ask.

    Raises:
        StopRun: they do not exist, or the account is refused; nothing was sent.
        TryAgain: the provider could not be asked.
    """
    await run.pace.wait()  # the shortest time between two calls holds for this one too
    content = run.delivery.content
    return await run.gateway.preflight(content.mms_id, content.campaign_ref)


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
