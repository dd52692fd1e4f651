"""The demo's sample files: a campaign and an event, each with a few rows that are wrong or repeated."""

from __future__ import annotations

from pathlib import Path

_CAMPAIGN = """\
name = "demo-autumn-sale"
title = "Autumn sale"
text = "Everything -30% until Sunday"
media = ["poster.png"]
recipients = "recipients.csv"
chunk_size = 50
"""
_EVENT = """\
name = "demo-jazz-night"
mms_id = 35674
from = 60856
attendees = "attendees.csv"
barcode = "generate"
"""
_NOT_NUMBERS = ("12", "call me", "+48 22", "500 600", "0048")


def write_campaign(folder: Path, rows: int) -> Path:
    """A campaign of ``rows`` rows with a picture; the campaign file's path."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (320, 200), "#f4a259")
    ImageDraw.Draw(picture).text((110, 90), "Autumn sale -30%", fill="#222222")
    picture.save(folder / "poster.png")
    numbers = [f"+48 5{index // 1000 % 100:02} {index % 1000:03} {index * 37 % 1000:03}" for index in range(rows)]
    numbers[3 : 3 + len(_NOT_NUMBERS)] = _NOT_NUMBERS
    numbers[-1] = numbers[0]
    (folder / "recipients.csv").write_text("phone\n" + "\n".join(numbers) + "\n", encoding="utf-8")
    return _written(folder / "campaign.toml", _CAMPAIGN)


def write_event(folder: Path, rows: int) -> Path:
    """An event of ``rows`` attendees, some without a code yet; the event file's path."""
    lines = [f"Guest {index},+1 650 253 {index:04},{f'JAZZ-{index:04}' if index % 2 else ''}" for index in range(rows)]
    lines[2] = "Guest 2,no phone,JAZZ-X"
    (folder / "attendees.csv").write_text("name,phone,barcode_id\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return _written(folder / "event.toml", _EVENT)


def _written(file: Path, content: str) -> Path:
    file.write_text(content, encoding="utf-8")
    return file
