"""A ticket's barcode as an image: drawn for a preview, read back, and tested after what carriers do to pictures.

The provider draws the code that is sent. Images made here are never sent.
"""

from __future__ import annotations

import functools
import io
import secrets
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.sax.saxutils import escape

import zxingcpp
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from posthorn.errors import InputError

Symbology = Literal["auto", "qr", "code128"]
DrawnSymbology = Literal["qr", "code128"]

# Without 0 O 1 I L, and without the pairs 2 Z, 5 S, 8 B, U V that are confused when read aloud or off a small screen.
ALPHABET = "34679ACDEFGHJKMNPQRTVWXY"
GENERATED_LENGTH = 14  # 14 x log2(24) = 64 bits

_CANVAS = (640, 480)  # the "image rich" class of the MMS conformance document: what most handsets are served
_QUIET = {"qr": 4, "code128": 10}  # modules, as ISO/IEC 18004 and 15417 ask
_BAR_SHARE = 0.5  # height of Code 128 bars, of the canvas
_TEXT_PIXELS = 28
_TEXT_MARGIN = 8
_MAX_LENGTH = 256
# Bars must stay two pixels wide on the smallest picture a carrier makes (below): wider codes become QR under "auto".
_CODE128_MODULES = 320 // 2


@dataclass(frozen=True, slots=True)
class Carrier:
    """What one kind of carrier does to a picture: fits it into ``size`` pixels, then saves JPEG at ``quality``."""

    name: str
    size: tuple[int, int]
    quality: int


# Sizes are the MMS conformance document's picture classes and the quarter of one that transcoders make for older handsets;
# qualities are chosen, low on purpose: carriers publish none.
CARRIERS = (
    Carrier("640x480, quality 70", (640, 480), 70),
    Carrier("320x240, quality 50", (320, 240), 50),
    Carrier("320x240, quality 30", (320, 240), 30),
)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A code in modules (one row for Code 128), the pixels of one module across and down, and the text below."""

    rows: Sequence[Sequence[bool]]
    across: int
    down: int
    quiet: int
    lines: tuple[str, ...]

    @property
    def width(self) -> int:
        return (len(self.rows[0]) + 2 * self.quiet) * self.across

    @property
    def text_top(self) -> int:
        """Where the text starts, in pixels: under the bars and their quiet zone."""
        return 2 * self.quiet * self.across + len(self.rows) * self.down

    @property
    def height(self) -> int:
        return self.text_top + _text_height(self.lines)

    def bars(self) -> Iterable[tuple[int, int, int, int]]:
        """Each dark run as left, top, width, height in pixels."""
        margin = self.quiet * self.across
        for index, row in enumerate(self.rows):
            for start, length in _runs(row):
                yield margin + start * self.across, margin + index * self.down, length * self.across, self.down


def new_barcode_id() -> str:
    """A new ticket code: 14 characters of an alphabet without look-alikes, 64 secure random bits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(GENERATED_LENGTH))


def render(
    value: str,
    *,
    symbology: Symbology = "auto",
    format: Literal["png", "svg"] = "png",  # noqa: A002 - the word users know
    readable: bool = True,
) -> bytes:
    """The code of ``value`` as PNG or SVG bytes, at most 640 pixels wide, with a quiet zone and ``value`` readable under it.

    ``auto`` is Code 128 if the value fits (its bars stay two pixels wide on a 320-pixel picture), else QR.

    Raises:
        InputError: the value is empty, too long, or has characters this symbology cannot hold.
    """
    drawing = _drawing(value, _resolve(value, symbology), readable=readable)
    return _svg(drawing) if format == "svg" else _png(drawing)


def decode(image: bytes) -> list[str]:
    """The values of every barcode found in a picture (PNG, JPEG, …).

    Raises:
        InputError: the bytes are not a picture.
    """
    try:
        with Image.open(io.BytesIO(image)) as picture:
            grey = picture.convert("L")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError("picture", "cannot be read as an image") from error
    # Without the reader's own shrinking, which reads a second, invented value from a flawless Code 128 of g5-5M-M.
    return [found.text for found in zxingcpp.read_barcodes(grey, try_downscale=False)]


def symbology_for(value: str) -> DrawnSymbology:
    """What ``auto`` draws for ``value``."""
    if not _is_plain(value) or len(value) > _CODE128_MODULES // 5:  # the densest Code 128 spends 5.5 modules a character
        return "qr"
    return "code128" if len(_code128(value)) + 2 * _QUIET["code128"] <= _CODE128_MODULES else "qr"


def lost_after(value: str, *, symbology: Symbology = "auto") -> list[str]:
    """The ``CARRIERS``, by name, that leave the drawn code of ``value`` unreadable when they shrink and save it."""
    picture = _canvas(_drawing(value, _resolve(value, symbology), readable=True))
    return [carrier.name for carrier in CARRIERS if decode(_recompressed(picture, carrier)) != [value]]


def survival_warning(value: str) -> str | None:
    """A warning if ``value`` may be too long for a carrier to keep readable, else None.

    The template at the provider decides which symbology is drawn, so both are tried. Code 128 of letters reads up to about
    eleven characters after a picture is shrunk to 320x240; a QR code up to some two hundred.

    Raises:
        InputError: the value is empty, or too long for any code.
    """
    problem = f"a barcode id of {len(value)} characters cannot be read after a carrier shrinks its picture"
    if lost_after(value, symbology="qr"):
        return f"{problem}; make it shorter"
    if _is_plain(value) and not _survives_as_code128(value):
        return f"{problem}, if the template draws Code 128; as a QR code it can"
    return None


