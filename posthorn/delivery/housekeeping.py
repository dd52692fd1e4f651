"""Housekeeping: what is kept for a while only."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from posthorn.ledger import campaigns, erasing, planning
from posthorn.ledger.store import Ledger
from posthorn.settings import Settings

_DAY_SECONDS = 86_400
PARKED_DAYS = 30
"""News about an unknown id: its message would have been recorded within seconds."""


@dataclass(frozen=True, slots=True)
class Tidied:
    """Campaigns and events whose numbers were erased, messages of theirs; news that was nobody's; unfinished plans."""

    campaigns: int
    messages: int
    parked: int
    unfinished: int


def tidy(settings: Settings) -> Tidied:
    """Erase the numbers of what ended ``retention_days`` ago, with its rejects file; the counts stay.

    What an interrupted plan left behind is no campaign, and goes after a day.
    What is running, waits for news, or needs a person is left alone, however old it is.
    """
    now = time.time()
    count = messages = 0
    ledger = Ledger(settings.database_url)
    try:
        old = set(erasing.erasable(ledger, ended_before=now - settings.retention_days * _DAY_SECONDS))
        for campaign in campaigns.all_records(ledger):
            if campaign.id in old:
                with ledger.locks.hold(campaign.lock_key) as held:
                    if held:
                        messages += erasing.erase(ledger, campaign)
                        if campaign.rejects_file:
                            Path(campaign.rejects_file).unlink(missing_ok=True)
                        count += 1
        parked = erasing.erase_parked(ledger, received_before=now - PARKED_DAYS * _DAY_SECONDS)
        return Tidied(count, messages, parked, planning.forget_unfinished(ledger, begun_before=now - _DAY_SECONDS))
    finally:
        ledger.close()
