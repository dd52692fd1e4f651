"""Small likenesses of pictures, for a page where a person decides."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

SIDE = 240
"""Pixels of the longer side, at most."""
_QUALITY = 70


def thumbnail(path: Path) -> bytes | None:
    """A JPEG of the picture with a side of at most ``SIDE`` pixels; None for what cannot be read as one."""
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
