"""Nothing of a file reaches a terminal as a command, whatever characters it holds."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from posthorn.content.plain import plain, plain_json, plain_lines

STEERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200e\u200f\ud800-\udfff]")
odd = st.text(st.sampled_from("a\x1b\x07\x9b\r\n\t\u202e\u2066\u2028\x7f\u200d\u00a0\udcff\x85"), max_size=30)


@given(odd)
def test_one_line_holds_nothing_that_steers(text):
    assert not STEERS.search(plain(text))
    plain(text).encode()


@given(odd)
def test_lines_keep_their_breaks_and_tabs_only(text):
    shown = plain_lines(text)
    assert shown.count("\n") == text.count("\n")
    assert not STEERS.search(re.sub("[\n\t]", "", shown))


@given(odd)
def test_a_document_means_the_same(text):
    document = json.dumps({"a": text}, ensure_ascii=False, indent=2)
    assert json.loads(plain_json(document)) == {"a": text}
    assert not STEERS.search(plain_json(document).replace("\n", ""))


def test_what_a_phone_shows_is_left_alone():
    assert plain("Ż 👨\u200d👩\u200d👧 \u00a0 ł") == "Ż 👨\u200d👩\u200d👧 \u00a0 ł"
    assert plain("\x1b[31m\u202e") == "\\x1b[31m\\u202e"
