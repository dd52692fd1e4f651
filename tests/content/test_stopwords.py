"""An answer is a stop word when all of it is one, however it is written."""

from __future__ import annotations

import pytest

from posthorn.content.stopwords import StopWords
from posthorn.settings import Settings

WORDS = StopWords(Settings().stop_words)


@pytest.mark.parametrize(
    "text",
    ["STOP", "stop", " Stop! ", '"STOP".', "stop\n", "Wypisz mnie", "REZYGNUJĘ", "UsuŃ mnie.", "opt-out", "STOP 🛑"],
)
def test_it_opts_out(text: str) -> None:
    assert WORDS.are(text)


@pytest.mark.parametrize("text", ["", None, "don't stop", "STOP it", "nie wypisz", "stopp", "!", "x" * 1_000, "STOP" * 200])
def test_it_does_not_opt_out(text: str | None) -> None:
    assert not WORDS.are(text)


def test_other_alphabets_and_odd_lists_count_too() -> None:
    assert StopWords("СТОП,,  , Łóżko").are("стоп")
    assert StopWords("Łóżko").are("lozko")
    assert not StopWords("СТОП").are("STOP"), "these are Latin letters"
