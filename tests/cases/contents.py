"""Pictures, words, moments, and slips in the file itself. The clock of a test is the machine's: moments are far ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.cases.case import Case, animation, noise, picture

_YEAR = datetime.now(UTC).year + 1
_SOON = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
_HTML = b"<!DOCTYPE html>404"
_FAMILY = "👨\u200d👩\u200d👧"

PICTURES = [
    Case("M1 a page named poster.png", code=2, said=("poster.png: is an HTML page",), files={"poster.png": _HTML}),
    Case("M1 an LFS pointer", code=2, said=("Git LFS pointer",), files={"poster.png": b"version https://git-lfs.github.com/spec/v1\n"}),
    Case("a PDF named poster.png", code=2, said=("is a PDF",), files={"poster.png": b"%PDF-1.7\n"}),
    Case("WebP", code=2, said=("is a WebP picture", "export it as PNG"), files={"poster.png": picture("WEBP")}),
    Case("HEIC", code=2, said=("HEIC picture",), files={"poster.png": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"}),
    Case("JPEG named png", code=2, said=("is a JPEG picture, not a PNG",), files={"poster.png": picture("JPEG")}),
    Case("cut short", code=2, said=("cannot be decoded",), files={"poster.png": noise("PNG", 200)[:20_000]}),
    Case("a JPEG cut short", code=2, said=("cannot be decoded",), keys={"media": '["a.jpg"]'}, files={"a.jpg": noise("JPEG", 200)[:9_000]}),
    Case("M2 heavy", said=("warning", "poster.png: ", "pixels as JPEG would fit"), files={"poster.png": noise("PNG", 600)}),
    Case("heavy together", said=("bytes together",), keys={"media": '["a.jpg", "b.jpg"]'},
         files={"a.jpg": noise("JPEG", 500, quality=90), "b.jpg": noise("JPEG", 500, quality=90)}),
    Case("heavy and strict", code=2, said=("media_heavy",), keys={"strict": "true"}, files={"poster.png": noise("PNG", 600)}),
    Case("CMYK", said=("CMYK",), keys={"media": '["a.jpg"]'}, files={"a.jpg": picture("JPEG", mode="CMYK")}),
    Case("turned by EXIF", said=("its rotation is a mark",), keys={"media": '["a.jpg"]'}, files={"a.jpg": picture("JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00")}),
    Case("an animated GIF", said=("an animated GIF",), keys={"media": '["a.gif"]'}, files={"a.gif": animation(250)}),
    Case("dimensions are shown", said=("8 x 8, ",)),
    Case("M3 a screenshot's spaces", keys={"media": '["Zrzut ekranu 9.41 AM.png"]'}, said=("image/png",),
         files={"Zrzut\u00a0ekranu 9.41\u202fAM.png": picture("PNG")}),
    Case("M3 the spaces as they are", keys={"media": '["a\u202fb.png"]'}, said=("image/png",), files={"a\u202fb.png": picture("PNG")}),
    Case("M4 a name in NFD", keys={"media": '["Łódź ó.png"]'}, said=("image/png",), files={"Ło\u0301dz\u0301 o\u0301.png": picture("PNG")}),
    Case("M4 a Dropbox page", keys={"media": '["https://www.dropbox.com/s/abc/poster.png?dl=0"]'}, said=("a Dropbox page",)),
    Case("a Drive page", code=2, keys={"media": '["https://drive.google.com/file/d/1/view"]'}, said=("media",)),
    Case("a private host", code=2, keys={"media": '["http://192.168.0.10/a.png"]'}, said=("expected a public host",)),
]  # fmt: skip

WORDS = [
    *(Case(f"W1 {sign}", code=2, said=("placeholder", sign), keys={"title": f"'Hej {sign}!'"}) for sign in (
        "{x}", "{{first_name}}", "%x%", "#X#", "[x]", "<x>", "${imie}", "*|FNAME|*", "%imię%", "[[name]]")),
    Case("W1 in the text", code=2, said=("text: holds the placeholder",), keys={"text": '"Kod: {{code}}"'}),
    Case("W1 literal", keys={"title": '"Hej {x}!"', "literal": "true"}, said=("Hej {x}!",)),
    Case("per cent are not placeholder", keys={"text": '"-30% na A, -20% na B; 5 < 6, #lato #promo"'}, said=("41 characters",)),
    Case("W2 a no-break space", keys={"title": '"Tylko\u00a0dziś"'}, said=("Tylko",)),
    Case("W2 a family", keys={"title": f'"Rodzinnie {_FAMILY}"'}, said=(_FAMILY,)),
    Case("a title of families is counted as the provider counts", code=2, keys={"title": f'"{_FAMILY * 9}"'}, said=("45 are given", "several")),
    Case("a control character has a place", code=2, keys={"title": r'"Hej\u0007"'}, said=("character 4 is U+0007",)),
    Case("a line break in a title", code=2, keys={"title": r'"a\nb"'}, said=("one line", "character 2 is U+000A")),
    Case("W3 a Windows path", code=2, toml='name = "sale"\nrecipients = "C:\\Users\\Jan\\list.csv"\n', said=("backslash", "single quotes")),
    Case("W3 curly quotes", code=2, toml="name = “sale”\n", said=("curly quotes",)),
    Case("W3 under [campaign]", code=2, toml='[campaign]\nname = "sale"\ntitle = "a"\n', said=("[campaign]", "remove that line")),
    Case("YAML", code=2, toml="name: sale\n", said=("looks like YAML",)),
    Case("JSON", code=2, toml='{"name": "sale"}', said=("is JSON",)),
    Case("True", code=2, toml='name = "sale"\ntest = True\n', said=("true or false, in small letters",)),
    Case("no quotes", code=2, toml="name = sale\n", said=("put text in quotes",)),
]  # fmt: skip

MOMENTS = [
    Case("T8 June with +01:00", keys={"send_at": f"{_YEAR}-06-30T09:00:00+01:00"}, said=("10:00 +02:00 (Europe/Warsaw)", "is 10:00 in Europe/Warsaw")),
    Case("a year off", keys={"send_at": f"{_YEAR + 1}-06-30T10:00:00+02:00"}, said=("is the year right?",)),
    Case("the past", code=2, keys={"send_at": "2020-06-30T10:00:00+02:00"}, said=("has passed",)),
    Case("at night", keys={"send_at": f"{_SOON}T01:30:00Z"}, said=("is at night",)),
    Case("the hour that comes twice", keys={"send_at": "2027-10-31T02:30:00+01:00"}, said=("comes twice",)),
    Case("the weekday is shown", keys={"send_at": "2027-03-01T10:00:00+01:00"}, said=("Mon 2027-03-01 10:00",)),
]  # fmt: skip
