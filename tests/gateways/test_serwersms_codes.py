"""Every code of the reference's section 7, at every place it can stand: what it makes of a send, an item, another call."""

import httpx
import pytest

from posthorn.errors import (
    AccountBlocked,
    CredentialsRefused,
    CreditExhausted,
    OutcomeUnknown,
    PermissionMissing,
    RecipientRefused,
    RequestRefused,
    SlowDown,
    StopRun,
    TryAgain,
)
from posthorn.gateways.serwersms import codes
from posthorn.models import MessageState, MmsRequest, Phone
from tests.gateways.scripted import Scripted

PHONES = [Phone(48500600700), Phone(48500600701)]
REQUEST = MmsRequest("Autumn sale", PHONES, ("b67d70c22d",))

LISTED = (
    *range(1000, 1013),
    *range(2000, 2003),
    *range(3000, 3010),
    *range(3100, 3112),
    *range(3200, 3203),
    *(3330, 3331),
    *range(4000, 4003),
    *range(4100, 4107),
    *(4200, 4201),
    *range(4300, 4314),
    *range(4320, 4326),
    *range(4400, 4408),
    *range(4500, 4505),
    *range(4600, 4603),
)
UNHEARD_OF = (999, 1013, 3010, 3112, 9999)

CREDENTIALS = {1001, 1003, 1011, 1012}
PERMISSION = {1002, 1005, 1008, 3001, 3003, 3005, 3007, 3008, 3009, 3107, 4102, 4406, 4407, 4500, 4501}
BLOCKED = {1007, 1009, 3100, 4104}
CREDIT = {3000, 3002, 3004, 3006, 4103}
LATER = {4100, 4105, 4200}
RECIPIENT = {3103, 4101}

SURELY_UNSENT = {
    *range(1000, 1010),
    *(1011, 1012),
    *(2000, 2001, 2002),
    *(3005, 3009),
    *(3101, 3102, 3104, 3105, 3106, 3108, 3109, 3110),
    *(3200, 3202),
}


def expected_class(code):
    table = {
        CredentialsRefused: CREDENTIALS,
        PermissionMissing: PERMISSION,
        AccountBlocked: BLOCKED,
        CreditExhausted: CREDIT,
        TryAgain: LATER,
        RecipientRefused: RECIPIENT,
        SlowDown: {1010},
    }
    return next((kind for kind, members in table.items() if code in members), RequestRefused)


def error(code):
    return {"error": {"code": code, "type": "SomeError", "message": "Said about 500600700 by the provider"}}


async def sent(answer, request=REQUEST, **values):
    return await Scripted(answer, **values).gateway.send(request)


def test_the_table_holds_every_code_of_the_reference_and_no_other():
    assert set(codes.CODES) == set(LISTED)


@pytest.mark.parametrize("response_format", ["json", "xml"])
@pytest.mark.parametrize("code", sorted(SURELY_UNSENT))
async def test_a_whole_request_refusal_proves_that_nothing_was_sent_and_stops_the_run(code, response_format):
    with pytest.raises(StopRun) as caught:
        await sent(error(code), response_format=response_format)
    raised = caught.value
    assert type(raised) is expected_class(code)
    assert (raised.code, raised.maybe_sent, raised.stops_run, raised.retryable) == (str(code), False, True, False)


@pytest.mark.parametrize("code", sorted({*LISTED, *UNHEARD_OF} - SURELY_UNSENT - {1010}))
async def test_any_other_code_on_a_send_leaves_it_unknown_and_stops_the_run(code):
    with pytest.raises(OutcomeUnknown) as caught:
        await sent(error(code))
    raised = caught.value
    assert (raised.code, raised.maybe_sent, raised.stops_run, raised.slows_all) == (str(code), True, True, False)


async def test_an_unavailable_system_leaves_a_send_unknown_and_slows_everyone_but_stops_nothing():
    with pytest.raises(OutcomeUnknown) as caught:
        await sent(error(1010))
    assert (caught.value.stops_run, caught.value.slows_all) == (False, True)


@pytest.mark.parametrize("code", [*LISTED, *UNHEARD_OF])
async def test_on_any_other_call_a_code_never_claims_that_something_may_have_been_sent(code):
    with pytest.raises(expected_class(code)) as caught:
        await Scripted(error(code)).gateway.limits()
    assert type(caught.value) is expected_class(code)
    assert (caught.value.code, caught.value.maybe_sent) == (str(code), False)


async def item(code, status="unsent"):
    listed = {"id": "6e373d7856", "phone": "+48500600700", "status": status, "error_code": code}
    fine = {"id": "32039da8e9", "phone": "+48500600701", "status": "queued"}
    answer = await sent({"success": True, "queued": 1, "unsent": 1, "items": [listed, fine]})
    assert answer.receipts[1].state is MessageState.ACCEPTED
    return answer


@pytest.mark.parametrize("code", [2001, 3103, 4101, "3103"])
async def test_a_recipients_own_refusal_rejects_that_recipient_alone(code):
    answer = await item(code)
    assert answer.receipts[0].state is MessageState.REJECTED
    assert answer.receipts[0].error == str(code)
    assert answer.stop is None


