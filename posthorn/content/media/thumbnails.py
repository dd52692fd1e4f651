"""Thumbnails of pictures, for the page on which a person decides."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

SIDE = 240
"""Pixels of the longer side, at most."""
_QUALITY = 70


def thumbnail(path: Path) -> bytes | None:
    """The picture as a JPEG of at most ``SIDE`` pixels a side; None if it cannot be read as a picture."""
    from PIL import Image, ImageOps  # a tenth of a second

    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            upright.thumbnail((SIDE, SIDE))
            flat = Image.new("RGB", upright.size, "white")
            flat.paste(upright, mask=upright.convert("RGBA").getchannel("A"))
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    drawn = BytesIO()
    flat.save(drawn, "JPEG", quality=_QUALITY)
    return drawn.getvalue()
