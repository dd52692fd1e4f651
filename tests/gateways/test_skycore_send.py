"""What comes of one ticket: accepted with its id, or unknown where the answer proves nothing. Nothing is sent again."""

import asyncio

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthorn.errors import (
    CredentialsRefused,
    CreditExhausted,
    GatewayError,
    OutcomeUnknown,
    RequestRefused,
    SlowDown,
    Unreachable,
)
from posthorn.gateways.http import Trace
from posthorn.gateways.skycore.answers import Told, Unreadable, read
from posthorn.gateways.skycore.client import Skycore
from posthorn.models import MessageState, Phone
from posthorn.settings import SkycoreSettings
from tests.gateways.raw_server import RawServer
from tests.gateways.skycore_scripted import KEY, SUCCESS, Scripted, failure, response, ticket

both = pytest.mark.parametrize("transport", ["post", "get"])


async def receipt_of(answer, transport="post", **values):
    scripted = Scripted(answer, transport)
    (receipt,) = (await scripted.gateway.send(ticket(**values))).receipts
    return receipt


async def refused(answer, transport="post", **values):
    scripted = Scripted(answer, transport)
    with pytest.raises(GatewayError) as caught:
        await scripted.gateway.send(ticket(**values))
    assert len(scripted.requests) == 1, "one request, once, whatever comes back"
    return caught.value


async def receipt_or_error(answer):
    try:
        return await receipt_of(answer)
    except GatewayError as error:
        return error


# -- Read as accepted -----------------------------------------------------------------------------------------------------

PAGE_SUCCESS = b"""<RESPONSE>
    <STATUS>Success</STATUS>
    <MMSID>35674</MMSID>
    <TRACKINGID>MMS_12346</TRACKINGID>
    <TO>16501234123</TO>
</RESPONSE>"""
ACCEPTED = {
    "the page's example": (PAGE_SUCCESS, "MMS_12346"),
    "padding": (b"\n <RESPONSE>\n<STATUS>\t Success </STATUS><TRACKINGID>\n MMS_1 </TRACKINGID></RESPONSE>\n ", "MMS_1"),
    "another order": (response(TRACKINGID="MMS_1", TO="16501234123", STATUS="Success", MMSID="35674"), "MMS_1"),
    "lower-case tags": (response(status="success", trackingid="MMS_1", to="16501234123"), "MMS_1"),
    "a lower-case root": (b"<response><Status>SUCCESS</Status><TrackingId>MMS_1</TrackingId></response>", "MMS_1"),
    "extra tags": (response(STATUS="Success", FROM="41044", TRACKINGID="MMS_1", STATUSDETAILS="queued"), "MMS_1"),
    "a block around it": (b"<RESPONSE><STATUS>Success</STATUS><S><TRACKINGID>M1</TRACKINGID></S></RESPONSE>", "M1"),
    "a prolog": (b'<?xml version="1.0" encoding="UTF-8"?>\n' + PAGE_SUCCESS, "MMS_12346"),
    "a blank before the prolog": (b'\n<?xml version="1.0"?>' + PAGE_SUCCESS, "MMS_12346"),
    "a byte order mark": (b"\xef\xbb\xbf" + PAGE_SUCCESS, "MMS_12346"),
    "another declared charset": (
        '<?xml version="1.0" encoding="ISO-8859-2"?><RESPONSE><STATUS>Success</STATUS><NOTE>Łódź</NOTE>'
        "<TRACKINGID>MMS_1</TRACKINGID></RESPONSE>".encode("iso-8859-2"),
        "MMS_1",
    ),
    "a namespace": (
        b'<RESPONSE xmlns="urn:x"><STATUS>Success</STATUS><TRACKINGID>MMS_1</TRACKINGID></RESPONSE>',
        "MMS_1",
    ),
    "an id in base64": (response(STATUS="Success", TRACKINGID="TU1TXzEyMzQ2Nw=="), "TU1TXzEyMzQ2Nw=="),
    "an id of the later style": (response(STATUS="Success", TRACKINGID="DrXAFP-Ylpc-JZL"), "DrXAFP-Ylpc-JZL"),
    "everything said twice alike": (response(STATUS=["Success"] * 2, TRACKINGID=["MMS_1"] * 2), "MMS_1"),
    "an empty error": (response(STATUS="Success", TRACKINGID="MMS_1", ERRORCODE="", ERRORINFO=" "), "MMS_1"),
    "neither number nor template": (response(STATUS="Success", TRACKINGID="MMS_1"), "MMS_1"),
    "the number with a plus": (response(STATUS="Success", TRACKINGID="MMS_1", TO="+1 650-123-4123"), "MMS_1"),
    "the number without its country": (response(STATUS="Success", TRACKINGID="MMS_1", TO="6501234123"), "MMS_1"),
    "the template with a zero before": (response(STATUS="Success", TRACKINGID="MMS_1", MMSID="035674"), "MMS_1"),
}


