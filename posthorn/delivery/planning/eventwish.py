"""What an event file asks for. A row of its list is identified by its code, its key, or its number and other columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from posthorn.content.definition import EventContent
from posthorn.content.event import AttendeeIntake, TicketEvent
from posthorn.content.inputfile import OnRepeat
from posthorn.content.warnings import Caution
from posthorn.content.waves import Waves
from posthorn.delivery.limits.budget import refuse_unpriced
from posthorn.delivery.limits.hours import refuse_outside
from posthorn.delivery.planning.cautions import CodeLengths, event_cautions
from posthorn.delivery.planning.wish import Batch, ListReading, limit_options, repeat_option
from posthorn.delivery.preparing.tickets import refuse_unsendable_event
from posthorn.gateways import registry
from posthorn.gateways.descriptor import Descriptor
from posthorn.hours import Hours
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.known import KnownRows, KnownTickets
from posthorn.ledger.planning import Row
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind, Media
from posthorn.settings import Settings


@dataclass(frozen=True, slots=True)
class EventWish:
    """An event file. A row of its list is identified by its code, its key, or its number and other columns."""

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
        opt_outs = {"opt_outs": self.event.opt_outs} if self.event.opt_outs != "all" else {}
        return {"approve": self.event.approve, **repeat_option(self.repeat), **limit_options(self.event), **opt_outs}

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

    def known(self, ledger: Ledger, planned: Delivery | None, reading: ListReading) -> KnownRows:
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
