"""Every code an event draws reads back as its own id, alone in its picture, and is read again after carriers shrank it."""

import io
import itertools
import math
import re
from collections import Counter

import pytest
import zxingcpp
from defusedxml import ElementTree
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from posthorn.content.media.barcode import (
    ALPHABET,
    CARRIERS,
    GENERATED_LENGTH,
    decode,
    lost_after,
    new_barcode_id,
    render,
    survival_warning,
    symbology_for,
)
from posthorn.errors import InputError

SVG = "{http://www.w3.org/2000/svg}"
FORMATS = {"qr": zxingcpp.BarcodeFormat.QRCode, "code128": zxingcpp.BarcodeFormat.Code128}
QUIET_MODULES = {"qr": 4, "code128": 10}  # ISO/IEC 18004 and 15417
each_symbology = pytest.mark.parametrize("symbology", ["qr", "code128"])


@pytest.fixture(scope="module")
def event() -> list[str]:
    return [new_barcode_id() for _ in range(200)]


def picture(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("L")


def drawn(svg: bytes) -> Image.Image:
    """The rectangles of an SVG's path as pixels, as a browser fills them."""
    root = ElementTree.fromstring(svg, forbid_dtd=True)
    canvas = Image.new("L", (int(root.get("width")), int(root.get("height"))), 255)
    path = root.find(f"{SVG}path").get("d")
    bars = re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)h-(\d+)z", path)
    assert "".join("M{} {}h{}v{}h-{}z".format(*bar) for bar in bars) == path
    for left, top, width, height, back in (map(int, bar) for bar in bars):
        assert width == back
        ImageDraw.Draw(canvas).rectangle((left, top, left + width - 1, top + height - 1), fill=0)
    return canvas


def read(canvas: Image.Image) -> list[tuple[str, object]]:
    """What an upright reader sees; it tries no turned or shrunk copies."""
    found = zxingcpp.read_barcodes(canvas, try_rotate=False, try_downscale=False, try_invert=False)
    return [(code.text, code.format) for code in found]


# -- An event of 200 ------------------------------------------------------------------------------------------------------


@each_symbology
def test_every_picture_of_an_event_reads_as_its_own_id_and_no_two_are_equal(event, symbology):
    pictures = [render(value, symbology=symbology) for value in event]
    assert [decode(png) for png in pictures] == [[value] for value in event]
    assert len(set(pictures)) == len(event)