ACCOUNT_ITEMS = sorted(set(LISTED) - {2001, 3103, 4101, 3111, 3201})


@pytest.mark.parametrize("code", ACCOUNT_ITEMS)
async def test_an_account_wide_refusal_of_one_recipient_leaves_them_unsent_and_stops_the_run(code):
    answer = await item(code)
    assert answer.receipts[0].state is MessageState.PENDING
    assert answer.receipts[0].error == str(code)
    assert type(answer.stop) is expected_class(code)
    assert not answer.stop.maybe_sent


@pytest.mark.parametrize("code", [3111, 3201, *UNHEARD_OF])
async def test_a_refusal_that_may_hide_an_earlier_success_leaves_the_recipient_unknown_and_stops(code):
    answer = await item(code)
    assert answer.receipts[0].state is MessageState.UNKNOWN
    assert answer.stop.stops_run


ODD_ERRORS = {
    "a text": "something went wrong",
    "a list": [1, 2],
    "true": True,
    "without a code": {"type": "X", "message": "Y"},
    "a code that is not a number": {"code": "abc"},
    "a code beyond all codes": {"code": "9" * 5000},
    "a code that is a fraction of a number": {"code": None},
}


@pytest.mark.parametrize("value", ODD_ERRORS.values(), ids=ODD_ERRORS)
async def test_an_error_without_a_readable_code_is_an_unheard_of_one(value):
    with pytest.raises(OutcomeUnknown) as caught:
        await sent({"error": value})
    assert (caught.value.code, caught.value.stops_run) == (None, True)
    with pytest.raises(RequestRefused):
        await Scripted({"error": value}).gateway.limits()


async def test_a_refused_number_alone_in_its_request_is_rejected():
    answer = await sent(error(3103), MmsRequest("Autumn sale", PHONES[:1]))
    assert [(receipt.state, receipt.error) for receipt in answer.receipts] == [(MessageState.REJECTED, "3103")]


async def test_an_error_beside_items_stops_the_run_and_the_items_still_count():
    items = [{"id": "32039da8e9", "phone": "+48500600700", "status": "queued"}]
    answer = await sent(error(3004) | {"items": items})
    assert [receipt.state for receipt in answer.receipts] == [MessageState.ACCEPTED, MessageState.UNKNOWN]
    assert answer.stop.code == "3004"
    assert answer.stop.stops_run


BESIDE = {
    "success": {"success": True},
    "success, as text": {"success": "true"},
    "a counter": {"queued": 2},
    "a counter, as text": {"success": False, "queued": "1", "unsent": 1},
    "items that name nobody": {"items": ["32039da8e9", "844c2b4af0"]},
}


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
@pytest.mark.parametrize("phones", [PHONES, PHONES[:1]], ids=["many", "one"])
@pytest.mark.parametrize("code", [1012, 2001, 3103])
async def test_a_refusal_beside_words_of_success_proves_nothing_and_stops_the_run(code, phones, beside):
    with pytest.raises(OutcomeUnknown) as caught:
        await sent(error(code) | beside, MmsRequest("Autumn sale", phones))
    assert (caught.value.code, caught.value.stops_run) == (str(code), True)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429])
async def test_a_refusing_status_around_a_success_proves_nothing(status):
    items = [{"id": "32039da8e9", "phone": "+48500600700", "status": "queued"}]
    for body in (
        {"success": True, "items": items},
        {"success": True, "queued": 2, "unsent": 0},
        error(1012) | {"queued": 2},
    ):
        with pytest.raises(OutcomeUnknown) as caught:
            await sent(httpx.Response(status, json=body))
        assert caught.value.maybe_sent
        assert (caught.value.stops_run, caught.value.slows_all) == (status != 429, status == 429)


async def test_a_refusal_that_counts_nobody_is_one():
    with pytest.raises(CredentialsRefused):
        await sent(error(1012) | {"success": False, "queued": 0, "unsent": 2, "items": None})


ENVELOPES = [(400, 1012, CredentialsRefused), (403, 1009, AccountBlocked), (422, 3102, RequestRefused)]


@pytest.mark.parametrize(("status", "code", "expected"), ENVELOPES)
async def test_a_code_inside_a_refusing_status_says_more_than_the_status(status, code, expected):
    with pytest.raises(expected) as caught:
        await sent(httpx.Response(status, json=error(code)))
    assert caught.value.code == str(code)


async def test_a_refusing_status_around_a_code_that_may_be_partial_is_unknown():
    with pytest.raises(OutcomeUnknown):
        await sent(httpx.Response(400, json=error(3004)))


async def test_a_refusing_code_inside_a_failing_status_proves_nothing():
    with pytest.raises(OutcomeUnknown):
        await sent(httpx.Response(502, json=error(1012)))


async def test_the_providers_free_text_never_reaches_our_message():
    with pytest.raises(StopRun) as caught:
        await sent(error(1012))
    assert str(caught.value) == "SerwerSMS error 1012: invalid token; nothing was sent"
    assert b"500600700" in caught.value.evidence.raw
