"""Campaign and event files, read for the gateways that there are."""

from __future__ import annotations

from pathlib import Path

from posthorn.content import campaign, event
from posthorn.gateways import registry
from posthorn.models import Kind


def load_campaign(path: Path) -> campaign.Campaign:
    return campaign.load_campaign(path, registry.bounds_of(Kind.CAMPAIGN))


def load_event(path: Path) -> event.TicketEvent:
    return event.load_event(path, registry.bounds_of(Kind.EVENT))
