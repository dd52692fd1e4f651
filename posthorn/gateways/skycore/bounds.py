"""What the provider takes and pushes at once, each stated once."""

from __future__ import annotations

from posthorn.models import Bounds

BOUNDS = Bounds(numbers_per_request=1)

MAX_POSTBACK_BYTES = 524_288
"""512 KiB. A postback of one event has less than 1 KiB; a batch of one minute, in the old shape, some hundred events."""
