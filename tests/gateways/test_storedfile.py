"""What the provider's entry for a file says of it: whole, saved anew, garbled, or nothing."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from posthorn.gateways.storedfile import Condition, look_at
from posthorn.models import Media, StoredFile
from tests.delivery.journey import PNG

REMOTE = Media("https://example.com/a.png", "a.png", "image/png")


def entry(size: int | None) -> StoredFile:
    return StoredFile("f", "poster.png", size, "mms", "")


@pytest.fixture
def picture(tmp_path: Path) -> Media:
    path = tmp_path / "poster.png"
    path.write_bytes(PNG)
    return Media("poster.png", "poster.png", "image/png", str(path), "ab" * 32, len(PNG))


@pytest.mark.parametrize(
    ("size", "condition", "words"),
    [
        (len(PNG), Condition.WHOLE, "listed"),
        (None, Condition.WHOLE, "listed"),
        (len(PNG) - 1, Condition.RESAVED, "listed with 76 bytes instead of 77: the provider has saved it anew"),
        (len(base64.b64encode(PNG)), Condition.GARBLED, "104 bytes instead of 77: that is its base64 text, not the picture"),
        (len(base64.encodebytes(PNG)), Condition.GARBLED, "its base64 text"),
        (len(quote_plus(PNG)), Condition.GARBLED, "its escaped bytes"),
        (len(PNG.decode("latin-1").encode()), Condition.GARBLED, "its bytes taken for letters"),
        (len(PNG.decode(errors="replace").encode()), Condition.GARBLED, "its bytes taken for text"),
        (0, Condition.GARBLED, "lists it as empty"),
    ],
)
def test_the_listed_size_tells_how_a_picture_arrived(
    picture: Media, size: int | None, condition: Condition, words: str
) -> None:
    found = look_at(picture, entry(size))
    assert found.condition is condition
    assert words in found.words
    assert found.will_do == (condition in (Condition.WHOLE, Condition.RESAVED))


def test_what_is_not_listed_is_unseen_and_what_comes_from_a_url_has_any_size(picture: Media) -> None:
    assert look_at(picture, None).condition is Condition.UNSEEN
    assert look_at(REMOTE, None).condition is Condition.UNSEEN
    assert look_at(REMOTE, entry(5)).condition is Condition.WHOLE
    assert look_at(REMOTE, entry(0)).condition is Condition.GARBLED


def test_a_picture_that_was_moved_since_is_told_by_its_base64_text_all_the_same(picture: Media) -> None:
    Path(picture.path or "").unlink()
    assert look_at(picture, entry(104)).condition is Condition.GARBLED
    assert look_at(picture, entry(60)).condition is Condition.RESAVED


def test_words_that_are_plain_ascii_are_whole_in_every_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("plain")
    text = Media("a.txt", "a.txt", "text/plain", str(path), "ab" * 32, 5)
    assert look_at(text, entry(5)).condition is Condition.WHOLE
