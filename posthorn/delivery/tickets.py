"""Tickets: planning an event, and what one ticket's request is made of.

The provider has no idempotency and no lookup, so the claim in the ledger is the only guard: an unknown ticket waits for a
postback or a person.
"""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from posthorn.content.event import AttendeeIntake, TicketEvent, differences, fill, load_event
from posthorn.content.warnings import Caution, refuse_if_strict
from posthorn.delivery.budget import refuse_unpriced
from posthorn.delivery.cautions import CodeLengths, event_cautions
from posthorn.delivery.hours import is_wider, refuse_outside
from posthorn.delivery.plan import (
    as_read,
    limits,
    planning_lock,
    reading_options,
    refuse_changes,
    refuse_other_selection,
    refuse_repeat,
)
from posthorn.delivery.run import TicketRun
from posthorn.errors import InputError, SlowDown
from posthorn.gateways import registry
from posthorn.gateways.contract import Before
from posthorn.ledger import deliveries, planning
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.planning import NewDelivery, Row
from posthorn.ledger.sending import Claim
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Answer, Kind, MessageState, Phone, Receipt, TicketRequest
from posthorn.settings import Settings, load_settings

_PASSED_ON = ("ddm_title", "ddm_text", "ddm_timeout", "device", "from_mask")


async def plan_event(path: Path) -> Delivery:
    """Plan the event of that file, or find it planned with the same content. See ``plan_event_file``."""
    return await asyncio.to_thread(plan_event_file, path, load_settings())


def plan_event_file(path: Path, settings: Settings) -> Delivery:
    """Plan the event of that file, or find it planned with the same content.

    Codes that are to be generated are generated here, once, and stored before anything is sent. Rejected rows go to
    ``<name>.rejects.csv`` beside the event file.

    Raises:
        InputError: the file or its attendees cannot be used; nothing was planned.
        DeliveryChanged: the name is planned with other content; what differs is listed.
        AlreadyRunning: another process plans or sends it right now.
    """
    event = load_event(path, registry.bounds_of(Kind.EVENT))
    ledger = Ledger(settings.database_url)
    try:
        with planning_lock(ledger, event.name):
            definition = event.definition()
            planned = deliveries.find(ledger, event.name)
            if planned is not None:
                refuse_changes(planned, Kind.EVENT, definition, differences)
                refuse_other_selection(planned, event.selection())
                refuse_event_beyond_limits(event, settings)
                deliveries.change_options(ledger, planned, {**limits(event), **as_read(planned)})
                return planned
            return _plan(ledger, event, definition, path, settings)
    finally:
        ledger.close()


def read_attendees(event: TicketEvent, settings: Settings, rejects: Path | None) -> AttendeeIntake:
    """The event's attendees; rejected rows go to ``rejects``."""
    return AttendeeIntake(event, settings.default_region, rejects, code_length=settings.barcode_length)


def refuse_unsendable_event(event: TicketEvent, intake: AttendeeIntake) -> None:
    """Refuse an event whose own keys the provider's parameters cannot hold, whoever the attendee is.

    Raises:
        InputError: which key, and why.
    """
    definition = event.definition()
    anybody = dict.fromkeys(intake.sent_columns, "x")
    gateway = registry.chosen(Kind.EVENT, event.gateway)
    gateway.check_ticket(_request(definition, Phone(48500600700), "x", anybody))


def refuse_event_beyond_limits(event: TicketEvent, settings: Settings) -> None:
    """Refuse an event that goes beyond the hours of the house, or has a cap and no price: nobody is asked about an event.

    Raises:
        InputError: its hours go beyond them, or leave no moment.
    """
    house = settings.hours()
    if is_wider(house, event.hours):
        raise InputError(
            "send_hours", f"{event.hours} goes beyond POSTHORN_SEND_HOURS ({house}); an event may only narrow it"
        )
    refuse_outside(settings, event.hours, datetime.now(UTC))
    refuse_unpriced(settings, registry.chosen(Kind.EVENT, event.gateway).name, event.max_cost)


def _plan(ledger: Ledger, event: TicketEvent, definition: dict[str, Any], path: Path, settings: Settings) -> Delivery:
    rejects = path.parent / f"{event.name}.rejects.csv"
    rows = read_attendees(event, settings, rejects)
    refuse_unsendable_event(event, rows)
    refuse_event_beyond_limits(event, settings)
    if event.strict:
        refuse_if_strict(_all_cautions(event, settings), strict=True)
    if rows.sha256 != definition["attendees"]:
        raise InputError("attendees", f"{rows.path} changed while it was being planned; nothing was planned, start again")
    new = NewDelivery(
        kind=Kind.EVENT,
        name=event.name,
        gateway=registry.chosen(Kind.EVENT, event.gateway).name,
        definition=definition,
        options={**limits(event), **reading_options(rows.file.phone_title, event.selection(), [])},
        chunk_size=1,
        rejects_file=str(rejects.absolute()),
    )
    check = None if event.allow_repeat else functools.partial(refuse_repeat, ledger, new)
    planned = planning.plan(ledger, new, _Rows(rows), check)
    if planned is None:
        raise InputError("attendees", f"none of the {rows.input:,} rows of {rows.path} can be sent to; see {rejects}")
    return planned


def _all_cautions(event: TicketEvent, settings: Settings) -> list[Caution]:
    """Every warning about the event: its list is read once for them."""
    rows, lengths = read_attendees(event, settings, None), CodeLengths()
    for batch in rows:
        lengths.add(batch)
    return event_cautions(rows, lengths, settings)


class _Rows:
    """The attendees as the ledger takes them."""

    def __init__(self, intake: AttendeeIntake) -> None:
        self._intake = intake

    @property
    def input(self) -> int:
        return self._intake.input

    @property
    def invalid(self) -> int:
        return self._intake.invalid

    @property
    def duplicate(self) -> int:
        return self._intake.duplicate

    def __iter__(self) -> Iterator[list[Row]]:
        for batch in self._intake:
            yield [Row(one.line, one.phone, one.copy, one.barcode, one.fields) for one in batch]


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

    async def send(self, claimed: Claim, before: Before) -> Answer:
        """Make the one request for this ticket, once ``before`` lets it leave."""
        ((barcode, fields),) = claimed.tickets
        (phone,) = claimed.phones
        request = _request(self._definition, phone, barcode, fields)
        lock = self._one_at_a_time[phone]
        has_waited = lock.locked()
        async with lock:
            if has_waited:  # the ticket before it may have been a reason to wait, or to stop
                await self._run.pace.wait()
                if self._run.is_stopped():
                    raise SlowDown(
                        "the run stopped while this ticket waited for another one of its number; nothing was sent"
                    )
            try:
                return await self._run.gateway.send(request, before=before)
            except InputError as error:  # this attendee's own values; the others are not to wait for them
                return Answer([Receipt(MessageState.REJECTED, error=error.field)], anomalies=[str(error)])

    async def confirm_refused(self, claimed: Claim) -> None:
        """The provider cannot be asked: the ticket stays unknown."""


def _request(definition: Mapping[str, Any], phone: Phone, barcode: str, fields: Mapping[str, str]) -> TicketRequest:
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
