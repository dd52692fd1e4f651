"""Checking: everything that can be known about a campaign before anything is sent, or even planned."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from tabulate import tabulate

from posthorn.content.campaign import Campaign, differences, load_campaign
from posthorn.content.recipients.intake import Intake
from posthorn.content.recipients.rejects import Reject
from posthorn.delivery.plan import (
    REPEAT_DAYS,
    allows_loopback,
    chunk_size_of,
    read_rows,
    refuse_beyond_gateway,
    refuse_changes,
)
from posthorn.errors import InputError
from posthorn.gateways import registry
from posthorn.ledger import campaigns, totals
from posthorn.ledger.campaigns import CampaignRecord
from posthorn.ledger.repeats import same_content
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind, Media
from posthorn.settings import Settings, load_settings

MOST_REJECTS = 100_000  # who has more wants another file, not a longer list


@dataclass(frozen=True, slots=True)
class Checked:
    """A campaign that could be sent, and how: rows counted, chunks, media, warnings, the rejected rows.

    ``already`` is how many messages an earlier run has dealt with, None where the name is new.
    """

    name: str
    title: str
    input: int
    valid: int
    invalid: int
    duplicate: int
    chunk_size: int
    requests: int
    send_at: str | None
    test: bool
    media: Sequence[Media]
    warnings: Sequence[str]
    rejects: Sequence[Reject]
    already: int | None

    def as_json(self) -> str:
        """The plan as JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2).decode()

    def as_text(self) -> str:
        """The plan as tables."""
        when = self.send_at or "at once"
        rows = [
            ("campaign", self.name + (" (test: nothing will be sent)" if self.test else "")),
            ("title", self.title),
            ("rows", f"{self.input:,}: {self.valid:,} valid, {self.invalid:,} invalid, {self.duplicate:,} duplicate"),
            ("requests", f"{self.requests:,} of up to {self.chunk_size:,} numbers"),
            ("dispatched", when),
            *(("media", f"{item.source} ({item.content_type}{_size(item)})") for item in self.media),
            *(("warning", warning) for warning in self.warnings),
        ]
        if self.already is not None:
            rows.append(("dealt with", f"{self.already:,} by an earlier run; sending goes on with the rest"))
        text = tabulate(rows, tablefmt="plain")
        if not self.rejects:
            return text
        listed = [(reject.line, reject.value, reject.reason) for reject in self.rejects]
        more = self.invalid + self.duplicate - len(listed)
        table = tabulate(listed, headers=("line", "value", "reason"), tablefmt="simple_outline", disable_numparse=True)
        return f"{text}\n\nRejected rows:\n{table}" + (f"\nand {more:,} more" if more else "")


def check_campaign(path: Path) -> Checked:
    """Check the campaign of that file; nothing is sent, planned or written.

    Raises:
        InputError: it could not be sent; every problem is named.
        CampaignChanged: its name is taken by other content.
    """
    settings = load_settings()
    campaign = load_campaign(path, registry.bounds_of(Kind.CAMPAIGN))
    ledger = Ledger(settings.database_url)
    try:
        planned = _sendable(ledger, campaign, settings)
        counted = totals.totals(ledger, planned) if planned else None
        warnings = campaign.warnings() + ([] if planned or campaign.allow_repeat else _repeats(ledger, campaign, settings))
    finally:
        ledger.close()
    rows = read_rows(campaign, settings, None)
    rows.keep_rejects = MOST_REJECTS
    for _ in rows:
        pass
    if not rows.accepted:
        raise InputError("recipients", _none_valid(rows))
    size = chunk_size_of(campaign, settings)
    return Checked(
        name=campaign.name,
        title=campaign.title,
        input=rows.input,
        valid=rows.accepted,
        invalid=rows.invalid,
        duplicate=rows.duplicate,
        chunk_size=size,
        requests=-(-rows.accepted // size),
        send_at=campaign.send_at.isoformat(sep=" ", timespec="minutes") if campaign.send_at else None,
        test=campaign.test,
        media=campaign.media_items(allow_loopback=allows_loopback(campaign, settings)),
        warnings=warnings + _approval(campaign, rows.accepted, settings),
        rejects=rows.first_rejects,
        already=rows.accepted - counted["pending"] if counted else None,
    )


def refuse_unsendable(campaign: Campaign, settings: Settings) -> None:
    """Refuse, before a server is started for it, what could not be sent; recipients are read up to the first valid one.

    Raises:
        InputError: a file, the media or the recipients cannot be used.
        CampaignChanged: its name is taken by other content.
    """
    ledger = Ledger(settings.database_url)
    try:
        planned = _sendable(ledger, campaign, settings)
    finally:
        ledger.close()
    rows = read_rows(campaign, settings, None)
    if planned is None and next(iter(rows), None) is None:
        raise InputError("recipients", f"{_none_valid(rows)}; `posthorn campaign check` lists why")


def _sendable(ledger: Ledger, campaign: Campaign, settings: Settings) -> CampaignRecord | None:
    """The campaign as the ledger has it, with the same content; or None, and then the file's own checks hold."""
    loopback = allows_loopback(campaign, settings)
    definition = campaign.definition(allow_loopback=loopback)
    planned = campaigns.find(ledger, campaign.name) if not campaign.test else None
    if planned is None:
        refuse_beyond_gateway(campaign)
        campaign.check(datetime.now(UTC), allow_loopback=loopback)
    else:
        refuse_changes(planned, Kind.CAMPAIGN, definition, differences)
        if planned.cancelled_at is not None:
            raise InputError("name", f"{planned.name} was cancelled for good; give it another name to send it after all")
    return planned


def _repeats(ledger: Ledger, campaign: Campaign, settings: Settings) -> list[str]:
    """That sending may be refused: numbers are compared only when the campaign is planned."""
    definition = campaign.definition(allow_loopback=allows_loopback(campaign, settings))
    since = time.time() - REPEAT_DAYS * 86_400
    return [
        f"{other.name} has the same title, text and media; numbers in common will be refused, unless allow_repeat = true"
        for other in same_content(ledger, Kind.CAMPAIGN, campaign.name, definition, since=since)
    ]


def _approval(campaign: Campaign, count: int, settings: Settings) -> list[str]:
    above = settings.approve_above
    if campaign.test or not (campaign.approve or (above is not None and count > above)):
        return []
    return ["a person has to approve it before the first send"]


def _none_valid(rows: Intake) -> str:
    return f"none of the {rows.input:,} rows of {rows.path} is a valid number"


def _size(media: Media) -> str:
    return "" if media.size is None else f", {media.size:,} bytes"
