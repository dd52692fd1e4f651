"""Planning: a campaign file becomes a campaign in the ledger, every recipient once; or the one that is there goes on."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from posthorn.content import inputfile
from posthorn.content.campaign import Campaign, differences, load_campaign
from posthorn.content.event import TicketEvent
from posthorn.content.inputfile import input_error
from posthorn.content.recipients.intake import Intake, read_recipients
from posthorn.content.warnings import Caution, refuse_if_strict
from posthorn.delivery.budget import refuse_unpriced
from posthorn.delivery.cautions import campaign_cautions
from posthorn.delivery.hours import refuse_outside
from posthorn.delivery.run import try_lock
from posthorn.errors import AlreadyRunning, DeliveryChanged, InputError
from posthorn.gateways import registry
from posthorn.gateways.descriptor import Descriptor
from posthorn.ledger import deliveries, planning
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.planning import NewDelivery
from posthorn.ledger.repeats import Repeat, repeats
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind
from posthorn.settings import Settings, SettingsError, load_settings

REPEAT_DAYS = 7
"""How far back the same message to the same numbers under another name is taken for a slip."""


async def plan_campaign(path: Path, *, workers: int = 1) -> Delivery:
    """Plan the campaign of that file, or find it planned with the same content. See ``plan_file``.

    Raises:
        SettingsError: several worker processes are to send it, and the ledger is not for that.
    """
    settings = load_settings()
    if workers > 1 and settings.database_url.startswith("sqlite"):
        raise SettingsError(
            f"workers: {workers} processes need the ledger on PostgreSQL; set POSTHORN_DATABASE_URL, or send it with one"
        )
    return await asyncio.to_thread(plan_file, path, settings)


def plan_file(path: Path, settings: Settings) -> Delivery:
    """Plan the campaign of that file, or find it planned with the same content; a test is planned anew each time.

    Rejected rows go to ``<name>.rejects.csv`` beside the campaign file; they never stop the rest.

    Raises:
        InputError: the file, its media or its recipients cannot be used; nothing was planned.
        DeliveryChanged: the name is planned with other content; what differs is listed.
        AlreadyRunning: another process plans or sends it right now.
    """
    campaign = load_campaign(path, registry.bounds_of(Kind.CAMPAIGN))
    ledger = Ledger(settings.database_url)
    try:
        with planning_lock(ledger, campaign.name, test=campaign.test):
            definition = campaign.definition(allow_loopback=allows_loopback(campaign, settings))
            planned = deliveries.find(ledger, campaign.name, test=campaign.test)
            if planned is None or campaign.test:
                return _plan(ledger, campaign, definition, path, settings)
            refuse_changes(planned, Kind.CAMPAIGN, definition, differences)
            refuse_other_selection(planned, campaign.selection())
            deliveries.change_options(ledger, planned, {**options(campaign), **as_read(planned)})
            return planned
    finally:
        ledger.close()


def gateway_of(campaign: Campaign) -> Descriptor:
    """The gateway that is to send it."""
    return registry.chosen(Kind.CAMPAIGN, campaign.gateway)


def allows_loopback(campaign: Campaign, settings: Settings) -> bool:
    """Whether media URLs may point to this machine: only where the gateway is a stand-in on it."""
    return gateway_of(campaign).account(settings).is_local


def refuse_beyond_gateway(campaign: Campaign) -> None:
    """Refuse what the campaign's gateway cannot do.

    Raises:
        InputError: it asks for that; the message names the key to leave out.
    """
    gateway = gateway_of(campaign)
    wanted = [
        ("hold_minutes", bool(campaign.hold_minutes) and not (gateway.holds and gateway.withdraws), "keep messages back"),
        ("send_at", campaign.send_at is not None and not gateway.holds, "dispatch messages later"),
        ("media", bool(campaign.media) and not gateway.uploads, "take files"),
        ("test", campaign.test and not gateway.tests, "check a request without sending it"),
    ]
    problems = [
        (key, f"{gateway.title} does not {ability}; leave it out") for key, is_lacking, ability in wanted if is_lacking
    ]
    if problems:
        raise input_error(problems)


def refuse_beyond_limits(campaign: Campaign, settings: Settings, now: datetime) -> None:
    """Refuse a campaign whose messages would reach people outside the hours, or that has a cap and no price.

    Raises:
        InputError: with the key to change.
    """
    if not campaign.test:
        refuse_outside(settings, campaign.hours, now, send_at=campaign.send_at, hold_minutes=campaign.hold_minutes)
        refuse_unpriced(settings, gateway_of(campaign).name, campaign.max_cost)


_WAYS_ON = {
    Kind.CAMPAIGN: "Give this one another name",
    Kind.EVENT: "Put those who are new into an event of their own",
}


def refuse_changes(
    planned: Delivery,
    kind: Kind,
    definition: dict[str, Any],
    differences: Callable[[Mapping[str, object], Mapping[str, object]], list[str]],
) -> None:
    """Refuse a file that has the name of a planned campaign or event, but not its content.

    Raises:
        DeliveryChanged: with each difference, one a line.
    """
    old, new = planned.kind.name.lower(), kind.name.lower()
    changed = differences(planned.definition, definition) if old == new else [f"that is a {old}, this is a {new}"]
    if changed:
        listed = "\n".join(f"  {sentence}" for sentence in changed)
        raise DeliveryChanged(
            f"{planned.name} is in the ledger with other content:\n{listed}\n"
            f"{_WAYS_ON[kind]}, or take the changes back to go on with the old one."
        )


def refuse_other_selection(planned: Delivery, selection: Mapping[str, object]) -> None:
    """Refuse a file that now means other rows, or another column, of the list that was planned.

    Raises:
        DeliveryChanged: with each difference, one a line.
    """
    changed = inputfile.differences(planned.options.get("selection", {}), selection)
    if changed:
        listed = "\n".join(f"  {sentence}" for sentence in changed)
        raise DeliveryChanged(
            f"{planned.name} is in the ledger with other rows of its list:\n{listed}\n"
            f"{_WAYS_ON[planned.kind]}, or take the changes back to go on with the old one."
        )


def as_read(planned: Delivery) -> dict[str, Any]:
    """What the options keep about the list as it was planned."""
    return {key: planned.options[key] for key in ("selection", "reading") if key in planned.options}


def reading_options(column: str, selection: Mapping[str, object], cautions: Sequence[Caution]) -> dict[str, Any]:
    """What the ledger keeps about how the list was read, for the approval and for the next run of the file."""
    reading = {"column": column, "warnings": [one.message for one in cautions]}
    return {"reading": reading, **({"selection": dict(selection)} if selection else {})}


def refuse_if_running(settings: Settings, name: str, *, test: bool) -> None:
    """Say at once that the campaign is running elsewhere, before anything is started for it.

    Raises:
        AlreadyRunning: with since when and by whom.
    """
    ledger = Ledger(settings.database_url)
    try:
        planned = deliveries.find(ledger, name, test=test)
        if planned is not None:
            try_lock(ledger, planned)
    finally:
        ledger.close()


def read_rows(campaign: Campaign, settings: Settings, rejects: Path | None) -> Intake:
    """The campaign's recipients; rejected rows go to ``rejects``."""
    region = settings.default_region
    return read_recipients(
        campaign.recipients_path,
        region=region,
        rejects=rejects,
        wanted=campaign.wanted(region),
        landlines=campaign.landlines,
    )


