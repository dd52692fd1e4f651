"""Housekeeping: what is kept only for a while is erased."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from posthorn.ledger import deliveries, erasing, marks, planning, proof_exclusion
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.settings import Settings

_logger = logging.getLogger(__name__)
_DAY_SECONDS = 86_400
PARKED_DAYS = 30
"""News about an unknown id: its message would have been recorded within seconds."""


@dataclass(frozen=True, slots=True)
class Tidied:
    """How many deliveries were erased, and how many of their messages; news about unknown ids; unfinished plans."""

    campaigns: int
    messages: int
    parked: int
    unfinished: int


def tidy(settings: Settings) -> Tidied:
    """Erase the numbers of what ended ``retention_days`` ago, with its rejects file; the counts stay.

    What an interrupted plan left behind is not a campaign: it goes after a day. Proofs go with their delivery, or as late.
    What is running, waits for news, or needs a person is left alone, however old it is.
    """
    now = time.time()
    count = messages = 0
    with open_ledger(settings) as ledger:
        ended_before = now - settings.retention_days * _DAY_SECONDS
        old = set(erasing.erasable(ledger, ended_before=ended_before))
        for delivery in deliveries.all_records(ledger):
            if delivery.id in old:
                with ledger.locks.hold(delivery.lock_key) as held:
                    # It may have been run, or a ticket of it sent again, while others were erased.
                    if held and erasing.is_erasable(ledger, delivery, ended_before=ended_before):
                        messages += _erase(settings, ledger, delivery)
                        count += 1
        parked = erasing.erase_parked(ledger, received_before=now - PARKED_DAYS * _DAY_SECONDS)
        proof_exclusion.erase_unplanned(ledger, claimed_before=ended_before)
        return Tidied(count, messages, parked, planning.forget_unfinished(ledger, begun_before=now - _DAY_SECONDS))


def _erase(settings: Settings, ledger: Ledger, delivery: Delivery) -> int:
    """Erase a campaign's numbers, its rejects file, and the fingerprints in this machine's mark.

    If something interrupts it, the next round goes on.
    """
    erased = erasing.erase(ledger, delivery)
    try:
        if not delivery.test:
            marks.strip(marks.marks_folder(settings.guard_dir), ledger.uuid, delivery.name)
        if delivery.rejects_file and not erasing.shares_rejects_file(ledger, delivery):
            Path(delivery.rejects_file).unlink(missing_ok=True)
    except OSError as error:
        _logger.warning("a file of %s cannot be erased: %s", delivery.name, error.strerror or error)
    else:
        erasing.mark_erased(ledger, delivery)
    return erased