@both
@pytest.mark.parametrize(("answer", "tracking_id"), ACCEPTED.values(), ids=ACCEPTED)
async def test_a_success_with_a_tracking_id_is_accepted_however_it_is_written(answer, tracking_id, transport):
    receipt = await receipt_of(answer, transport)
    assert (receipt.state, receipt.provider_id, receipt.error) == (MessageState.ACCEPTED, tracking_id, None)


async def test_the_raw_answer_is_kept():
    answer = await Scripted(PAGE_SUCCESS).gateway.send(ticket())
    assert (answer.raw, answer.stop, tuple(answer.anomalies)) == (PAGE_SUCCESS, None, ())


# -- Read as failure ------------------------------------------------------------------------------------------------------

FAILED = {
    "the page's example": b"""<RESPONSE>
    <STATUS>Failure</STATUS>
    <ERRORCODE>E713</ERRORCODE>
    <TO>16501234123</TO>
    <ERRORINFO>There is billing problem on your account</ERRORINFO>
</RESPONSE>""",
    "a code beside success": response(STATUS="Success", ERRORCODE="E713"),
    "a code without a status": response(ERRORCODE="E713"),
    "lower-case tags": response(status="failure", errorcode="e713"),
    "another order": response(ERRORINFO="Billing", TO="16501234123", ERRORCODE="E713", STATUS="Failure"),
}


@both
@pytest.mark.parametrize("answer", FAILED.values(), ids=FAILED)
async def test_an_error_code_is_a_failure_however_it_is_written(answer, transport):
    error = await refused(answer, transport)
    assert (type(error), error.code) == (CreditExhausted, "E713")


# -- Proves nothing -------------------------------------------------------------------------------------------------------

BOMB = (
    b'<!DOCTYPE r [<!ENTITY a "MMS_1"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
    b"<RESPONSE><STATUS>Success</STATUS><TRACKINGID>&c;</TRACKINGID></RESPONSE>"
)
OUTSIDE = (
    b'<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/hostname">]>'
    b"<RESPONSE><STATUS>Success</STATUS><TRACKINGID>&f;</TRACKINGID></RESPONSE>"
)
PROVES_NOTHING = {
    "nothing": b"",
    "blanks": b" \r\n",
    "a page of HTML": b"<html><body><h1>It works!</h1></body></html>",
    "a page that is no XML": b"<!DOCTYPE html><html><body><br>Sorry</body></html>",
    "an answer cut off": SUCCESS[:-12],
    "an answer cut off before its id": SUCCESS[:30],
    "an answer and more": SUCCESS + b"<b>Warning</b>",
    "two answers": SUCCESS + SUCCESS,
    "a warning before the answer": b"Warning: mysql_connect() in line 3\n" + SUCCESS,
    "JSON": b'{"STATUS": "Success", "TRACKINGID": "MMS_1"}',
    "another document": b"<POSTBACK><STATUS>Success</STATUS><TRACKINGID>MMS_1</TRACKINGID></POSTBACK>",
    "bytes of no charset": b"<RESPONSE><STATUS>Success</STATUS><TRACKINGID>MMS_\xff</TRACKINGID></RESPONSE>",
    "a charset nobody has": b'<?xml version="1.0" encoding="klingon"?>' + SUCCESS,
    "an entity bomb": BOMB,
    "an entity from outside": OUTSIDE,
    "a document type": b"<!DOCTYPE RESPONSE>" + SUCCESS,
    "success without a tracking id": response(STATUS="Success", MMSID="35674", TO="16501234123"),
    "success with an empty tracking id": response(STATUS="Success", TRACKINGID=" "),
    "two tracking ids": response(STATUS="Success", TRACKINGID=["MMS_1", "MMS_2"]),
    "a tracking id without a status": response(TRACKINGID="MMS_1"),
    "a status nobody knows": response(STATUS="Queued", TRACKINGID="MMS_1"),
    "success and failure at once": response(STATUS=["Success", "Failure"], TRACKINGID="MMS_1"),
    "an empty answer": response(),
    "another number": response(STATUS="Success", TRACKINGID="MMS_1", TO="16501234124"),
    "another number beside this one": response(STATUS="Success", TRACKINGID="MMS_1", TO=["16501234123", "16501234124"]),
    "the end of the number only": response(STATUS="Success", TRACKINGID="MMS_1", TO="4123"),
    "another template": response(STATUS="Success", TRACKINGID="MMS_1", MMSID="35675"),
    "a refusal of another number": response(STATUS="Failure", ERRORCODE="E110", TO="16501234124"),
    "a recipient's refusal with a tracking id": response(STATUS="Failure", ERRORCODE="E110", TRACKINGID="MMS_1"),
}


