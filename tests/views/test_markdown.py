"""What a person wrote stands on a page as they wrote it: none of it becomes markup, and a command stays a command."""

from __future__ import annotations

import pytest

from posthorn.views.charts import over_time, states_bar
from posthorn.views.markdown import prose, table, written

WRITTEN = {
    "<img src=x onerror=alert(1)>": "&lt;img src=x onerror=alert\\(1\\)&gt;",
    "[free](http://evil.example)": "\\[free\\]\\(http://evil\\.example\\)",
    "a|b": "a\\|b",
    "-30 % & more": "\\-30 % &amp; more",
}


@pytest.mark.parametrize("text", WRITTEN)
def test_signs_of_markup_stay_signs(text: str) -> None:
    assert written(text) == WRITTEN[text]


def test_a_command_in_a_sentence_stays_a_command() -> None:
    said = prose("no <credit>: run `posthorn doctor`")
    assert said == "no &lt;credit&gt;: run `posthorn doctor`"


def test_a_table_aligns_what_is_counted() -> None:
    assert table(("state", "rows:"), [("pending", "1")]) == "| state | rows |\n| --- | --: |\n| pending | 1 |"


def test_pictures_say_in_words_what_they_show() -> None:
    assert states_bar({"accepted": 0}) == ""
    assert states_bar({"accepted": 3, "no_report": 1}).startswith("![accepted 3, no report 1](data:image/svg+xml;base64,")
    assert over_time([(100.0, 5)], "UTC") == ""
    assert over_time([(0.0, 5), (60.0, 1)], "UTC").startswith("![messages over time, 1970-01-01 00:00:00 UTC to ")
