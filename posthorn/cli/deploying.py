"""Put one campaign or event on its own schedule: one place for both kinds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from posthorn.content.amounts import many
from posthorn.models import Kind
from posthorn.process.terminal import say


def deploy(kind: Kind, file: Path, *, cron: str | None, at: str | None, timezone: str | None) -> None:
    """Check the file, add (or replace) its deployment on the Prefect server, and say when it starts."""
    from posthorn.cli import runs
    from posthorn.content import moments
    from posthorn.delivery.planning.check import check_campaign, check_event
    from posthorn.errors import InputError
    from posthorn.settings import load_settings

    if cron is not None and at is not None:
        raise InputError("--at", "give either --cron or --at, not both")
    settings = load_settings()
    zone = moments.checked_zone(timezone or settings.timezone)
    now = datetime.now(UTC)
    moment = moments.read_at(at, zone, zone_is_given=timezone is not None, now=now) if at else None
    checked = (check_event if kind is Kind.EVENT else check_campaign)(file)
    if moment and checked.moment and moment >= checked.moment:
        dispatched = moments.shown(checked.moment, settings.timezone)
        raise InputError(
            "--at", f"its send_at is {dispatched}, which will have passed; name an earlier --at, or change send_at"
        )
    deployed = runs.deploy(kind, settings, checked.name, file.absolute(), cron=cron, at=moment, timezone=zone)
    for oddity in moments.oddities(moment, now, zone, key="--at") if moment else ():
        say(f"warning: {oddity.message}")
    when = f"cron {cron} ({zone})" if cron else "by hand, in the Prefect UI"
    if moment:
        when = f"once, at {moments.shown(moment, zone, settings.timezone)}"
    say(f"{deployed}: {many(checked.reading.valid, kind.item)}; starts {when}")
