"""What a file wishes for, of a campaign or an event in one shape: the merge and the check know no other.

Where the two differ is in here: what identifies a row, what its content is, and what cannot be sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from posthorn.content.campaign import Campaign, load_campaign
from posthorn.content.definition import CampaignContent, Content, EventContent
from posthorn.content.event import AttendeeIntake, TicketEvent, load_event
from posthorn.content.inputfile import OnRepeat, input_error
from posthorn.content.recipients.intake import Intake, read_recipients
from posthorn.content.warnings import Caution
from posthorn.content.waves import Waves
from posthorn.delivery.limits.budget import refuse_unpriced
from posthorn.delivery.limits.hours import refuse_outside
from posthorn.delivery.planning.cautions import CodeLengths, campaign_cautions, event_cautions
from posthorn.delivery.preparing.tickets import refuse_unsendable_event
from posthorn.errors import DeliveryChanged
from posthorn.gateways import registry
from posthorn.gateways.descriptor import Descriptor
from posthorn.hours import Hours
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.known import Known, KnownNumbers, KnownTickets
from posthorn.ledger.planning import Row
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind, Media, Phone
from posthorn.settings import Settings

Batch = Sequence[tuple[int, Phone]] | Sequence[Row]


class ListReading(Protocol):
    """A list that is being read: its batches once, and what was counted on the way."""

    @property
    def intake(self) -> Intake | AttendeeIntake:
        """The file of rows."""

    def __iter__(self) -> Iterator[Batch]:
        """The accepted rows, as the ledger takes them."""

    def cautions(self) -> list[Caution]:
        """What is probably a slip; complete once the rows have been read."""


class Wish(Protocol):
    """A checked campaign or event file."""

    @property
    def kind(self) -> Kind:
        """What it is."""

    @property
    def settings(self) -> Settings:
        """What holds for this machine."""

    @property
    def list_key(self) -> str:
        """The key that names its list."""

    @property
    def name(self) -> str:
        """Its identity."""

    @property
    def test(self) -> bool:
        """Whether nothing is to be sent."""

    @property
    def gateway(self) -> Descriptor:
        """The gateway that is to send it."""

    @property
    def strict(self) -> bool:
        """Whether warnings block."""

    @property
    def landlines(self) -> bool:
        """Whether landline numbers are taken, too."""

    @property
    def asks_approval(self) -> bool:
        """Whether a person must approve it, however small it is."""

    @property
    def hours(self) -> Hours | None:
        """The hours that its file gives it."""

    @property
    def max_cost(self) -> Decimal | None:
        """The most that it may cost, by its file."""

    @property
    def waves(self) -> Waves | None:
        """How it goes out; None where all goes at once and nothing halts it."""

    @property
    def repeat(self) -> OnRepeat:
        """What is done about numbers that have had the same lately."""

    @property
    def reuses_codes(self) -> bool:
        """Whether its codes may be another event's."""

    @property
    def chunk_size(self) -> int:
        """How many numbers each of its requests has."""

    def content(self) -> Content:
        """What it sends."""

    def options(self) -> dict[str, Any]:
        """What may change between runs."""

    def media(self) -> Sequence[Media]:
        """Its files."""

    def list_hash(self, sha256: str | None = None) -> str:
        """What tells its list from another; ``sha256`` of its bytes, where they were read already."""

    def refuse_unsendable(self, planned: Delivery | None, *, is_new: bool, is_late: bool = False) -> None:
        """Refuse what cannot be sent, whoever it is for; what is not new was asked already.

        ``is_late``: a person has accepted that its moment has passed.
        """

    def read(self, rejects: Path | None) -> ListReading:
        """Open its list."""

    def known(self, ledger: Ledger, planned: Delivery | None, reading: ListReading) -> Known:
        """What of its list is planned already."""


def load_wish(path: Path, kind: Kind, settings: Settings) -> Wish:
    """The campaign or event of that file.

    Raises:
        InputError: with everything that is wrong with it.
    """
    if kind == Kind.EVENT:
        return EventWish(load_event(path, registry.bounds_of(kind)), settings)
    return CampaignWish(load_campaign(path, registry.bounds_of(kind)), settings)


def _refuse_other_waves(planned: Delivery, campaign: Campaign) -> None:
    """Refuse a file that now has another canary or ramp than was planned: who goes first has been cut already.

    Raises:
        DeliveryChanged: with the key.
    """
    now = campaign.wave_options()
    for key in ("canary", "ramp"):
        if planned.options.get(key) != now.get(key):
            raise DeliveryChanged(
                f"{planned.name} is planned with {key} = {planned.options.get(key) or 'none'}, and that cannot change now:"
                " take the change back, or give it another name"
            )


def _repeat(chosen: OnRepeat) -> dict[str, Any]:
    return {} if chosen == "refuse" else {"on_repeat": chosen}


