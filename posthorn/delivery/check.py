"""Checking: everything that can be known about a campaign or an event before anything is sent, or even planned.

``check`` and the start of ``send`` ask the same functions: what one of them refuses, the other does too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from posthorn.content import campaign as campaign_files
from posthorn.content import event as event_files
from posthorn.content.campaign import Campaign, load_campaign
from posthorn.content.event import AttendeeIntake, TicketEvent, load_event
from posthorn.content.recipients.intake import Intake
from posthorn.content.recipients.phones import country_of, is_landline, rejected_kinds
from posthorn.content.warnings import Caution, refuse_if_strict
from posthorn.delivery.budget import beyond
from posthorn.delivery.cautions import CodeLengths, campaign_cautions, event_cautions
from posthorn.delivery.checked import Checked, Reading, rejects_table
from posthorn.delivery.hours import Dispatch, is_wider, shown_hours
from posthorn.delivery.plan import (
    allows_loopback,
    chunk_size_of,
    gateway_of,
    read_rows,
    refuse_beyond_gateway,
    refuse_beyond_limits,
    refuse_changes,
    refuse_other_selection,
    refuse_repeats,
    repeat_since,
)
from posthorn.delivery.probe import hold_words
from posthorn.delivery.tickets import read_attendees, refuse_event_beyond_limits, refuse_unsendable_event
from posthorn.errors import InputError
from posthorn.gateways import registry
from posthorn.ledger import deliveries, totals
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.repeats import CommonNumbers
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Kind, Phone
from posthorn.prices import Tariff, amount
from posthorn.settings import Settings, load_settings

MOST_REJECTS = 100_000  # who has more wants another file, not a longer list
_FIRST_ROWS = 10


def check_campaign(path: Path) -> Checked:
    """Check the campaign of that file; nothing is sent, planned or written.

    Raises:
        InputError: it could not be sent; every problem is named.
        DeliveryChanged: its name is taken by other content.
    """
    return examine_campaign(load_campaign(path, registry.bounds_of(Kind.CAMPAIGN)), load_settings(), look_at_urls=True)


def check_event(path: Path) -> Checked:
    """Check the event of that file; nothing is sent, planned or written.

    A code of each length is drawn, shrunk and recompressed as carriers do, and read again.

    Raises:
        InputError: it could not be sent; every problem is named.
        DeliveryChanged: its name is taken by other content.
    """
    return examine_event(load_event(path, registry.bounds_of(Kind.EVENT)), load_settings())


def refuse_without_credentials(checked: Checked, settings: Settings) -> None:
    """Refuse what `send` would refuse for want of credentials.

    Raises:
        SettingsError: the message names the variables.
    """
    registry.by_name(checked.gateway).check_credentials(settings)


def examine_campaign(campaign: Campaign, settings: Settings, *, look_at_urls: bool = False) -> Checked:
    """All that is known about a campaign before it is planned; one that is planned with this content is only looked up.

    Raises:
        InputError: it could not be sent; every problem is named.
        DeliveryChanged: its name is taken by other content.
    """
    now = datetime.now(UTC)
    loopback = allows_loopback(campaign, settings)
    with _open(settings) as ledger:
        definition = campaign.definition(allow_loopback=loopback)
        planned = deliveries.find(ledger, campaign.name) if not campaign.test else None
        if planned is not None:
            refuse_changes(planned, Kind.CAMPAIGN, definition, campaign_files.differences)
            return _planned(ledger, planned, campaign.selection(), _campaign_facts(campaign, settings, now))
        hold = _hold(ledger, campaign, settings)
        refuse_beyond_gateway(campaign)
        campaign.check(now, allow_loopback=loopback)
        refuse_beyond_limits(campaign, settings, now)
        common = _common(ledger, Kind.CAMPAIGN, campaign.name, definition, skip=campaign.allow_repeat or campaign.test)
        rows = read_rows(campaign, settings, None)
        tariff = None if campaign.test else gateway_of(campaign).account(settings).tariff
        reading = _read(rows, common, landlines=campaign.landlines, tariff=tariff)
        if not reading.valid:
            raise InputError("recipients", none_valid(reading, rows.path))
        refuse_repeats(Kind.CAMPAIGN, common.found() if common else [])
    cautions = campaign_cautions(campaign, rows.file, settings, now, loopback=loopback, look_at_urls=look_at_urls)
    refuse_if_strict(cautions, strict=campaign.strict)
    size = chunk_size_of(campaign, settings)
    return Checked(
        kind=Kind.CAMPAIGN,
        reading=reading,
        warnings=[
            *cautions,
            *_beyond_cap(settings, reading, campaign.max_cost),
            *_approval(campaign, reading.valid, settings),
        ],
        requests=-(-reading.valid // size),
        looks=campaign.looks(allow_loopback=loopback),
        hold=hold,
        **_campaign_facts(campaign, settings, now),
    )


def examine_event(event: TicketEvent, settings: Settings) -> Checked:
    """All that is known about an event before it is planned; one that is planned with this content is only looked up.

    Raises:
        InputError: it could not be sent; every problem is named.
        DeliveryChanged: its name is taken by other content.
    """
    now = datetime.now(UTC)
    gateway = registry.chosen(Kind.EVENT, event.gateway)
    account = gateway.account(settings)
    refuse_event_beyond_limits(event, settings)
    facts: dict[str, Any] = {
        "name": event.name,
        "gateway": gateway.name,
        "mms_id": event.mms_id,
        "price": account.price_per_message,
        "region": settings.default_region,
        "hours": shown_hours(settings, event.hours, now),
    }
    with _open(settings) as ledger:
        definition = event.definition()
        planned = deliveries.find(ledger, event.name)
        if planned is not None:
            refuse_changes(planned, Kind.EVENT, definition, event_files.differences)
            return _planned(ledger, planned, event.selection(), facts)
        rows = read_attendees(event, settings, None)
        refuse_unsendable_event(event, rows)
        common = _common(ledger, Kind.EVENT, event.name, definition, skip=event.allow_repeat)
        lengths = CodeLengths()
        reading = _read(rows, common, landlines=event.landlines, lengths=lengths, tariff=account.tariff)
        if not reading.valid:
            raise InputError("attendees", none_valid(reading, rows.path))
        refuse_repeats(Kind.EVENT, common.found() if common else [])
    cautions = [*event_cautions(rows, lengths, settings), *_beyond_cap(settings, reading, event.max_cost)]
    refuse_if_strict(cautions, strict=event.strict)
    cautions = [*cautions, *_approval(event, reading.valid, settings)]
    return Checked(kind=Kind.EVENT, reading=reading, warnings=cautions, requests=reading.valid, **facts)


def none_valid(reading: Reading, path: Path) -> str:
    """That no row can be sent to: the column, why, and the first rows."""
    said = f"none of the {reading.rows:,} rows of {path} is a valid number; {reading.column_line()}"
    if reading.left_out:
        said += f"; only_where left out {reading.left_out:,} rows"
    if not reading.rows:
        return said
    return f"{said}\nreasons: {reading.reasons_line()}\n{rejects_table(reading.rejects[:_FIRST_ROWS])}"


def _campaign_facts(campaign: Campaign, settings: Settings, now: datetime) -> dict[str, Any]:
    account = gateway_of(campaign).account(settings)
    return {
        "name": campaign.name,
        "gateway": gateway_of(campaign).name,
        "region": settings.default_region,
        "title": campaign.title,
        "text_length": len(campaign.text or ""),
        "test": campaign.test,
        "chunk_size": chunk_size_of(campaign, settings),
        "moment": campaign.send_at,
        "hours": None
        if campaign.test
        else shown_hours(settings, campaign.hours, now, Dispatch(campaign.send_at, campaign.hold_minutes)),
        "zones": (account.timezone, settings.timezone),
        "media": campaign.media_items(allow_loopback=allows_loopback(campaign, settings)),
        "price": account.price_per_message,
    }


def _hold(ledger: Ledger, campaign: Campaign, settings: Settings) -> tuple[int, bool, str] | None:
    """For how many minutes the provider keeps its messages, and how sure it is that it does."""
    if not campaign.hold_minutes or campaign.test:
        return None
    return campaign.hold_minutes, *hold_words(ledger, gateway_of(campaign), settings)


def _planned(ledger: Ledger, planned: Delivery, selection: Mapping[str, object], facts: dict[str, Any]) -> Checked:
    """One that is in the ledger: its list is not read again, so nothing about it can be refused."""
    refuse_other_selection(planned, selection)
    if planned.cancelled_at is not None:
        raise InputError("name", f"{planned.name} was cancelled for good; give it another name to send it after all")
    counted = totals.totals(ledger, planned)
    reading = Reading(
        rows=planned.input,
        valid=planned.input - planned.invalid - planned.duplicate,
        invalid=planned.invalid,
        duplicate=planned.duplicate,
    )
    size = facts.get("chunk_size", 1)
    return Checked(
        kind=planned.kind,
        reading=reading,
        warnings=[],
        requests=-(-reading.valid // size),
        already=reading.valid - counted["pending"],
        **facts,
    )


def _read(
    rows: Intake | AttendeeIntake,
    common: CommonNumbers | None,
    *,
    landlines: bool,
    tariff: Tariff | None,
    lengths: CodeLengths | None = None,
) -> Reading:
    """Read the whole list once, and count what is in it."""
    rows.keep_rejects = MOST_REJECTS
    countries: Counter[str] = Counter()
    fixed = spent = 0
    for batch in rows:
        phones: list[Phone] = [one[1] if isinstance(one, tuple) else one.phone for one in batch]
        countries.update(map(country_of, phones))
        fixed += sum(map(is_landline, phones)) if landlines else 0
        spent += tariff.total(phones) if tariff else 0
        if common:
            common.add(phones)
        if lengths is not None:
            lengths.add(one for one in batch if not isinstance(one, tuple))
    events = rows if isinstance(rows, AttendeeIntake) else None
    kinds = Counter({"mobile": rows.accepted - fixed, "landline": fixed}) + rejected_kinds(rows.reasons)
    return Reading(
        column=rows.file.phone_title,
        header_line=rows.file.header_line,
        barcode_column=events.code_title if events else None,
        rows=rows.input,
        valid=rows.accepted,
        invalid=rows.invalid,
        duplicate=rows.duplicate,
        left_out=rows.left_out,
        generated=events.generated if events else 0,
        by_kind=dict(kinds.most_common()),
        by_country=dict(countries.most_common()),
        reasons=dict(rows.reasons.most_common()),
        rejects=rows.first_rejects,
        cost=amount(spent) if tariff else None,
    )


def _common(ledger: Ledger, kind: Kind, name: str, definition: Mapping[str, Any], *, skip: bool) -> CommonNumbers | None:
    """A counter of numbers that had the same message lately; None where that is allowed."""
    return None if skip else CommonNumbers(ledger, kind, name, definition, since=repeat_since())


def _beyond_cap(settings: Settings, reading: Reading, max_cost: Decimal | None) -> Sequence[Caution]:
    sentence = beyond(settings, reading.cost, max_cost)
    return [Caution("cost_cap", sentence)] if sentence else []


def _approval(campaign: Campaign | TicketEvent, count: int, settings: Settings) -> Sequence[Caution]:
    if isinstance(campaign, Campaign) and campaign.test:
        return []
    above, house = settings.approve_above, settings.hours()
    reasons = []
    if campaign.approve or (above is not None and count > above):
        reasons.append(Caution("approval", "a person has to approve it before the first send"))
    if is_wider(house, campaign.hours):
        wider = f"send_hours: {campaign.hours} goes beyond POSTHORN_SEND_HOURS ({house}); a person has to approve that"
        reasons.append(Caution("approval_hours", wider))
    return reasons


@contextmanager
def _open(settings: Settings) -> Iterator[Ledger]:
    with open_ledger(settings) as ledger:
        yield ledger
