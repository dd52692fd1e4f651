"""Which campaigns need something: a look that may settle more, or an action whose moment has come."""

from __future__ import annotations

import time

from posthorn.ledger import copies, deliveries, totals
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Kind, MessageState


def names_to_settle() -> list[str]:
    """The names of the campaigns, except tests, for which another look may settle something.

    They have messages of unknown outcome, or the provider still keeps what is not to go out. Messages that a dead process
    left in the middle of a request are of unknown outcome, too.
    """
    with open_ledger() as ledger:
        records = [record for record in deliveries.all_records(ledger, Kind.CAMPAIGN) if not record.test]
        return [record.name for record in records if _is_unsettled(ledger, record)]


def looks_due(within_seconds: float) -> list[str]:
    """The names of the campaigns whose last look is overdue, or due within so many seconds."""
    with open_ledger() as ledger:
        return [record.name for record in deliveries.looks_due(ledger, time.time() + within_seconds)]


def going_on() -> list[Delivery]:
    """The deliveries whose rest may be sent by now and that nobody runs."""
    with open_ledger() as ledger:
        return [one for one in deliveries.going_on(ledger, time.time()) if ledger.locks.is_free(one.lock_key)]


def _is_unsettled(ledger: Ledger, delivery: Delivery) -> bool:
    counted = totals.totals(ledger, delivery)
    is_abandoned = counted["sending"] and ledger.locks.is_free(delivery.lock_key)
    is_kept = delivery.cancelled_at is not None and counted["scheduled"]
    is_surplus = MessageState.SCHEDULED in copies.counted(ledger, delivery).values()
    return bool(counted["unknown"] or is_abandoned or is_kept or is_surplus)