def _limits(one: Campaign | TicketEvent) -> dict[str, Any]:
    """When a campaign or an event may be sent, and what it may cost, by its file."""
    hours = {"send_hours": one.send_hours} if one.send_hours else {}
    return {**hours, **({"max_cost": str(one.max_cost)} if one.max_cost is not None else {})}


@dataclass(frozen=True, slots=True)
class CampaignWish:
    """A campaign file. A row of its list is its number."""

    campaign: Campaign
    settings: Settings
    look_at_urls: bool = False
    kind: Kind = Kind.CAMPAIGN
    list_key: str = "recipients"

    @property
    def name(self) -> str:
        """Its identity."""
        return self.campaign.name

    @property
    def test(self) -> bool:
        """Whether nothing is to be sent."""
        return self.campaign.test

    @property
    def gateway(self) -> Descriptor:
        """The gateway that is to send it."""
        return registry.chosen(Kind.CAMPAIGN, self.campaign.gateway)

    @property
    def strict(self) -> bool:
        """Whether warnings block."""
        return self.campaign.strict

    @property
    def landlines(self) -> bool:
        """Whether landline numbers are taken, too."""
        return self.campaign.landlines

    @property
    def asks_approval(self) -> bool:
        """Whether a person must approve it, however small it is."""
        return self.campaign.approve

    @property
    def hours(self) -> Hours | None:
        """The hours that its file gives it."""
        return self.campaign.hours

    @property
    def max_cost(self) -> Decimal | None:
        """The most that it may cost, by its file."""
        return self.campaign.max_cost

    @property
    def waves(self) -> Waves | None:
        """How it goes out; None where all goes at once and nothing halts it."""
        return self.campaign.waves

    @property
    def repeat(self) -> OnRepeat:
        """What is done about numbers that have had the same message lately; a test goes to nobody."""
        return "send" if self.campaign.test else self.campaign.repeat()

    @property
    def reuses_codes(self) -> bool:
        """It has none."""
        return True

    @property
    def chunk_size(self) -> int:
        """How many numbers each of its requests has."""
        return self.campaign.chunk_size or self.gateway.account(self.settings).chunk_size

    @property
    def allows_loopback(self) -> bool:
        """Whether media URLs may point to this machine: only where the gateway is a stand-in on it."""
        return self.gateway.account(self.settings).is_local

    def content(self) -> CampaignContent:
        """What it sends."""
        return self.campaign.content(allow_loopback=self.allows_loopback)

    def options(self) -> dict[str, Any]:
        """What may change between runs."""
        campaign = self.campaign
        return {
            "resend_unconfirmed": campaign.resend_unconfirmed,
            "approve": campaign.approve,
            "verify": campaign.verify,
            **_repeat(self.repeat),
            **_limits(campaign),
            **campaign.wave_options(),
        }

    def media(self) -> Sequence[Media]:
        """Its files, checked and hashed."""
        return self.campaign.media_items(allow_loopback=self.allows_loopback)

    def list_hash(self, sha256: str | None = None) -> str:
        """What tells its list from another."""
        return self.campaign.list_hash(self.settings.default_region, sha256)

    def refuse_unsendable(self, planned: Delivery | None, *, is_new: bool, is_late: bool = False) -> None:
        """Refuse what its gateway cannot do, a moment that has passed or is outside the hours, media that cannot be used.

        What is planned with this content was asked then, and its canary is cut.

        Raises:
            InputError: every problem, with the key to change.
            DeliveryChanged: its canary or ramp is another than was planned.
        """
        if planned is not None:
            _refuse_other_waves(planned, self.campaign)
        if not is_new:
            return
        now = datetime.now(UTC)
        campaign = self.campaign.model_copy(update={"send_at": None}) if is_late else self.campaign
        self._refuse_beyond_gateway()
        campaign.check(now, allow_loopback=self.allows_loopback)
        if not campaign.test:
            refuse_outside(self.settings, campaign.hours, now, send_at=campaign.send_at, hold_minutes=campaign.hold_minutes)
            refuse_unpriced(self.settings, self.gateway.name, campaign.max_cost)

    def _refuse_beyond_gateway(self) -> None:
        campaign, gateway = self.campaign, self.gateway
        keeps = gateway.holds and gateway.withdraws
        wanted = [
            ("hold_minutes", bool(campaign.hold_minutes) and not keeps, "keep messages back"),
            ("send_at", campaign.send_at is not None and not gateway.holds, "dispatch messages later"),
            ("media", bool(campaign.media) and not gateway.uploads, "take files"),
            ("test", campaign.test and not gateway.tests, "check a request without sending it"),
        ]
        problems = [
            (key, f"{gateway.title} does not {ability}; leave it out") for key, is_lacking, ability in wanted if is_lacking
        ]
        if problems:
            raise input_error(problems)

    def read(self, rejects: Path | None) -> ListReading:
        """Open its list."""
        region = self.settings.default_region
        wanted = self.campaign.wanted(region)
        path, landlines = self.campaign.recipients_path, self.campaign.landlines
        return _Recipients(self, read_recipients(path, region=region, rejects=rejects, wanted=wanted, landlines=landlines))

    def known(self, ledger: Ledger, planned: Delivery | None, reading: ListReading) -> Known:  # noqa: ARG002 - as an event
        """What of its list is planned already."""
        return KnownNumbers(ledger, planned)


