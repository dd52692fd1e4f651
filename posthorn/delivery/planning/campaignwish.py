"""What a campaign file asks for. A row of its list is identified by its number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from posthorn.content.campaign import Campaign
from posthorn.content.definition import CampaignContent
from posthorn.content.inputfile import OnRepeat, input_error
from posthorn.content.recipients.intake import Intake, read_recipients
from posthorn.content.warnings import Caution
from posthorn.content.waves import Waves
from posthorn.delivery.limits.budget import refuse_unpriced
from posthorn.delivery.limits.hours import refuse_outside
from posthorn.delivery.planning.cautions import campaign_cautions
from posthorn.delivery.planning.wish import Batch, ListReading, limit_options, repeat_option
from posthorn.errors import DeliveryChanged
from posthorn.gateways import registry
from posthorn.gateways.descriptor import Descriptor
from posthorn.hours import Hours
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.known import KnownNumbers, KnownRows
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind, Media
from posthorn.settings import Settings


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


@dataclass(frozen=True, slots=True)
class CampaignWish:
    """A campaign file. A row of its list is identified by its number."""

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
        """Its waves; None if everything goes at once and nothing halts it."""
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
            **repeat_option(self.repeat),
            **limit_options(campaign),
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

        Content that is planned already was checked then, and its canary is fixed.

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

    def known(self, ledger: Ledger, planned: Delivery | None, reading: ListReading) -> KnownRows:  # noqa: ARG002 - as an event
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