@both
@pytest.mark.parametrize("answer", PROVES_NOTHING.values(), ids=PROVES_NOTHING)
async def test_an_answer_that_proves_nothing_leaves_the_ticket_unknown(answer, transport):
    error = await refused(answer, transport)
    assert type(error) is OutcomeUnknown
    assert (error.maybe_sent, error.retryable, error.stops_run, error.slows_all) == (True, False, False, False)
    assert "may have been sent" in str(error)
    assert (error.evidence.trace, error.evidence.status, error.evidence.raw) == ("answer", 200, answer)


async def test_an_accounts_refusal_with_a_tracking_id_leaves_the_ticket_unknown_and_stops_the_run():
    error = await refused(response(STATUS="Failure", ERRORCODE="E713", TRACKINGID="MMS_1"))
    assert type(error) is OutcomeUnknown
    assert error.stops_run


# -- HTTP statuses --------------------------------------------------------------------------------------------------------

HTML = b"<html><body>Sorry</body></html>"
CONTRADICTION = response(STATUS="Failure", ERRORCODE="E713", TRACKINGID="MMS_1")
STATUSES = {
    "500": (500, HTML, OutcomeUnknown, (True, False, False)),
    "500 around a success": (500, SUCCESS, OutcomeUnknown, (True, False, False)),
    "500 around a refusal": (500, failure("E110"), OutcomeUnknown, (True, False, False)),
    "502": (502, HTML, OutcomeUnknown, (True, False, False)),
    "503": (503, HTML, OutcomeUnknown, (True, False, True)),
    "504": (504, b"", OutcomeUnknown, (True, False, False)),
    "408": (408, b"", OutcomeUnknown, (True, False, False)),
    "302 to a login": (302, b"", OutcomeUnknown, (True, True, False)),
    "401": (401, HTML, CredentialsRefused, (False, True, False)),
    "401 around a success": (401, SUCCESS, OutcomeUnknown, (True, True, False)),
    "404 around a tracking id": (404, response(TRACKINGID="MMS_1"), OutcomeUnknown, (True, True, False)),
    "403 around a refusal with a tracking id": (403, CONTRADICTION, OutcomeUnknown, (True, True, False)),
    "403": (403, HTML, CredentialsRefused, (False, True, False)),
    "404": (404, HTML, RequestRefused, (False, True, False)),
    "405": (405, HTML, RequestRefused, (False, True, False)),
    "429": (429, HTML, SlowDown, (False, False, True)),
    "429 around a success": (429, SUCCESS, OutcomeUnknown, (True, False, True)),
    "429 around a recipient's refusal": (429, failure("E110"), SlowDown, (False, False, True)),
    "403 around a billing problem": (403, failure("E713"), CreditExhausted, (False, True, False)),
    "400 around a slow down": (400, failure("E106", "every 5 seconds"), SlowDown, (False, False, True)),
    "400 around an unheard-of code": (400, failure("E999"), OutcomeUnknown, (True, True, False)),
}


@both
@pytest.mark.parametrize(("status", "body", "kind", "facts"), STATUSES.values(), ids=STATUSES)
async def test_a_status_other_than_2xx_decides_unless_a_refusal_holds_the_providers_own_code(
    status, body, kind, facts, transport
):
    error = await refused(httpx.Response(status, content=body, headers={"Location": "https://example.com/"}), transport)
    assert type(error) is kind
    assert (error.maybe_sent, error.stops_run, error.slows_all) == facts
    assert error.evidence.status == status


async def test_a_refusing_status_around_a_recipients_code_rejects_that_ticket():
    receipt = await receipt_of(httpx.Response(400, content=failure("E110")))
    assert (receipt.state, receipt.error) == (MessageState.REJECTED, "E110")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("body", [b"", SUCCESS], ids=["alone", "around a success"])
async def test_a_status_that_slows_all_says_how_long_to_wait(status, body):
    error = await refused(httpx.Response(status, content=body, headers={"Retry-After": "7"}))
    assert (error.retry_after_seconds, error.slows_all) == (7.0, True)


# -- Transport ------------------------------------------------------------------------------------------------------------


async def reset(talk):
    await talk.request()
    talk.reset()


async def hang_up(talk):
    await talk.request()


async def say_half(talk):
    await talk.request()
    await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(SUCCESS) + SUCCESS[:50])


async def say_nothing(talk):
    await talk.request()
    await talk.forever()


async def leave_before_the_request(talk):
    await talk.reader.read(1)
    talk.reset()


