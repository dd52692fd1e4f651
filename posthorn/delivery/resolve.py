"""A person's word on messages of unknown outcome: what was looked up in the provider's panel, or asked of the recipient.

Sends nothing. While the campaign is being sent, nobody's word is taken: its run may settle the same messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from posthorn.delivery.find import read_phone
from posthorn.delivery.run import lock_for_lookup
from posthorn.errors import InputError
from posthorn.ledger import deliveries, resolving, sending, totals
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.spool import import_spool
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Kind, MessageState, mask_phone
from posthorn.settings import load_settings

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a person's word did: how many messages are settled, the state they have now, how many are unknown still."""

    name: str
    resolved: int
    state: MessageState
    unknown: int

    @property
    def next(self) -> str:
        """What to do now."""
        if self.state == MessageState.PENDING:
            return "send the campaign's file again with `posthorn campaign send`: it sends to those that were not sent to"
        if self.unknown:
            return f"`posthorn campaign reconcile {self.name}` shows what is still unknown"
        return f"nothing is left to settle; `posthorn campaign status {self.name}` shows how it stands"


def resolve(name: str, numbers: Sequence[str], *, taken: bool, by: str, why: str) -> Resolved:
    """Settle unknown messages of a campaign: those to ``numbers``, or all of them if that is empty; all or none.

    What was taken is accepted; what was not is pending, or cancelled where the campaign was.

    Raises:
        AlreadyRunning: the campaign is being sent, or looked after by another process.
        DeliveryNotFound: there is no campaign of that name.
        InputError: a number cannot be read, or is of no unknown message of the campaign; nothing was settled.
    """
    settings = load_settings()
    if not why.strip():
        raise InputError("--why", "say how you know; it is kept with the decision")
    phones = [read_phone(number, settings) for number in numbers]
    with _looked_after(name) as (ledger, campaign):
        chosen = phones or resolving.unknown_phones(ledger, campaign)
        if not chosen:
            raise InputError(
                "NAME", f"no message of {name} is unknown; `posthorn campaign status {name}` shows how it stands"
            )
        strangers = resolving.resolve(ledger, campaign, chosen, taken=taken, by=by, why=why)
        if strangers:
            listed = ", ".join(mask_phone(phone) for phone in strangers[:_SHOWN])
            more = f" and {len(strangers) - _SHOWN:,} more" if len(strangers) > _SHOWN else ""
            raise InputError(
                "--phone",
                f"{listed}{more}: no unknown message of {name}; nothing was settled."
                f" `posthorn campaign reconcile {name}` shows the unknown ones",
            )
        unknown = totals.totals(ledger, campaign)["unknown"]
    state = MessageState.CANCELLED if campaign.cancelled_at is not None else MessageState.PENDING
    return Resolved(name, len(set(chosen)), MessageState.ACCEPTED if taken else state, unknown)


@contextmanager
def _looked_after(name: str) -> Iterator[tuple[Ledger, Delivery]]:
    """The campaign, with what a dead process left of it made known, and nobody else at it."""
    settings = load_settings()
    with open_ledger(settings) as ledger:
        campaign = deliveries.get(ledger, name, kind=Kind.CAMPAIGN)
        lock_for_lookup(ledger, campaign)
        import_spool(settings.state_dir / "spool", ledger)
        sending.abandon_dead(ledger, campaign)
        yield ledger, deliveries.get(ledger, name, kind=Kind.CAMPAIGN)