def _survives_as_code128(value: str) -> bool:
    try:
        return not lost_after(value, symbology="code128")
    except InputError:
        return False  # too long to be drawn at all


def _resolve(value: str, symbology: Symbology) -> DrawnSymbology:
    if not value:
        raise InputError("barcode id", "is empty")
    if len(value) > _MAX_LENGTH:
        raise InputError("barcode id", f"has {len(value)} characters; at most {_MAX_LENGTH} can be drawn")
    return symbology_for(value) if symbology == "auto" else symbology


def _is_plain(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _drawing(value: str, symbology: DrawnSymbology, *, readable: bool) -> _Drawing:
    rows = [_code128(value)] if symbology == "code128" else _qr(value)
    quiet = _QUIET[symbology]
    lines = tuple(textwrap.wrap(value, 36)) if readable else ()
    across = max(1, _CANVAS[0] // (len(rows[0]) + 2 * quiet))
    if symbology == "code128":
        return _Drawing(rows, across, int(_CANVAS[1] * _BAR_SHARE), quiet, lines)
    side = max(2, min(across, (_CANVAS[1] - _text_height(lines)) // (len(rows) + 2 * quiet)))
    return _Drawing(rows, side, side, quiet, lines)


def _qr(value: str) -> list[list[bool]]:
    """The modules of a QR code without its quiet zone. Level M: it reads even if a fifteenth is lost."""
    return _modules(zxingcpp.create_barcode(value, zxingcpp.BarcodeFormat.QRCode, ec_level="M"))


def _code128(value: str) -> list[bool]:
    """The modules of a Code 128, one row, without its quiet zone."""
    if not _is_plain(value):
        raise InputError("barcode id", "Code 128 holds printable ASCII only")
    try:
        modules = _modules(zxingcpp.create_barcode(value, zxingcpp.BarcodeFormat.Code128))[0]
    except ValueError as error:
        raise InputError("barcode id", f"is too long for Code 128 ({len(value)} characters)") from error
    if len(modules) + 2 * _QUIET["code128"] > _CANVAS[0]:
        raise InputError("barcode id", f"is too long for Code 128 ({len(value)} characters)")
    return modules


def _modules(code: zxingcpp.Barcode) -> list[list[bool]]:
    picture: Any = zxingcpp.write_barcode_to_image(code, scale=1, add_quiet_zones=False)
    pixels: Any = memoryview(picture).tolist()  # rows of pixels: a buffer of two dimensions, which its type does not say
    return [[pixel == 0 for pixel in row] for row in pixels]


def _runs(row: Sequence[bool]) -> Iterable[tuple[int, int]]:
    """Start and length of every run of dark modules."""
    start: int | None = None
    for index, dark in enumerate((*row, False)):
        if dark and start is None:
            start = index
        elif not dark and start is not None:
            yield start, index - start
            start = None


def _text_height(lines: Sequence[str]) -> int:
    return (_TEXT_PIXELS + _TEXT_MARGIN) * len(lines) + (_TEXT_MARGIN if lines else 0)


@functools.lru_cache(maxsize=16)
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, unpacked once per size: that takes longer than drawing a code."""
    return ImageFont.load_default(size)


def _text_size(drawing: _Drawing) -> float:
    """The font size at which the longest line fits the width."""
    widest = max(_font(_TEXT_PIXELS).getlength(line) for line in drawing.lines)
    return _TEXT_PIXELS * min(1.0, (drawing.width - 2 * _TEXT_MARGIN) / widest)


def _canvas(drawing: _Drawing) -> Image.Image:
    picture = Image.new("L", (drawing.width, drawing.height), 255)
    draw = ImageDraw.Draw(picture)
    for left, top, width, height in drawing.bars():
        draw.rectangle((left, top, left + width - 1, top + height - 1), fill=0)
    for index, line in enumerate(drawing.lines):
        font = _font(_text_size(drawing))
        top = drawing.text_top + index * (_TEXT_PIXELS + _TEXT_MARGIN)
        draw.text((drawing.width / 2, top), line, fill=0, font=font, anchor="ma")
    return picture


def _png(drawing: _Drawing) -> bytes:
    buffer = io.BytesIO()
    _canvas(drawing).save(buffer, "PNG")
    return buffer.getvalue()


def _svg(drawing: _Drawing) -> bytes:
    path = "".join(f"M{left} {top}h{width}v{height}h-{width}z" for left, top, width, height in drawing.bars())
    texts = "".join(
        f'<text x="{drawing.width / 2:g}" y="{drawing.text_top + _TEXT_PIXELS + index * (_TEXT_PIXELS + _TEXT_MARGIN)}" '
        f'font-family="sans-serif" font-size="{_text_size(drawing):.1f}" text-anchor="middle">{escape(line)}</text>'
        for index, line in enumerate(drawing.lines)
    )
    size = f'width="{drawing.width}" height="{drawing.height}" viewBox="0 0 {drawing.width} {drawing.height}"'
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{background}<path d="{path}"/>{texts}</svg>\n'
    return svg.encode()


def _recompressed(picture: Image.Image, carrier: Carrier) -> bytes:
    shrunk = picture.convert("RGB")
    shrunk.thumbnail(carrier.size, Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    shrunk.save(buffer, "JPEG", quality=carrier.quality)
    return buffer.getvalue()
