"""Examines a picture as a phone and a mobile operator would: its type, whether it is whole, its pixels and its bytes.

It changes nothing: whoever runs the campaign decides about a smaller picture.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posthorn.content.filekind import HEAD_BYTES, file_kind
from posthorn.content.regularfile import opened
from posthorn.content.warnings import Caution
from posthorn.errors import InputError

WEIGHTS = (
    (100_000, "the class Image Rich of the OMA MMS Conformance Document 1.3, which every MMS phone takes"),
    (300_000, "the class Megapixel of the OMA MMS Conformance Document 1.3, the usual limit of European operators"),
)
"""Bytes of one message, and who recommends them. The provider names no limit (error 4000 only says that there is one)."""
HEAVY = WEIGHTS[-1][0]
"""Bytes of all files of a message together, above which operators shrink or refuse it."""
HEAVY_ANIMATION = WEIGHTS[0][0]
"""Bytes above which most phones show an animated GIF as one still picture, or not at all."""
_MAX_PIXELS = 60_000_000
_MAX_DECODED = 50_000_000
_FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "pjpeg": "JPEG", "png": "PNG", "gif": "GIF"}
_ORIENTATION = 0x0112
_FITTING_SIDES = (1600, 1280, 1024, 800, 640, 480, 320)


@dataclass(frozen=True, slots=True)
class Look:
    """What was found in one file. ``width`` and ``height`` are pixels, None if it is not a picture."""

    source: str
    size: int
    width: int | None = None
    height: int | None = None
    cautions: tuple[Caution, ...] = ()

    def as_text(self) -> str:
        """``320 x 200, 12,345 bytes``"""
        pixels = f"{self.width} x {self.height}, " if self.width else ""
        return f"{pixels}{self.size:,} bytes"


def look(path: Path, source: str) -> Look:
    """Look at one file: its first bytes against its ending, and a picture as a whole.

    Raises:
        InputError: it is not what its name says, or it is a picture that cannot be decoded.
    """
    extension = path.name.rpartition(".")[2].lower()
    with opened(path, "media", label=f"{source}: ") as file:
        head = file.read(HEAD_BYTES)
        size = file.seek(0, os.SEEK_END)
    refuse_other_kind(head, extension, source)
    if extension not in _FORMATS:
        return Look(source, size)
    return _picture(path, source, size, _FORMATS[extension])


def refuse_other_kind(head: bytes, extension: str, source: str) -> None:
    """Refuse a file whose first bytes do not match its ending.

    Raises:
        InputError: it does not match; the message says what it is.
    """
    problem = other_kind(head, extension)
    if problem is not None:
        raise InputError("media", f"{source}: {problem}")


def other_kind(head: bytes, extension: str) -> str | None:
    """Why a file's first bytes do not match its ending; None if they do."""
    kind = file_kind(head)
    name = kind.name if kind else ""
    wanted = _FORMATS.get(extension)
    if wanted is None:
        is_page = name.startswith(("an HTML", "a Git LFS")) and extension not in ("htm", "html")
        return f"is {name}, not what its ending .{extension} says" if is_page else None
    if name == f"a {wanted} picture":
        return None
    if not kind:
        return f"does not begin as a {wanted} picture; export it again as {wanted}"
    advice = (
        "give it the right ending"
        if name in ("a PNG picture", "a JPEG picture", "a GIF picture")
        else f"export it as {wanted}"
    )
    return f"is {name}, not a {wanted} as its ending says; {advice}"


def weight_cautions(looks: Sequence[Look]) -> list[Caution]:
    """Warnings about size in bytes: of each file, and of the whole message."""
    found = [caution for one in looks for caution in one.cautions]
    total = sum(one.size for one in looks)
    if total > HEAVY and len(looks) > 1:
        found.append(
            Caution(
                "media_heavy",
                f"media: {total:,} bytes together; operators shrink or refuse messages above {HEAVY:,} ({WEIGHTS[-1][1]})",
            )
        )
    return found


def _picture(path: Path, source: str, size: int, wanted: str) -> Look:
    from PIL import Image  # slow to import, and most commands do not need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about decompression bombs: bounded below; about odd metadata: harmless here
            with Image.open(path, formats=[wanted]) as picture:
                width, height = picture.size
                _refuse_vast(width, height, source)
                cautions = _cautions(picture, source, size)
                if size <= _MAX_DECODED:
                    picture.load()
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError("media", f"{source}: far too many pixels for a phone; make it at most 1600 x 1600") from None
    except Exception as error:  # noqa: BLE001 - what a decoder raises on a broken file is anything at all
        raise InputError(
            "media", f"{source}: the picture cannot be decoded ({_why(error)}); it may be cut short: export or copy it again"
        ) from None
    return Look(source, size, width, height, tuple(cautions))


def _refuse_vast(width: int, height: int, source: str) -> None:
    if width * height > _MAX_PIXELS:
        raise InputError(
            "media", f"{source}: {width} x {height} pixels; no phone shows that many, make it at most 1600 x 1600"
        )


def _why(error: Exception) -> str:
    words = str(error).partition("<")[0].strip() or type(error).__name__
    return "".join(one for one in words if one.isprintable())[:80]


def _cautions(picture: Any, source: str, size: int) -> list[Caution]:
    found = []
    is_animated = getattr(picture, "is_animated", False)
    if size > HEAVY:
        side = _fitting_side(picture.width, picture.height, size)
        fits = f"about {side[0]} x {side[1]} pixels as JPEG would fit" if side else "a smaller one would fit"
        found.append(
            Caution(
                "media_heavy",
                f"{source}: {size:,} bytes; operators shrink or refuse messages above {HEAVY:,} ({WEIGHTS[-1][1]}); {fits}",
            )
        )
    if is_animated and size > HEAVY_ANIMATION:
        found.append(
            Caution(
                "animation_heavy",
                f"{source}: an animated GIF of {size:,} bytes; above {HEAVY_ANIMATION:,} many phones show one still picture",
            )
        )
    if picture.mode in ("CMYK", "YCCK"):
        found.append(
            Caution("cmyk", f"{source}: its colours are for print (CMYK) and look wrong on many phones; export it as RGB")
        )
    if picture.getexif().get(_ORIENTATION, 1) not in (0, 1):
        found.append(
            Caution(
                "rotation",
                f"{source}: its rotation is a mark (EXIF) that many phones ignore; rotate the picture and save it again",
            )
        )
    return found


def _fitting_side(width: int, height: int, size: int) -> tuple[int, int] | None:
    """The largest usual size at which this picture, as a JPEG of ordinary quality, stays below the limit."""
    for side in _FITTING_SIDES:
        scale = min(1.0, side / max(width, height))
        pixels = (math.floor(width * scale) or 1, math.floor(height * scale) or 1)
        if pixels[0] * pixels[1] * min(0.25, size / (width * height)) <= HEAVY * 0.9:
            return pixels
    return None
