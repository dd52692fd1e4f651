"""No API key and no full number in a message, a repr, a traceback or a log, though a GET carries both in its address."""

import logging
import traceback

import httpx
import pytest

from posthorn.errors import GatewayError, InputError
from posthorn.gateways.registry import by_name
from posthorn.gateways.skycore.client import Skycore
from posthorn.settings import Settings, SettingsError, SkycoreSettings
from tests.gateways.raw_server import RawServer, ok
from tests.gateways.skycore_scripted import KEY, SUCCESS, Scripted, failure, response, ticket

NUMBER = "6501234123"
ECHO = f"+1{NUMBER} {KEY} https://secure.skycore.com/?api_key={KEY}&to=1{NUMBER}"
both = pytest.mark.parametrize("transport", ["post", "get"])

LEAKY = {
    "a refused key": failure("E104", ECHO),
    "a billing problem": failure("E713", ECHO),
    "a slow down": failure("E106", ECHO),
    "an internal error": failure("E503", ECHO),
    "an unheard-of code": failure("E999", ECHO),
    "a code that is a text": response(STATUS="Failure", ERRORCODE=ECHO),
    "a status that is a text": response(STATUS=ECHO, TRACKINGID="MMS_1"),
    "another number": response(STATUS="Success", TRACKINGID="MMS_1", TO=f"44{NUMBER}99"),
    "a refusal with a tracking id": response(STATUS="Failure", ERRORCODE="E110", TRACKINGID=ECHO),
    "no document": ECHO.encode(),
    "a document cut off": f"<RESPONSE><TO>{ECHO.replace('&', '')}".encode(),
    "another document": f"<t{KEY} a='1{NUMBER}'/>".encode(),
    "a charset that is a text": f'<?xml version="1.0" encoding="{KEY}"?><RESPONSE/>'.encode(),
    "an entity": f'<!DOCTYPE r [<!ENTITY a{KEY} "{NUMBER}">]><RESPONSE>&a{KEY};</RESPONSE>'.encode(),
    "a failing status": httpx.Response(502, text=ECHO),
    "a refusing status": httpx.Response(401, text=ECHO),
    "a refusing status around a success": httpx.Response(401, content=SUCCESS),
    "too many requests": httpx.Response(429, text=ECHO, headers={"Retry-After": ECHO}),
    "a redirect that repeats the address": httpx.Response(302, headers={"Location": f"https://example.com/?{ECHO}"}),
}


def told_by(error, caplog):
    whole = "".join(traceback.format_exception(error)) + repr(error) + str(error) + str(error.args) + caplog.text
    return whole + "".join(traceback.TracebackException.from_exception(error).format(chain=True))


def assert_silent(text):
    assert KEY not in text
    assert NUMBER not in text


@both
@pytest.mark.parametrize("answer", LEAKY.values(), ids=LEAKY)
async def test_no_key_and_no_number_reaches_an_error_or_a_log(answer, transport, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(GatewayError) as caught:
        await Scripted(answer, transport).gateway.send(ticket())
    assert_silent(told_by(caught.value, caplog))


@both
@pytest.mark.parametrize(
    "kind", [httpx.RemoteProtocolError, httpx.ReadTimeout, httpx.ConnectError, httpx.LocalProtocolError, httpx.InvalidURL]
)
async def test_no_key_and_no_number_reaches_an_error_when_the_transport_breaks(kind, transport, caplog):
    def breaks(request):
        raise kind(f"{request.url} {ECHO}")

    settings = SkycoreSettings(api_key=KEY, transport=transport)
    with pytest.raises(GatewayError) as caught:
        await Skycore(settings, transport=httpx.MockTransport(breaks)).send(ticket())
    assert_silent(told_by(caught.value, caplog))


@both
async def test_a_whole_exchange_over_a_real_connection_logs_neither_at_the_lowest_level(transport, caplog):
    async def behave(talk):
        await talk.request()
        await talk.say(ok(SUCCESS))

    caplog.set_level(logging.DEBUG)
    async with RawServer(behave) as server:
        async with Skycore(SkycoreSettings(api_key=KEY, base_url=server.url, transport=transport)) as gateway:
            await gateway.send(ticket())
        gone = SkycoreSettings(api_key=KEY, base_url=server.url, transport=transport)
        assert KEY.encode() in server.executed[0]
    async with Skycore(gone) as gateway:
        with pytest.raises(GatewayError) as caught:
            await gateway.send(ticket())
    assert_silent(told_by(caught.value, caplog))


BEFORE = {
    "a control character": {"barcode_id": f"{KEY}\x00{NUMBER}"},
    "a field's name": {"extras": {"data": {f"{KEY} {NUMBER}": "x"}}},
    "half a minute": {"extras": {"ddm_text": "Hi", "ddm_timeout": f"{NUMBER}.{KEY}"}},
    "too long for a URL": {"extras": {"data": {"note": NUMBER * 1000}}},
}


@pytest.mark.parametrize("values", BEFORE.values(), ids=BEFORE)
async def test_what_is_refused_before_any_request_is_not_quoted(values, caplog):
    with pytest.raises(InputError) as caught:
        await Scripted(transport="get").gateway.send(ticket(**values))
    assert_silent(told_by(caught.value, caplog))


def test_the_gateways_repr_shows_no_key():
    assert KEY not in repr(Scripted().gateway)


async def test_the_answer_itself_is_kept_as_evidence_for_the_record():
    with pytest.raises(GatewayError) as caught:
        await Scripted(failure("E713", ECHO)).gateway.send(ticket())
    assert NUMBER.encode() in caught.value.evidence.raw


@pytest.mark.parametrize("key", [None, "", " \n"])
def test_a_missing_key_names_its_variable(key):
    with pytest.raises(SettingsError, match="POSTHORN_SKYCORE__API_KEY") as caught:
        Skycore(SkycoreSettings(api_key=key))
    assert "not set" in str(caught.value)


def test_a_missing_key_names_its_variable_where_the_gateway_is_chosen():
    with pytest.raises(SettingsError, match="POSTHORN_SKYCORE__API_KEY"):
        by_name("skycore").open(Settings(skycore=SkycoreSettings()))


@pytest.mark.parametrize("key", ["two words", "klucz-ł", "line\nbreak", "bell\x07"])
def test_a_key_that_cannot_stand_in_a_request_is_refused_without_showing_it(key):
    with pytest.raises(SettingsError, match="POSTHORN_SKYCORE__API_KEY") as caught:
        Skycore(SkycoreSettings(api_key=key))
    assert key not in str(caught.value)
