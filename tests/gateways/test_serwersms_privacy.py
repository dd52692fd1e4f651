"""No token, password or full number in a message, a repr, a traceback or a log; and no answer, however odd, that escapes."""

import logging
import traceback

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthorn.errors import GatewayError, InputError
from posthorn.gateways.serwersms.answers import read
from posthorn.models import MessageState, MmsRequest, Phone
from tests.gateways.scripted import PASSWORD, TOKEN, Scripted, document

PHONE = Phone(48500600700)
REQUEST = MmsRequest("Autumn sale", [PHONE, Phone(48500600701)], ["b67d70c22d"])
ECHO = f"+48500600700 {TOKEN} {PASSWORD}"

LEAKY = {
    "a refused token": {"error": {"code": 1012, "message": ECHO}},
    "an unheard-of code": {"error": {"code": 9999, "message": ECHO}},
    "an error that is a text": {"error": ECHO},
    "a code that is a text": {"error": {"code": ECHO}},
    "no document": ECHO.encode(),
    "a document cut off": f'{{"phone": "{ECHO}'.encode(),
    "a failing status": httpx.Response(502, text=ECHO),
    "a refusing status": httpx.Response(401, text=ECHO),
    "too many requests": httpx.Response(429, text=ECHO, headers={"Retry-After": ECHO}),
}


@pytest.mark.parametrize(
    "credentials", [{"token": TOKEN}, {"username": "webapi", "password": PASSWORD}], ids=["token", "login"]
)
@pytest.mark.parametrize("answer", LEAKY.values(), ids=LEAKY)
async def test_no_secret_and_no_number_reaches_an_error_or_a_log(answer, credentials, caplog):
    caplog.set_level(logging.DEBUG)
    scripted = Scripted(answer, **credentials)
    with pytest.raises(GatewayError) as caught:
        await scripted.gateway.send(REQUEST)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(caught.value.args) + caplog.text
    for secret in (TOKEN, PASSWORD, "500600700"):
        assert secret not in told


async def test_no_secret_and_no_number_reaches_an_error_when_the_transport_breaks():
    def handler(request):
        raise httpx.RemoteProtocolError(ECHO, request=request)

    scripted = Scripted()
    scripted.gateway._http._free[:] = [httpx.MockTransport(handler)] * len(scripted.gateway._http._free)
    with pytest.raises(GatewayError) as caught:
        await scripted.gateway.send(REQUEST)
    told = "".join(traceback.format_exception(caught.value))
    assert TOKEN not in told
    assert "500600700" not in told


def test_the_gateways_repr_shows_no_secret():
    assert TOKEN not in repr(Scripted().gateway)


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20)
WORDS = st.sampled_from(["queued", "unsent", "+48500600700", "500600701", "3103", "3004", "1010", "a", "b"])
VALUES = st.recursive(
    SCALARS | WORDS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
ITEMS = st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "phone", "status", "error_code", "text"), WORDS | VALUES))
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "success": VALUES,
        "queued": VALUES,
        "unsent": VALUES,
        "items": st.lists(ITEMS, max_size=5) | ITEMS | VALUES,
        "error": VALUES | st.fixed_dictionaries({"code": VALUES}),
    },
)


@settings(max_examples=400, deadline=None)
@given(answer=ANSWERS)
async def test_whatever_json_comes_back_a_send_ends_in_receipts_or_in_an_error_of_the_tree(answer):
    try:
        receipts = (await Scripted(document(answer, "json")).gateway.send(REQUEST)).receipts
    except GatewayError:
        return
    ids = [receipt.provider_id for receipt in receipts if receipt.provider_id]
    assert len(receipts) == 2
    assert len(set(ids)) == len(ids)
    assert all(receipt.state is not MessageState.REJECTED or receipt.error for receipt in receipts)


@settings(max_examples=200, deadline=None)
@given(answer=st.dictionaries(st.sampled_from(["items", "paging", "error", "id", "success", "correct"]), VALUES))
async def test_whatever_json_comes_back_every_other_call_ends_in_a_result_or_in_an_error_of_the_tree(answer):
    gateway = Scripted(document(answer, "json")).gateway
    calls = (
        gateway.list_files,
        gateway.credit,
        gateway.blacklist,
        gateway.reports,
        lambda: gateway.view_message("a"),
        lambda: gateway.withdraw(["a"]),
        lambda: gateway.add_file(url="https://example.com/a.jpg"),
        lambda: gateway.explain_error(1000),
    )
    for call in calls:
        try:
            await call()
        except (GatewayError, InputError):
            continue


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=300))
@pytest.mark.parametrize("response_format", ["json", "xml"])
def test_whatever_bytes_come_back_they_are_an_object_or_unreadable(response_format, body):
    try:
        assert isinstance(read(body, response_format), dict)
    except ValueError:
        return