@dataclass(frozen=True, slots=True)
class _Recipients:
    wish: CampaignWish
    intake: Intake

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.intake)

    def cautions(self) -> list[Caution]:
        campaign, wish = self.wish.campaign, self.wish
        looks, loopback = wish.look_at_urls, wish.allows_loopback
        now = datetime.now(UTC)
        return campaign_cautions(campaign, self.intake.file, wish.settings, now, loopback=loopback, look_at_urls=looks)


@dataclass(frozen=True, slots=True)
class EventWish:
    """An event file. A row of its list is its code, its key, or its number and other columns."""

    event: TicketEvent
    settings: Settings
    kind: Kind = Kind.EVENT
    list_key: str = "attendees"
    chunk_size: int = 1
    test: bool = False
    waves: Waves | None = None

    @property
    def name(self) -> str:
        """Its identity."""
        return self.event.name

    @property
    def gateway(self) -> Descriptor:
        """The gateway that is to send it."""
        return registry.chosen(Kind.EVENT, self.event.gateway)

    @property
    def strict(self) -> bool:
        """Whether warnings block."""
        return self.event.strict

    @property
    def landlines(self) -> bool:
        """Whether landline numbers are taken, too."""
        return self.event.landlines

    @property
    def asks_approval(self) -> bool:
        """Whether a person must approve it, however small it is."""
        return self.event.approve

    @property
    def hours(self) -> Hours | None:
        """The hours that its file gives it."""
        return self.event.hours

    @property
    def max_cost(self) -> Decimal | None:
        """The most that it may cost, by its file."""
        return self.event.max_cost

    @property
    def repeat(self) -> OnRepeat:
        """What is done about numbers that have had the same stored MMS lately."""
        return self.event.repeat()

    @property
    def reuses_codes(self) -> bool:
        """Whether its codes may be another event's."""
        return self.event.allow_code_reuse

    def content(self) -> EventContent:
        """What its tickets are made of."""
        return self.event.content()

    def options(self) -> dict[str, Any]:
        """What may change between runs."""
        heeds = {"opt_outs": self.event.opt_outs} if self.event.opt_outs != "all" else {}
        return {"approve": self.event.approve, **_repeat(self.repeat), **_limits(self.event), **heeds}

    def media(self) -> Sequence[Media]:
        """It has none of its own: they are in the stored MMS."""
        return ()

    def list_hash(self, sha256: str | None = None) -> str:
        """What tells its list from another."""
        return self.event.list_hash(self.settings.default_region, sha256)

    def refuse_unsendable(self, planned: Delivery | None, *, is_new: bool, is_late: bool = False) -> None:  # noqa: ARG002 - it has none
        """Refuse keys that the provider's parameters cannot hold, hours that leave no moment, a cap without a price.

        Raises:
            InputError: which key, and why.
        """
        if is_new:
            refuse_unsendable_event(self.event, self._open(None))
        refuse_outside(self.settings, self.event.hours, datetime.now(UTC))
        refuse_unpriced(self.settings, self.gateway.name, self.event.max_cost)

    def read(self, rejects: Path | None) -> ListReading:
        """Open its list."""
        return _Attendees(self.settings, self._open(rejects), CodeLengths())

    def _open(self, rejects: Path | None) -> AttendeeIntake:
        settings = self.settings
        return AttendeeIntake(self.event, settings.default_region, rejects, code_length=settings.barcode_length)

    def known(self, ledger: Ledger, planned: Delivery | None, reading: ListReading) -> Known:
        """What of its list is planned already."""
        intake = reading.intake
        assert isinstance(intake, AttendeeIntake)
        return KnownTickets(ledger, planned, key=intake.key, own=intake.own_columns)


@dataclass(frozen=True, slots=True)
class _Attendees:
    settings: Settings
    intake: AttendeeIntake
    lengths: CodeLengths

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.intake:
            self.lengths.add(batch)
            yield [Row(one.line, one.phone, one.copy, one.barcode, one.fields, one.is_generated) for one in batch]

    def cautions(self) -> list[Caution]:
        return event_cautions(self.intake, self.lengths, self.settings)
