"""One send: what is refused before it, how its answer binds to recipients, and what an unreadable answer leaves behind."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest

from posthorn.errors import InputError, OutcomeUnknown, TryAgain, Unreachable
from posthorn.gateways.http import MAX_EVIDENCE_BYTES, Trace
from posthorn.gateways.serwersms.client import SerwerSms
from posthorn.gateways.serwersms.requests import dispatch_minute
from posthorn.models import MessageState, MmsRequest, Phone
from tests.gateways.raw_server import OK_HEAD, RawServer
from tests.gateways.scripted import Scripted, document, settings

ACCEPTED, SCHEDULED, REJECTED = MessageState.ACCEPTED, MessageState.SCHEDULED, MessageState.REJECTED
UNKNOWN, PENDING = MessageState.UNKNOWN, MessageState.PENDING

A, B, C = Phone(48500600700), Phone(48500600701), Phone(491701234567)
TOMORROW = datetime.now(UTC) + timedelta(days=1)
WARSAW = ZoneInfo("Europe/Warsaw")


def request(*phones, **values):
    return MmsRequest("Autumn sale", phones or (A, B, C), ("b67d70c22d",), **values)


def queued(phone, provider_id="32039da8e9", **values):
    return {"id": provider_id, "phone": phone, "status": "queued", "queued": "2014-10-20 12:32:52", "parts": 1} | values


def unsent(phone, code, provider_id="6e373d7856"):
    return {"id": provider_id, "phone": phone, "status": "unsent", "error_code": code, "error_message": "Incorrect number"}


async def answered(answer, *phones, response_format="json", **values):
    return await Scripted(answer, response_format=response_format).gateway.send(request(*phones, **values))


def states(answer):
    return [receipt.state for receipt in answer.receipts]


# -- Binding --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("response_format", ["json", "xml"])
async def test_each_recipient_gets_the_receipt_of_its_number_in_whatever_order(response_format):
    items = [queued("+491701234567", "c"), unsent("+48500600701", 3103, "b"), queued("+48500600700", "a")]
    answer = await answered({"success": True, "queued": 2, "unsent": 1, "items": items}, response_format=response_format)
    assert [(r.state, r.provider_id, r.error) for r in answer.receipts] == [
        (ACCEPTED, "a", None),
        (REJECTED, "b", "3103"),
        (ACCEPTED, "c", None),
    ]
    assert (answer.stop, list(answer.anomalies)) == (None, [])
    assert answer.raw.startswith((b"{", b"<"))


@pytest.mark.parametrize("response_format", ["json", "xml"])
async def test_a_single_item_binds(response_format):
    answer = await answered({"success": True, "items": [queued("+48500600700")]}, A, response_format=response_format)
    assert states(answer) == [ACCEPTED]


SPELLINGS = ["+48500600700", "48500600700", "0048500600700", "500600700", "+48 500 600 700", "500-600-700", 48500600700]


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_number_binds_however_it_is_spelt(spelling):
    answer = await answered({"success": True, "items": [queued(spelling)]}, A)
    assert (states(answer), list(answer.anomalies)) == ([ACCEPTED], [])


async def test_nine_digits_that_could_be_two_recipients_bind_to_neither():
    falklands = Phone(500600700)
    answer = await answered({"success": True, "items": [queued("500600700")]}, A, falklands)
    assert states(answer) == [UNKNOWN, UNKNOWN]
    assert "could be two recipients" in answer.anomalies[0]


@pytest.mark.parametrize("spelling", [491511234567.0, "491511234567.0", "+491511234567.00", "491511234567."])
async def test_the_zeros_behind_a_decimal_point_are_no_digits_of_another_recipient(spelling):
    short, long = Phone(491511234567), Phone(4915112345670)
    answer = await answered({"success": True, "items": [queued(spelling)]}, short, long, Phone(49151123456700))
    assert states(answer) == [ACCEPTED, UNKNOWN, UNKNOWN]


async def test_a_full_number_of_nine_digits_binds_to_itself():
    answer = await answered({"success": True, "items": [queued("+500600700")]}, A, Phone(500600700))
    assert states(answer) == [UNKNOWN, ACCEPTED]


async def test_a_scheduled_send_is_scheduled():
    answer = await answered({"success": True, "items": [queued("+48500600700")]}, A, send_at=TOMORROW)
    assert states(answer) == [SCHEDULED]


SHAPES = {
    "a list": lambda items: items,
    "an object of objects": lambda items: {str(place): item for place, item in enumerate(items)},
    "with nulls and texts between": lambda items: [None, "x", 7, *items],
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
async def test_items_bind_in_whatever_shape_they_come(shape):
    items = shape([queued("+48500600700", "a"), queued("+48500600701", "b")])
    assert states(await answered({"success": True, "items": items}, A, B)) == [ACCEPTED, ACCEPTED]


async def test_one_item_that_is_no_list_binds():
    assert states(await answered({"success": True, "items": queued("+48500600700")}, A)) == [ACCEPTED]


UNBOUND = {
    "missing from the answer": ([queued("+48500600700")], "1 of 2 recipients are not mentioned"),
    "queued without an id": ([queued("+48500600700"), queued("+48500600701", None)], "queued without an id"),
    "queued with an empty id": ([queued("+48500600700"), queued("+48500600701", "")], "queued without an id"),
    "another's id": ([queued("+48500600700"), queued("+48500600701")], "one id for two recipients"),
    "an unheard-of status": (
        [queued("+48500600700"), queued("+48500600701", "b", status="parked")],
        "a status that is neither queued nor unsent",
    ),
    "no status": ([queued("+48500600700"), queued("+48500600701", "b", status=None)], "a status that is neither"),
    "unsent without a code": ([queued("+48500600700"), unsent("+48500600701", None)], "unsent without an error code"),
}


@pytest.mark.parametrize(("items", "anomaly"), UNBOUND.values(), ids=UNBOUND)
async def test_a_recipient_without_a_clear_receipt_is_unknown_and_the_others_are_not(items, anomaly):
    answer = await answered({"success": True, "queued": 2, "unsent": 0, "items": items}, A, B)
    assert states(answer) == [ACCEPTED, UNKNOWN]
    assert any(anomaly in said for said in answer.anomalies)


async def test_one_number_twice_with_different_ids_keeps_the_first():
    answer = await answered({"success": True, "items": [queued("+48500600700", "a"), queued("500600700", "b")]}, A)
    assert [(r.state, r.provider_id) for r in answer.receipts] == [(ACCEPTED, "a")]
    assert "two different items" in answer.anomalies[0]
    assert answer.surplus == [(0, "b")], "a second message, by the provider's own word"


@pytest.mark.parametrize("first", ["queued", "unsent"])
async def test_one_number_both_queued_and_unsent_is_unknown(first):
    items = [queued("+48500600700", "a"), unsent("+48500600700", 3004, "b")]
    answer = await answered({"success": True, "items": items if first == "queued" else items[::-1]}, A)
    assert states(answer) == [UNKNOWN]


async def test_the_same_item_twice_counts_once():
    answer = await answered({"success": True, "items": [queued("+48500600700", "a")] * 2}, A)
    assert (states(answer), len(answer.anomalies)) == ([ACCEPTED], 1)


FOREIGN = ["+48999999999", "45616", "", None, "no number", {"x": 1}, "+" * 30, "9" * 5000]


@pytest.mark.parametrize("phone", FOREIGN)
async def test_a_number_nobody_asked_for_is_an_anomaly_without_the_number(phone):
    answer = await answered({"success": True, "items": [queued("+48500600700", "a"), queued(phone, "b")]}, A)
    assert states(answer) == [ACCEPTED]
    (anomaly,) = answer.anomalies
    assert "not among the recipients" in anomaly
    assert "999999" not in anomaly


async def test_anomalies_are_masked_and_bounded():
    items = [queued(f"+4850060{n:04}", str(n)) for n in range(500)]
    answer = await answered({"success": True, "items": items}, Phone(48111222333))
    assert len(answer.anomalies) == 21
    assert answer.anomalies[0].startswith("+48 *** *** 000")


async def test_credit_that_ends_midway_keeps_what_was_queued_and_stops():
    items = [queued("+48500600700", "a"), unsent("+48500600701", 3004, "b"), unsent("+491701234567", 3103, "c")]
    answer = await answered({"success": True, "queued": 1, "unsent": 2, "items": items})
    assert states(answer) == [ACCEPTED, PENDING, REJECTED]
    assert answer.stop.code == "3004"


COUNTERS = {
    "all queued": ({"queued": 3, "unsent": 0}, ACCEPTED),
    "all queued, as text": ({"queued": "3", "unsent": "0"}, ACCEPTED),
    "one too few": ({"queued": 2, "unsent": 0}, UNKNOWN),
    "one too many": ({"queued": 4, "unsent": 0}, UNKNOWN),
    "one unsent": ({"queued": 2, "unsent": 1}, UNKNOWN),
    "queued all, and one unsent": ({"queued": 3, "unsent": 1}, UNKNOWN),
    "all unsent": ({"queued": 0, "unsent": 3}, UNKNOWN),
    "unsent not given": ({"queued": 3}, UNKNOWN),
    "no counters": ({}, UNKNOWN),
    "counters that are none": ({"queued": "many", "unsent": []}, UNKNOWN),
    "items null": ({"queued": 2, "unsent": 0, "items": None}, UNKNOWN),
    "items empty": ({"queued": 3, "unsent": 0, "items": []}, ACCEPTED),
    "items a number": ({"queued": 3, "unsent": 0, "items": 7}, ACCEPTED),
}


@pytest.mark.parametrize(("counters", "expected"), COUNTERS.values(), ids=COUNTERS)
async def test_success_without_items_counts_only_where_every_recipient_is_counted(counters, expected):
    answer = await answered({"success": True} | counters)
    assert [(r.state, r.provider_id) for r in answer.receipts] == [(expected, None)] * 3
    assert len(answer.anomalies) == 1


async def test_a_check_of_the_request_reads_like_a_send():
    answer = await answered({"success": True, "items": [queued("+48500600700")]}, A, test=True)
    assert states(answer) == [ACCEPTED]


# -- Unreadable answers ---------------------------------------------------------------------------------------------------

UNREADABLE = {
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "a text": b'"ok"',
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
    "cut off": b'{"success":true,"queued":2,"ite',
    "NaN": b'{"success":true,"queued":NaN}',
    "a byte order mark": b'\xef\xbb\xbf{"success":true,"queued":3,"unsent":0}',
    "ISO 8859-2": '{"success":true,"queued":3,"unsent":0,"text":"zażółć"}'.encode("iso8859-2"),
    "UTF-16": '{"success":true}'.encode("utf-16"),
    "a warning before the document": b'Warning: x\n{"success":true}',
    "two documents": b'{"success":true}{"success":true}',
    "too deep": b"[" * 5000,
    "an object that says nothing": b"{}",
    "not a success": b'{"success":false}',
}
UNREADABLE_XML = {
    "empty": b"",
    "cut off": b"<xml><success>true</success><items><item>",
    "XHTML": b"<html><body><p>Bad gateway</p></body></html>",
    "JSON": b'{"success":true}',
    "no element but text": b"<xml>ok</xml>",
    "another charset than declared": '<?xml version="1.0" encoding="utf-8"?><xml>ż</xml>'.encode("iso8859-2"),
    "an unknown charset": b'<?xml version="1.0" encoding="klingon"?><xml><success>true</success></xml>',
    "a document type": b"<!DOCTYPE xml><xml><success>true</success><queued>3</queued><unsent>0</unsent></xml>",
    "entities": b'<!DOCTYPE x [<!ENTITY a "true">]><xml><success>&a;</success></xml>',
    "too deep": b"<a>" * 3000 + b"</a>" * 3000,
}
UNREADABLE_ROWS = [("json", body) for body in UNREADABLE.values()] + [("xml", body) for body in UNREADABLE_XML.values()]
UNREADABLE_NAMES = [f"JSON: {name}" for name in UNREADABLE] + [f"XML: {name}" for name in UNREADABLE_XML]


@pytest.mark.parametrize(("response_format", "body"), UNREADABLE_ROWS, ids=UNREADABLE_NAMES)
async def test_an_unreadable_answer_leaves_the_send_unknown_with_the_answer_kept(response_format, body):
    with pytest.raises(OutcomeUnknown) as caught:
        await answered(body, response_format=response_format)
    assert caught.value.evidence.raw == body[:MAX_EVIDENCE_BYTES]
    assert caught.value.evidence.status == 200
    assert not caught.value.stops_run


@pytest.mark.parametrize(("response_format", "body"), [("json", UNREADABLE["cut off"]), ("xml", UNREADABLE_XML["cut off"])])
async def test_an_unreadable_answer_to_another_call_is_try_again(response_format, body):
    with pytest.raises(TryAgain):
        await Scripted(body, response_format=response_format).gateway.credit()


async def test_fifty_megabytes_of_blanks_leave_the_send_unknown_and_are_not_kept():
    with pytest.raises(OutcomeUnknown) as caught:
        await answered(b" " * 50_000_000)
    assert len(caught.value.evidence.raw) == MAX_EVIDENCE_BYTES


async def test_an_answer_cut_off_without_a_declared_length_is_unknown_over_a_real_connection():
    whole = document({"success": True, "queued": 1, "unsent": 0, "items": [queued("+48500600700")]}, "json")

    async def behave(talk):
        await talk.request()
        await talk.say(OK_HEAD + b"\r\n" + whole[:-5])

    async with RawServer(behave) as server, SerwerSms(settings(base_url=server.url)) as gateway:
        with pytest.raises(OutcomeUnknown):
            await gateway.send(request(A))


async def test_nothing_listening_is_unreachable_and_the_callers_trace_says_nothing_left():
    trace = Trace()
    async with RawServer(lambda talk: talk.forever()) as server:
        url = server.url
    async with SerwerSms(settings(base_url=url)) as gateway:
        with pytest.raises(Unreachable):
            await gateway.send(request(A), trace=trace)
    assert not trace.left


@pytest.mark.parametrize(("status", "expected"), [(500, OutcomeUnknown), (504, OutcomeUnknown), (307, OutcomeUnknown)])
async def test_a_failing_status_leaves_the_send_unknown_even_around_a_success(status, expected):
    body = {"success": True, "items": [queued("+48500600700")]}
    with pytest.raises(expected):
        await answered(httpx.Response(status, json=body), A)


# -- Refused here ---------------------------------------------------------------------------------------------------------

NAIVE = datetime(2030, 1, 1, 9)  # noqa: DTZ001 - without a zone on purpose
MANY = [Phone(48500000000 + n) for n in range(100_001)]

REFUSED_HERE = {
    "a title of 41 characters": (MmsRequest("x" * 41, [A]), "title"),
    "eleven files": (MmsRequest("x", [A], ["f"] * 11), "media"),
    "no recipients": (MmsRequest("x", []), "phone"),
    "100 001 recipients": (MmsRequest("x", MANY), "phone"),
    "one recipient twice": (MmsRequest("x", [A, B, A]), "phone"),
    "a time that has passed": (MmsRequest("x", [A], send_at=datetime.now(UTC) - timedelta(seconds=1)), "send_at"),
    "a time without a zone": (MmsRequest("x", [A], send_at=NAIVE), "send_at"),
}


@pytest.mark.parametrize(("refused", "field"), REFUSED_HERE.values(), ids=REFUSED_HERE)
async def test_what_the_provider_forbids_is_refused_before_any_request(refused, field):
    scripted = Scripted()
    with pytest.raises(InputError) as caught:
        await scripted.gateway.send(refused)
    assert caught.value.field == field
    assert scripted.requests == []
    assert "500600700" not in str(caught.value)


@pytest.mark.parametrize(
    "allowed", [MmsRequest("ł" * 40, [A]), MmsRequest("x", [A], ["f"] * 10), MmsRequest("x", MANY[:100_000])]
)
async def test_what_just_fits_is_sent(allowed):
    scripted = Scripted({"success": True, "queued": len(allowed.phones), "unsent": 0})
    await scripted.gateway.send(allowed)
    assert len(scripted.requests) == 1


# -- The time of dispatch -------------------------------------------------------------------------------------------------

DISPATCH = {
    "a whole minute stays": ("2026-11-30T09:00:00+01:00", "2026-11-30 09:00"),
    "another zone is converted": ("2026-11-30T08:00:00+00:00", "2026-11-30 09:00"),
    "in summer the offset is another": ("2026-07-01T08:00:00+00:00", "2026-07-01 10:00"),
    "a second past goes to the next minute": ("2026-11-30T09:00:01+01:00", "2026-11-30 09:01"),
    "a microsecond past too": ("2026-11-30T09:00:00.000001+01:00", "2026-11-30 09:01"),
    "the last second of a day goes to the next day": ("2026-11-30T23:59:59+01:00", "2026-12-01 00:00"),
    "into the hour that spring leaves out": ("2026-03-29T00:59:30+00:00", "2026-03-29 03:00"),
    "first passing of the autumn hour": ("2026-10-25T00:30:00+00:00", "2026-10-25 02:30"),
    "second passing waits for its end, or it would be an hour early": ("2026-10-25T01:30:00+00:00", "2026-10-25 03:00"),
    "the end of the autumn hour": ("2026-10-25T02:00:00+00:00", "2026-10-25 03:00"),
}


@pytest.mark.parametrize(("send_at", "expected"), DISPATCH.values(), ids=DISPATCH)
def test_the_time_of_dispatch_is_local_whole_minutes_and_never_early(send_at, expected):
    moment = datetime.fromisoformat(send_at)
    assert dispatch_minute(moment, WARSAW) == expected
    assert datetime.fromisoformat(expected).replace(tzinfo=WARSAW) >= moment


# -- What no status and no text gives away ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("code", [1001, 1002, 2002, 3005, 3103])
async def test_a_code_under_a_redirect_is_not_believed(status, code):
    """Who answers there may be a portal, with the words of somebody else; the request may have been carried out."""
    body = {"error": {"code": code, "type": "x", "message": "x"}}
    with pytest.raises(OutcomeUnknown) as caught:
        await answered(httpx.Response(status, json=body, headers={"Location": "https://example.com"}), A)
    assert caught.value.stops_run
    assert caught.value.maybe_sent


async def test_no_anomaly_shows_a_number():
    strange = [
        queued("+48500600999"),
        queued("500600998"),
        {"phone": "+48500600700", "status": "queued"},
        {"id": "b", "phone": "+48500600701", "status": "odd"},
        {"id": "c", "phone": "+48500600701", "status": "unsent"},
    ]
    answer = await answered({"success": True, "items": strange})
    assert len(answer.anomalies) >= 5
    for anomaly in answer.anomalies:
        assert not re.search(r"\d{6,}", anomaly.replace(" ", ""))


@pytest.mark.parametrize("success", [True, "true", 1])
async def test_an_error_beside_success_stops_the_run_and_proves_nothing(success):
    """``error`` is looked at first: a refusal must not pass for an answer that mentions nobody, nor a success for none."""
    with pytest.raises(OutcomeUnknown) as caught:
        await answered({"success": success, "error": {"code": 1012, "message": "Invalid token"}})
    assert (caught.value.code, caught.value.stops_run) == ("1012", True)
    items = [queued("+48500600700", "a"), queued("+48500600701", "b")]
    answer = await answered({"success": success, "error": {"code": 3004, "message": "Limit"}, "items": items})
    assert states(answer) == [ACCEPTED, ACCEPTED, UNKNOWN]
    assert answer.stop is not None


async def test_an_invalid_number_named_for_the_whole_request_rejects_nobody_but_a_single_recipient():
    refused = {"error": {"code": 3103, "message": "Invalid recipient number"}}
    assert [(one.state, one.error) for one in (await answered(refused, A)).receipts] == [(REJECTED, "3103")]
    with pytest.raises(OutcomeUnknown) as caught:  # which of the three, and what became of the others, nobody says
        await answered(refused, A, B, C)
    assert caught.value.stops_run
