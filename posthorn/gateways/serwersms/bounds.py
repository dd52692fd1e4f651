"""What the provider's pages allow, each stated once."""

from __future__ import annotations

from posthorn.models import Bounds

FILE_TYPES = ("mms", "voice")  # sending-mms page

BOUNDS = Bounds(
    title_characters=40,  # sending-mms page: "Available is 40 characters"
    files_per_message=10,  # sending-mms page
    numbers_per_request=100_000,  # introduction page; above it 3110
    numbers_advised=(50, 200),  # sending-mms page
    ids_per_report=500,  # page on delivery reports
    numbers_per_lookup=200,  # ours: what one page of its listing holds for certain
)
