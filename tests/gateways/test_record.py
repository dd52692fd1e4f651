"""An exchange as it may be shown: no secret however it is escaped, no number however it is written, dates as they are."""

from __future__ import annotations

from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import httpx
import orjson
import pytest

from posthorn.gateways.http import HttpAnswer
from posthorn.gateways.record import Record

SECRET = 'p4ss&"word <żółć>/+ x'

NUMBERS = [
    "+48500600700",
    "500600700",
    "500 600 700",
    "+48 500 600 700",
    "500-600-700",
    "(22) 500.60.70",
    "+48\u00a0500\u00a0600\u00a0700",
    "%2B48500600700",
    "48%20500%20600%20700",
    "48+500+600+700",
    "0048500600700",
    "tel:500600700;",
    "id500600700x",
    "500_600_700",
    "500/600/700",
    "5 0 0 6 0 0 7 0 0",
]


@pytest.mark.parametrize("number", NUMBERS)
def test_whatever_looks_like_a_number_is_masked(number: str) -> None:
    masked = Record([]).masked(f"a {number} b")
    assert sum(map(str.isdigit, masked)) <= 2, masked  # of %2B at the most


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-30 09:00:00",
        "2026-11-30T09:00",
        "2026-11-30",
        "2026-11-30+09%3A00%3A00",
        '{"size":174562,"id":"b67d70c22d"}',
        "Thu, 26 Nov 2026 23:31:52 GMT",
        "POST /messages/send_mms.json",
        '{"code":3103}',
    ],
)
def test_what_is_no_number_stays(text: str) -> None:
    assert Record([]).masked(text) == text


def test_a_number_beside_a_date_is_masked_and_the_date_stays() -> None:
    masked = Record([]).masked('{"phone":"+48500600700","queued":"2026-11-30 09:00:00"}')
    assert masked == '{"phone":"+***","queued":"2026-11-30 09:00:00"}'
    assert "600700" not in Record([]).masked("2026-11-30 500600700")


FORMS = {
    "plain": SECRET,
    "in JSON": orjson.dumps(SECRET).decode(),
    "in XML": escape(SECRET),
    "in a form": quote_plus(SECRET),
    "in a path": quote(SECRET),
    "in a query": quote(SECRET, safe=""),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_secret_is_hidden_however_it_is_escaped(form: str) -> None:
    masked = Record(["", SECRET]).masked(f"before {form} after")
    assert "p4ss" not in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")


def test_of_two_secrets_the_longer_goes_first() -> None:
    assert Record(["token", "token-and-more"]).masked("x token-and-more y token z") == "x (hidden) y (hidden) z"


def test_headers_that_carry_credentials_are_not_kept_and_bytes_that_are_no_text_are() -> None:
    record = Record(["T0KEN"])
    headers = {"Authorization": "Bearer T0KEN", "Cookie": "a=b", "Content-Type": "application/json"}
    request = httpx.Request("POST", "https://api.example/x?key=T0KEN", headers=headers, content=b"\x89PNG \xff")
    record.keep(request, HttpAnswer(200, httpx.Headers({"Set-Cookie": "s=1", "Date": "now"}), b"{}"))
    record.keep(request, TimeoutError())
    first, second = (orjson.loads(line) for line in record.lines())
    assert first["request"] == "POST https://api.example/x?key=(hidden)"
    assert set(first["headers"]) == {"host", "content-type", "content-length"}
    assert first["body"] == "\\x89PNG \\xff"
    assert first["answer"] == {"status": 200, "headers": {"date": "now"}, "body": "{}"}
    assert second["answer"] == "TimeoutError"
