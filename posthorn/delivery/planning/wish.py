"""What a campaign or event file asks for, in one shape: the merge and the check know no other.

``campaignwish`` and ``eventwish`` hold what differs: what identifies a row, what is sent, what cannot be sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from posthorn.content.campaign import Campaign
from posthorn.content.definition import Content
from posthorn.content.event import AttendeeIntake, TicketEvent
from posthorn.content.inputfile import OnRepeat
from posthorn.content.recipients.intake import Intake
from posthorn.content.warnings import Caution
from posthorn.content.waves import Waves
from posthorn.gateways.descriptor import Descriptor
from posthorn.hours import Hours
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.known import KnownRows
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
        """Warnings about what is probably a mistake; complete once the rows have been read."""


class Wish(Protocol):
    """A checked campaign or event file."""

    @property
    def kind(self) -> Kind:
        """What it is."""

    @property
    def settings(self) -> Settings:
        """This machine's settings."""

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
        """Its waves; None if everything goes at once and nothing halts it."""

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
        """What tells its list from another; ``sha256`` of its bytes, if they were read already."""

    def refuse_unsendable(self, planned: Delivery | None, *, is_new: bool, is_late: bool = False) -> None:
        """Refuse content that cannot be sent to anybody. If it is not new, it was checked before.

        ``is_late``: a person has accepted that its moment has passed.
        """

    def read(self, rejects: Path | None) -> ListReading:
        """Open its list."""

    def known(self, ledger: Ledger, planned: Delivery | None, reading: ListReading) -> KnownRows:
        """What of its list is planned already."""


def repeat_option(chosen: OnRepeat) -> dict[str, Any]:
    """What a file says about repeats, as an option; empty if it says nothing."""
    return {} if chosen == "refuse" else {"on_repeat": chosen}


def limit_options(one: Campaign | TicketEvent) -> dict[str, Any]:
    """When a campaign or an event may be sent, and what it may cost, by its file."""
    hours = {"send_hours": one.send_hours} if one.send_hours else {}
    return {**hours, **({"max_cost": str(one.max_cost)} if one.max_cost is not None else {})}
