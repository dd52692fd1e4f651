"""All warnings about a campaign or an event, gathered in one place for `check`, the start of `send`, and planning."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from posthorn.content import moments
from posthorn.content.campaign import Campaign
from posthorn.content.event import Attendee, AttendeeIntake
from posthorn.content.media.barcode import survival_warning
from posthorn.content.recipients.csvfile import CsvFile
from posthorn.content.recipients.doubts import list_cautions
from posthorn.content.warnings import Caution
from posthorn.settings import Settings


def campaign_cautions(
    campaign: Campaign, file: CsvFile, settings: Settings, now: datetime, *, loopback: bool, look_at_urls: bool
) -> list[Caution]:
    """What is probably a mistake in a campaign, its media and the columns of its list.

    The hosts of media URLs are asked if ``look_at_urls`` or ``strict``: what blocks must be the same everywhere.
    """
    found = campaign.warnings(allow_loopback=loopback) + list_cautions(file, settings.default_region)
    if campaign.send_at is not None:
        found += moments.oddities(campaign.send_at, now, settings.timezone)
    if look_at_urls or campaign.strict:
        found += campaign.url_warnings(allow_loopback=loopback)
    return found


class CodeLengths:
    """One code of each length, to see whether codes survive what carriers do to pictures."""

    def __init__(self) -> None:
        self._codes: dict[int, str] = {}

    def add(self, attendees: Iterable[Attendee]) -> None:
        """Keep a code of each length that is new."""
        for one in attendees:
            self._codes.setdefault(len(one.barcode), one.barcode)

    def cautions(self) -> list[Caution]:
        """Draw, shrink and recompress each code, and say which can no longer be read."""
        sentences = (survival_warning(self._codes[length]) for length in sorted(self._codes))
        return [Caution("code_survival", sentence) for sentence in sentences if sentence]


def event_cautions(rows: AttendeeIntake, lengths: CodeLengths, settings: Settings) -> list[Caution]:
    """What is probably a mistake in an event's list, and codes that may not survive. The rows have been read."""
    return [*rows.warnings(), *list_cautions(rows.file, settings.default_region), *lengths.cautions()]
