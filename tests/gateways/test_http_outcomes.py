"""What a status decides: protocol.md, table 2.3, for a send and for a call that may be repeated; and Retry-After."""

from datetime import UTC, datetime

import httpx
import pytest

from posthorn.errors import CredentialsRefused, OutcomeUnknown, RequestRefused, SlowDown, TryAgain
from posthorn.gateways.http import MAX_EVIDENCE_BYTES, HttpAnswer, refusal, retry_after_seconds


def outcome(status, *, repeatable=False, retry_after=None, body=b"said"):
    headers = httpx.Headers({"Retry-After": retry_after} if retry_after else {})
    return refusal("Acme", HttpAnswer(status, headers, body), repeatable=repeatable)


SURELY_REFUSED = {
    400: RequestRefused,
    401: CredentialsRefused,
    403: CredentialsRefused,
    404: RequestRefused,
    405: RequestRefused,
    413: RequestRefused,
    415: RequestRefused,
    422: RequestRefused,
}


@pytest.mark.parametrize("repeatable", [False, True], ids=["send", "other call"])
@pytest.mark.parametrize(("status", "expected"), SURELY_REFUSED.items())
def test_a_refusing_status_was_not_taken_and_stops_the_run(status, expected, repeatable):
    error = outcome(status, repeatable=repeatable)
    assert type(error) is expected
    assert (error.maybe_sent, error.stops_run) == (False, True)
    assert error.evidence.status == status


UNSURE = (100, 102, 402, 406, 408, 409, 410, 418, 425, 451, 500, 501, 502, 504, 505, 520, 521, 522, 523, 524, 599)


@pytest.mark.parametrize("status", UNSURE)
def test_any_status_that_proves_nothing_leaves_a_send_unknown(status):
    error = outcome(status)
    assert type(error) is OutcomeUnknown
    assert (error.stops_run, error.slows_all) == (False, False)


@pytest.mark.parametrize("status", UNSURE)
def test_the_same_status_on_a_repeatable_call_is_try_again(status):
    assert type(outcome(status, repeatable=True)) is TryAgain


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_leaves_a_send_unknown_and_halts_and_refuses_other_calls(status):
    assert (outcome(status).maybe_sent, outcome(status).stops_run) == (True, True)
    assert type(outcome(status, repeatable=True)) is RequestRefused


@pytest.mark.parametrize("repeatable", [False, True], ids=["send", "other call"])
def test_too_many_requests_was_not_taken_and_slows_everyone(repeatable):
    error = outcome(429, repeatable=repeatable, retry_after="7")
    assert type(error) is SlowDown
    assert (error.retry_after_seconds, error.slows_all, error.maybe_sent) == (7.0, True, False)


def test_service_unavailable_may_have_taken_a_send_and_slows_everyone():
    error = outcome(503, retry_after="7")
    assert type(error) is OutcomeUnknown
    assert (error.retry_after_seconds, error.slows_all, error.stops_run) == (7.0, True, False)
    assert type(outcome(503, repeatable=True)) is SlowDown


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success_is_left_to_the_document(status):
    assert outcome(status) is None


def test_the_kept_evidence_is_bounded():
    assert len(outcome(500, body=b"x" * 1_000_000).evidence.raw) == MAX_EVIDENCE_BYTES


NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
RETRY_AFTER = {
    "2": 2.0,
    " 120 ": 120.0,
    "0": 0.0,
    "1.5": 1.5,
    "86400": 3600.0,
    "9" * 400: 3600.0,
    "Sat, 21 Nov 2026 12:00:30 GMT": 30.0,
    "Sat, 21 Nov 2026 12:00:30 -0000": 30.0,
    "Saturday, 21-Nov-26 12:01:00 GMT": 60.0,
    "Sat, 21 Nov 2026 11:00:00 GMT": 0.0,
    "Sun, 22 Nov 2026 12:00:00 GMT": 3600.0,
    "soon": None,
    "-5": None,
    "nan": None,
    "inf": None,
    "٣": None,
    "1e3": None,
    "Sat, 99 Nov 2026 12:00:00 GMT": None,
    "Fri, 31 Dec 9999 23:59:59 -2359": 3600.0,
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT": None,
    "": None,
    None: None,
}


@pytest.mark.parametrize(("header", "expected"), RETRY_AFTER.items())
def test_retry_after_is_read_as_seconds_or_date_capped_and_else_ignored(header, expected):
    assert retry_after_seconds(header, NOW) == expected
