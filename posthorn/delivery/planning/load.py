"""A campaign or event file is read: whatever is wrong with it is named at once."""

from __future__ import annotations

from pathlib import Path

from posthorn.content.campaign import load_campaign
from posthorn.content.event import load_event
from posthorn.delivery.planning.campaignwish import CampaignWish
from posthorn.delivery.planning.eventwish import EventWish
from posthorn.delivery.planning.wish import Wish
from posthorn.gateways import registry
from posthorn.models import Kind
from posthorn.settings import Settings


def load_wish(path: Path, kind: Kind, settings: Settings) -> Wish:
    """The campaign or event of that file.

    Raises:
        InputError: with everything that is wrong with it.
    """
    if kind == Kind.EVENT:
        return EventWish(load_event(path, registry.bounds_of(kind)), settings)
    return CampaignWish(load_campaign(path, registry.bounds_of(kind)), settings)