LOST = {
    "reset after the request": (reset, {}),
    "closed after the request": (hang_up, {}),
    "closed within the answer": (say_half, {}),
    "silent until the timeout": (say_nothing, {"timeout_seconds": 0.3}),
    "reset within the request": (leave_before_the_request, {}),
}


@both
@pytest.mark.parametrize(("behave", "values"), LOST.values(), ids=LOST)
async def test_a_connection_that_breaks_after_the_request_began_leaves_the_ticket_unknown(behave, values, transport):
    async with RawServer(behave) as server:
        account = SkycoreSettings(api_key=KEY, base_url=f"{server.url}/index.php", transport=transport, **values)
        async with Skycore(account) as gateway:
            with pytest.raises(OutcomeUnknown) as caught:
                await gateway.send(ticket())
    assert (caught.value.maybe_sent, caught.value.stops_run) == (True, False)
    assert server.connections == 1, "one connection, one request: nothing is repeated"


@both
async def test_a_refused_connection_is_unreachable_and_the_same_ticket_may_be_sent_again(transport):
    async with RawServer(hang_up) as server:
        gone = f"{server.url}/index.php"
    async with Skycore(SkycoreSettings(api_key=KEY, base_url=gone, transport=transport)) as gateway:
        with pytest.raises(Unreachable) as caught:
            await gateway.send(ticket())
    assert (caught.value.retryable, caught.value.maybe_sent, caught.value.evidence.trace) == (True, False, "none")


async def test_a_cancelled_send_tells_by_its_trace_that_the_request_had_left():
    async with RawServer(say_nothing) as server, Skycore(SkycoreSettings(api_key=KEY, base_url=server.url)) as gateway:
        trace = Trace()
        sending = asyncio.create_task(gateway.send(ticket(), trace=trace))
        await server.heard.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert trace.left


async def test_no_more_requests_are_in_flight_than_the_setting_says():
    at_once, most, full = 0, 0, asyncio.Event()

    async def behave(talk):
        nonlocal at_once, most
        await talk.request()
        at_once += 1
        most = max(most, at_once)
        if at_once == 3:
            full.set()
        await full.wait()
        at_once -= 1
        await talk.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(SUCCESS) + SUCCESS)

    async with RawServer(behave) as server:
        async with Skycore(SkycoreSettings(api_key=KEY, base_url=server.url, concurrency=3)) as gateway:
            answers = await asyncio.gather(*(gateway.send(ticket()) for _ in range(12)))
        assert len(server.executed) == len(answers) == 12
    assert most == 3


# -- Whatever comes back --------------------------------------------------------------------------------------------------

TAGS = st.sampled_from(["STATUS", "ERRORCODE", "TRACKINGID", "TO", "MMSID", "status", "X"])
WORDS = st.sampled_from(["Success", "Failure", "E110", "E713", "E106", "E999", "MMS_1", "MMS_2", "16501234123", "35674", ""])


@settings(max_examples=300, deadline=None)
@given(leaves=st.lists(st.tuples(TAGS, WORDS), max_size=7))
async def test_whatever_leaves_come_back_a_ticket_ends_in_a_receipt_or_in_an_error_of_the_tree(leaves):
    body = f"<RESPONSE>{''.join(f'<{tag}>{text}</{tag}>' for tag, text in leaves)}</RESPONSE>".encode()
    said = {text for tag, text in leaves if tag.upper() == "STATUS" and text}
    ids = {text for tag, text in leaves if tag == "TRACKINGID" and text}
    outcome = await receipt_or_error(body)
    if isinstance(outcome, GatewayError):
        assert outcome.maybe_sent or not ids, "a tracking id is never called surely unsent"
    elif outcome.state is MessageState.ACCEPTED:
        assert (said, ids) == ({"Success"}, {outcome.provider_id})
    else:
        assert (outcome.state, outcome.error, ids) == (MessageState.REJECTED, "E110", set())


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200))
def test_whatever_bytes_come_back_they_are_a_response_or_unreadable(body):
    try:
        assert isinstance(read(body), Told)
    except Unreadable:
        return


async def test_each_ticket_of_many_gets_the_answer_to_its_own_request():
    def answer_for(number):
        return response(STATUS="Success", TRACKINGID=f"MMS_{number}", TO=number)

    phones = [Phone(16502530000 + index) for index in range(40)]

    async def behave(talk):
        body = await talk.request()
        number = body.split(b"TO%3E")[1].split(b"%3C")[0].decode()
        answer = answer_for(number)
        await talk.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)

    async with RawServer(behave) as server, Skycore(SkycoreSettings(api_key=KEY, base_url=server.url)) as gateway:
        answers = await asyncio.gather(*(gateway.send(ticket(phone=phone)) for phone in phones))
    assert [answer.receipts[0].provider_id for answer in answers] == [f"MMS_{phone}" for phone in phones]