@each_symbology
def test_every_svg_of_an_event_is_well_formed_shows_its_id_and_is_like_no_other(event, symbology):
    documents = [render(value, symbology=symbology, format="svg") for value in event]
    shown = ["".join(text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")) for svg in documents]
    assert shown == event
    paths = {ElementTree.fromstring(svg).find(f"{SVG}path").get("d") for svg in documents}
    assert len(paths) == len(event)


@each_symbology
def test_the_bars_of_an_svg_read_as_its_id(event, symbology):
    for value in event[::10]:
        assert read(drawn(render(value, symbology=symbology, format="svg"))) == [(value, FORMATS[symbology])]


def test_generated_ids_are_unlike_and_can_stand_in_an_event(event):
    assert len(set(event)) == len(event)
    assert [value for value in event if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", value)] == []
    assert {len(value) for value in event} == {GENERATED_LENGTH}


def test_generated_ids_hold_at_least_sixty_bits():
    assert len(set(ALPHABET)) == len(ALPHABET)
    assert GENERATED_LENGTH * math.log2(len(ALPHABET)) >= 60


def test_generated_ids_use_the_whole_alphabet_at_every_place():
    places = zip(*(new_barcode_id() for _ in range(2000)), strict=True)
    for place in places:
        counts = Counter(place)
        assert set(counts) == set(ALPHABET)
        assert max(counts.values()) < 2000 / len(ALPHABET) * 2, "no letter is drawn twice as often as its share"


@pytest.mark.parametrize("alike", ["0O", "1I", "1L", "IL", "1l", "2Z", "5S", "8B", "UV"])
def test_no_two_characters_that_look_alike_are_in_the_alphabet(alike):
    assert len(set(alike) & set(ALPHABET)) <= 1


@pytest.mark.parametrize("character", "01OIL")
def test_the_worst_look_alikes_are_not_in_the_alphabet_at_all(character):
    assert character not in ALPHABET
    assert character.lower() not in ALPHABET


# -- One code -------------------------------------------------------------------------------------------------------------

VALUES = {
    "the page's example": "Ticket_12345",
    "one character": "T",
    "digits": "0123456789012345678901",
    "capitals": "ABCDEFGHIJ",
    "lower case and dashes": "vip-seat_7-b",
    "thirty-two characters": "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p_",
    "markup": "a&<b>\"c'",
    "a blank": "seat 7",
    "bars that a reader of its own shrinking takes for another value too": "g5-5M-M",
}


@each_symbology
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_code_reads_as_its_value_in_the_symbology_asked_for(value, symbology):
    png = render(value, symbology=symbology)
    assert decode(png) == [value]
    assert read(picture(png)) == [(value, FORMATS[symbology])]
    svg = render(value, symbology=symbology, format="svg")
    assert read(drawn(svg)) == [(value, FORMATS[symbology])]
    assert "".join(text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")) == value


@settings(max_examples=12, deadline=None)
@given(value=st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True))
def test_whatever_id_an_event_may_hold_reads_back(value):
    for symbology in ("auto", "qr", "code128"):
        assert decode(render(value, symbology=symbology)) == [value]


def test_letters_beyond_ascii_read_back_as_a_qr_code():
    assert decode(render("bilet-żółć")) == ["bilet-żółć"]


CHOSEN = {
    "T00001": "code128",
    "T": "code128",
    "A" * 9: "code128",
    "A" * 10: "qr",
    "1" * 18: "code128",
    "Ticket_12345": "qr",
    "żółć": "qr",
    "A" * 33: "qr",
}


@pytest.mark.parametrize(("value", "symbology"), CHOSEN.items())
def test_code_128_is_chosen_where_its_bars_stay_wide_enough_and_else_qr(value, symbology):
    assert symbology_for(value) == symbology
    assert read(picture(render(value))) == [(value, FORMATS[symbology])]
    if symbology == "code128":
        modules = picture(render(value)).width // module_pixels(render(value, readable=False), "code128")
        assert modules * 2 <= 320, "two pixels for each bar of one module, on a picture 320 wide"


def dark_box(png: bytes) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is dark."""
    box = picture(png).point(lambda grey: 255 if grey < 128 else 0).getbbox()
    assert box
    return box


def module_pixels(png: bytes, symbology: str) -> int:
    """One module in pixels, from the first dark run: seven in a QR finder, two in every start of Code 128."""
    grey = picture(png)
    left, top, *_ = dark_box(png)
    run = next(length for length in range(grey.width - left) if grey.getpixel((left + length, top)) > 127)
    return run // {"qr": 7, "code128": 2}[symbology]


@each_symbology
@pytest.mark.parametrize("value", ["T", "Ticket_12345", "A" * 32])
def test_a_quiet_zone_stands_on_every_side_and_the_picture_is_at_most_640_wide(value, symbology):
    bare = render(value, symbology=symbology, readable=False)
    left, top, right, bottom = dark_box(bare)
    width, height = picture(bare).size
    assert min(left, top, width - right, height - bottom) >= QUIET_MODULES[symbology] * module_pixels(bare, symbology)
    assert picture(render(value, symbology=symbology)).width <= 640


@each_symbology
def test_the_readable_id_stands_under_the_code_and_clear_of_its_quiet_zone(symbology):
    png = render("Ticket_12345", symbology=symbology)
    grey = picture(png)
    dark_rows = [y for y in range(grey.height) if grey.crop((0, y, grey.width, y + 1)).getextrema()[0] < 128]
    gaps = [(above, below) for above, below in itertools.pairwise(dark_rows) if below - above > 1]
    end_of_code, start_of_text = max(gaps, key=lambda gap: gap[1] - gap[0])
    module = module_pixels(png, symbology)
    assert start_of_text - end_of_code > QUIET_MODULES[symbology] * module
    assert dark_rows[-1] < grey.height - 1
    assert 10 < dark_rows[-1] - start_of_text < 60, "a line of text"


UNDRAWABLE = {
    "nothing": ("", "auto", "is empty"),
    "more than any code holds": ("A" * 257, "auto", "257 characters"),
    "a Polish letter in Code 128": ("ł", "code128", "printable ASCII"),
    "a control character in Code 128": ("a\tb", "code128", "printable ASCII"),
    "bars wider than the picture": ("A" * 60, "code128", "too long for Code 128"),
    "more than Code 128 can hold": ("A" * 200, "code128", "too long for Code 128"),
}


@pytest.mark.parametrize("kind", ["png", "svg"])
@pytest.mark.parametrize(("value", "symbology", "problem"), UNDRAWABLE.values(), ids=UNDRAWABLE)
def test_what_cannot_be_drawn_is_refused_with_its_reason(value, symbology, problem, kind):
    with pytest.raises(InputError, match=problem) as caught:
        render(value, symbology=symbology, format=kind)
    assert caught.value.field == "barcode id"


NO_PICTURES = {
    "nothing": b"",
    "a text": b"Ticket_12345",
    "a picture cut off": render("T")[:60],
    "half a picture": render("T")[: len(render("T")) // 2],
    "an SVG": render("T", format="svg"),
}


@pytest.mark.parametrize("image", NO_PICTURES.values(), ids=NO_PICTURES)
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(InputError, match="cannot be read as an image"):
        decode(image)


def test_a_picture_without_a_code_holds_none_and_one_with_two_holds_both():
    blank = Image.new("L", (320, 240), 255)
    both = Image.new("L", (700, 900), 255)
    both.paste(picture(render("ONE", symbology="qr")), (0, 0))
    both.paste(picture(render("TWO", symbology="code128")), (0, 500))
    for canvas, expected in ((blank, []), (both, ["ONE", "TWO"])):
        buffer = io.BytesIO()
        canvas.save(buffer, "PNG")
        assert sorted(decode(buffer.getvalue())) == expected


# -- After a carrier ------------------------------------------------------------------------------------------------------

ALL_CARRIERS = tuple(carrier.name for carrier in CARRIERS)
SHORT = ("T00001", "Ticket_1", "A" * 9)


@pytest.mark.parametrize("value", [*SHORT, "Ticket_12345", "A" * 32])
def test_a_qr_code_of_any_id_of_an_event_outlives_every_carrier(value):
    assert lost_after(value, symbology="qr") == []


@pytest.mark.parametrize("value", SHORT)
def test_a_short_id_outlives_every_carrier_in_both_symbologies_and_needs_no_warning(value):
    assert symbology_for(value) == "code128"
    assert lost_after(value) == []
    assert survival_warning(value) is None


def test_a_long_code_128_is_lost_where_a_carrier_shrinks_it():
    lost = lost_after("A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p_", symbology="code128")
    assert set(ALL_CARRIERS[1:]) <= set(lost) <= set(ALL_CARRIERS)
    assert lost_after("A" * 32, symbology="code128")


# length of the id, and what the warning says
WARNINGS = {
    32: "if the template draws Code 128; as a QR code it can",
    60: "if the template draws Code 128; as a QR code it can",
    150: "if the template draws Code 128; as a QR code it can",
    256: "make it shorter",
}


@pytest.mark.parametrize(("length", "advice"), WARNINGS.items())
def test_a_long_id_is_warned_of_with_what_to_do(length, advice):
    warning = survival_warning("A" * length)
    assert warning is not None
    assert f"{length} characters" in warning
    assert warning.endswith(advice)


def test_letters_beyond_ascii_are_not_warned_of_for_a_symbology_that_cannot_hold_them():
    assert survival_warning("bilet-żółć") is None