def chunk_size_of(campaign: Campaign, settings: Settings) -> int:
    """How many numbers each of its requests has."""
    return campaign.chunk_size or gateway_of(campaign).account(settings).chunk_size


def rejects_path(path: Path, name: str) -> Path:
    """Where rejected rows of the campaign in ``path`` go."""
    return path.parent / f"{name}.rejects.csv"


def options(campaign: Campaign) -> dict[str, Any]:
    """What may change between runs of the same campaign."""
    return {
        "resend_unconfirmed": campaign.resend_unconfirmed,
        "verify": campaign.verify,
        **limits(campaign),
    }


def limits(one: Campaign | TicketEvent) -> dict[str, Any]:
    """When a campaign or an event may be sent, what it may cost, and whether somebody must approve it, by its file."""
    hours = {"send_hours": one.send_hours} if one.send_hours else {}
    most = {"max_cost": str(one.max_cost)} if one.max_cost is not None else {}
    return {"approve": one.approve, **hours, **most}


def _plan(ledger: Ledger, campaign: Campaign, definition: dict[str, Any], path: Path, settings: Settings) -> Delivery:
    loopback = allows_loopback(campaign, settings)
    now = datetime.now(UTC)
    refuse_beyond_gateway(campaign)
    campaign.check(now, allow_loopback=loopback)
    refuse_beyond_limits(campaign, settings, now)
    rejects = rejects_path(path, campaign.name)
    rows = read_rows(campaign, settings, rejects)
    cautions = campaign_cautions(campaign, rows.file, settings, now, loopback=loopback, look_at_urls=False)
    refuse_if_strict(cautions, strict=campaign.strict)
    new = NewDelivery(
        kind=Kind.CAMPAIGN,
        name=campaign.name,
        gateway=gateway_of(campaign).name,
        definition=definition,
        options={**options(campaign), **reading_options(rows.file.phone_title, campaign.selection(), cautions)},
        chunk_size=chunk_size_of(campaign, settings),
        test=campaign.test,
        media=campaign.media_items(allow_loopback=loopback),
        rejects_file=str(rejects.absolute()),
    )
    if rows.sha256 != definition["recipients"]:
        raise InputError("recipients", f"{rows.path} changed while it was being planned; nothing was planned, start again")
    may_repeat = campaign.allow_repeat or campaign.test
    check = None if may_repeat else functools.partial(refuse_repeat, ledger, new)
    planned = planning.plan(ledger, new, rows, check)
    if planned is None:
        raise InputError("recipients", f"none of the {rows.input:,} rows of {rows.path} is a valid number; see {rejects}")
    return planned


