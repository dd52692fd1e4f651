"""A campaign's whole journey without Prefect: sample files, the steps one after the other, and the ledger's view after."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from posthorn.delivery.deciding import approval
from posthorn.delivery.deliver import deliver_campaign
from posthorn.delivery.limits.hours import Clock
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_media
from posthorn.delivery.running.run import open_run
from posthorn.errors import GatewayError, Stopped
from posthorn.ledger.store.engine import Ledger
from posthorn.settings import Settings
from posthorn.views.question import Question, question
from posthorn.views.status import campaign_status

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFElEQVR4nGP8siiSARtgwio6aCUAhowB/8Mdf5wAAAAASUVORK5CYII="
)


def numbers(count: int) -> list[str]:
    return [f"+48500{number:06}" for number in range(count)]


def write_campaign(folder: Path, phones: Sequence[str], *, name: str = "sale", **keys: object) -> Path:
    """A campaign file with one picture and a recipients file; ``keys`` are further TOML values, as text."""
    (folder / "poster.png").write_bytes(PNG)
    (folder / "recipients.csv").write_text("phone\n" + "\n".join(phones) + "\n", encoding="utf-8")
    lines = {"title": '"Autumn sale"', "text": '"-30%"', "media": '["poster.png"]', "recipients": '"recipients.csv"', **keys}
    file = folder / f"{name}.toml"
    file.write_text(f'name = "{name}"\n' + "".join(f"{key} = {value}\n" for key, value in lines.items()), encoding="utf-8")
    return file


async def deliver(file: Path, settings: Settings, *, clock: Clock = time.time) -> dict[str, Any]:
    """Plan, upload, verify, send; returns the status. What stops the run is in the status, not raised."""
    campaign = plan_file(file, settings)
    try:
        async with open_run(campaign.name, test=campaign.test, settings=settings, clock=clock) as run:
            await upload_media(run)
            await verify_media(run)
            await deliver_campaign(run)
    except (GatewayError, Stopped):
        pass
    return status_of(campaign.name, settings, test=campaign.test)


def status_of(name: str, settings: Settings, *, test: bool = False) -> dict[str, Any]:
    ledger = Ledger(settings.database_url)
    try:
        return campaign_status(ledger, name, test=test)
    finally:
        ledger.close()


def counted(status: dict[str, Any]) -> dict[str, int]:
    """The states that hold a message, without the input."""
    return {state: count for state, count in status["totals"].items() if count and state != "input"}


def question_of(name: str, *, test: bool = False) -> Question | None:
    """What somebody has to be asked about a delivery, if anything."""
    return approval.ask(name, question, test=test)
