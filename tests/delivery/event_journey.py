"""An event's whole journey without Prefect: sample files, the steps one after the other, and the ledger's view after."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from posthorn.delivery.deliver import deliver_event
from posthorn.delivery.limits.hours import Clock
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.tickets import preflight_event
from posthorn.delivery.running.run import open_ticket_run
from posthorn.errors import GatewayError, Stopped
from posthorn.ledger import deliveries, tickets
from posthorn.ledger.store.engine import Ledger
from posthorn.ledger.tickets import Ticket
from posthorn.models import Kind
from posthorn.settings import Settings, SkycoreSettings
from tests.delivery.journey import status_of

MMS_ID = "35674"


def ticket_settings(url: str, folder: Path, **skycore: Any) -> Settings:
    given = {"base_url": f"{url}/API/wxml/1.3/index.php", "api_key": "sandbox-key", "timeout_seconds": 2, **skycore}
    return Settings(database_url=f"sqlite:///{folder / 'ledger.db'}", state_dir=folder, skycore=SkycoreSettings(**given))


def attendees(count: int) -> list[str]:
    return [f"+1650253{number:04},T{number:05}" for number in range(count)]


def write_event(folder: Path, rows: Sequence[str], *, header: str = "phone,barcode_id", **keys: object) -> Path:
    """An event file with its attendees; ``keys`` are further TOML values, as text."""
    (folder / "attendees.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    lines = {"mms_id": MMS_ID, "from": "60856", "attendees": '"attendees.csv"', **keys}
    file = folder / "gala.toml"
    file.write_text('name = "gala"\n' + "".join(f"{key} = {value}\n" for key, value in lines.items()), encoding="utf-8")
    return file


async def send_event(file: Path, settings: Settings, *, clock: Clock = time.time) -> dict[str, Any]:
    """Plan, preflight, send; returns the status. What stops the run is in the status, not raised."""
    event = plan_file(file, settings, kind=Kind.EVENT)
    try:
        async with open_ticket_run(event.name, settings=settings, clock=clock) as run:
            await preflight_event(run)
            await deliver_event(run)
    except (GatewayError, Stopped):
        pass
    return status_of(event.name, settings)


def tickets_of(settings: Settings) -> list[Ticket]:
    ledger = Ledger(settings.database_url)
    try:
        return list(tickets.all_tickets(ledger, deliveries.get(ledger, "gala")))
    finally:
        ledger.close()