def refuse_repeat(ledger: Ledger, new: NewDelivery, campaign_id: int) -> None:
    """Refuse the same message to the same people under a new name: a slip that no lock and no ledger row would catch.

    Raises:
        InputError: it went, or may still go, to some of the numbers; those campaigns or events are named.
    """
    refuse_repeats(new.kind, repeats(ledger, new.kind, campaign_id, new.name, new.definition, since=repeat_since()))


def repeat_since() -> float:
    """Since when the same message to the same numbers is taken for a slip."""
    return time.time() - REPEAT_DAYS * 86_400


def refuse_repeats(kind: Kind, found: Sequence[Repeat]) -> None:
    """Refuse where others with the same content have numbers in common.

    Raises:
        InputError: they are named.
    """
    if not found:
        return
    listed = "; ".join(
        f"{one.numbers:,} of them in {one.name} of {datetime.fromtimestamp(one.created_at).astimezone():%Y-%m-%d %H:%M}"
        for one in found
    )
    what, way = _REPEATED[kind]
    raise InputError(
        "name",
        f"{what} went to some of these numbers in the last {REPEAT_DAYS} days: {listed}. Nothing was sent. {way}, or set"
        " allow_repeat = true to send it to them again on purpose",
    )


_REPEATED = {
    Kind.CAMPAIGN: ("the same title, text and media", "Go on with that campaign"),
    Kind.EVENT: ("the same stored MMS", "Go on with that event, leave only who is new in the file"),
}


@contextmanager
def planning_lock(ledger: Ledger, name: str, *, test: bool = False) -> Iterator[None]:
    """Hold the lock of a campaign or event while it is planned.

    Raises:
        AlreadyRunning: another process plans or sends it.
    """
    key = deliveries.lock_key(name, test=test)
    planned = deliveries.find(ledger, name, test=test)
    if planned is not None:
        try_lock(ledger, planned)  # who only looks it up minds no options, and its content is frozen
    elif not ledger.locks.acquire(key):
        raise AlreadyRunning(f"{name} is already running elsewhere: another process is planning it")
    try:
        yield
    finally:
        ledger.locks.release(key)
