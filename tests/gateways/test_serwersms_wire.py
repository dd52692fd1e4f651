"""What goes over the wire, call by call: address, headers and body as the provider's pages have them."""

import base64
import email
import email.policy
from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes

import orjson
import pytest

from posthorn.gateways.serwersms.client import SerwerSms
from posthorn.models import Media, MmsRequest, Phone
from posthorn.settings import SerwerSmsSettings, SettingsError
from tests.gateways.raw_server import RawServer, ok
from tests.gateways.scripted import BASE, PASSWORD, TOKEN, Scripted, settings

A, B = Phone(48500600700), Phone(48500600701)
NOON = datetime(2036, 11, 30, 12, 0, tzinfo=UTC)
LOGIN = {"username": "webapi_posthorn", "password": PASSWORD}

CALLS = {
    "files/add by url": (
        lambda g: g.add_file(url="https://example.com/plik.jpg"),
        "files/add",
        {"type": "mms", "url": "https://example.com/plik.jpg"},
    ),
    "files/add of a voice file, named": (
        lambda g: g.add_file(type="voice", url="https://example.com/a.wav", name="Autumn"),
        "files/add",
        {"type": "voice", "url": "https://example.com/a.wav", "name": "Autumn"},
    ),
    "upload of a campaign's url": (
        lambda g: g.upload(Media("https://example.com/map.png", "map.png", "image/png")),
        "files/add",
        {"type": "mms", "url": "https://example.com/map.png", "name": "map.png"},
    ),
    "files/index": (lambda g: g.list_files(), "files/index", {"type": "mms"}),
    "files/view": (lambda g: g.view_file("b67d70c22d"), "files/view", {"id": "b67d70c22d", "type": "mms"}),
    "files/delete": (lambda g: g.delete_file("b67d70c22d"), "files/delete", {"id": "b67d70c22d", "type": "mms"}),
    "a chunk": (
        lambda g: g.send(MmsRequest("Autumn sale", [A, B], ["b67d70c22d"])),
        "messages/send_mms",
        {
            "title": "Autumn sale",
            "phone": ["+48500600700", "+48500600701"],
            "file_id": "b67d70c22d",
            "details": True,
        },
    ),
    "a chunk with everything": (
        lambda g: g.send(MmsRequest("Autumn sale", [A], ["b67d70c22d", "39b0d42508"], "Until Sunday", NOON, test=True)),
        "messages/send_mms",
        {
            "title": "Autumn sale",
            "phone": "+48500600700",
            "file_id": ["b67d70c22d", "39b0d42508"],
            "text": "Until Sunday",
            "date": "2036-11-30 13:00",
            "details": True,
            "test": True,
        },
    ),
    "send_mms as the page has it": (
        lambda g: g.send_mms(title="T", phone="+48500600700", file_id="b67d70c22d", text="C", date=NOON, test=True),
        "messages/send_mms",
        {
            "title": "T",
            "phone": "+48500600700",
            "file_id": "b67d70c22d",
            "text": "C",
            "date": "2036-11-30 13:00",
            "details": True,
            "test": True,
        },
    ),
    "send_mms without details": (
        lambda g: g.send_mms(title="T", phone=[A, "+48500600701"], file_id=["a", "b"], details=False),
        "messages/send_mms",
        {"title": "T", "phone": ["+48500600700", "+48500600701"], "file_id": ["a", "b"]},
    ),
    "messages/reports by ids": (
        lambda g: g.reports(ids=["32039da8e9"]),
        "messages/reports",
        {"id": ["32039da8e9"], "type": "mms", "page": 1, "order": "asc"},
    ),
    "messages/reports with every filter": (
        lambda g: g.reports(phones=[A], since=NOON, until=NOON, page=3, status="saved", type="eco", limit=50, order="desc"),
        "messages/reports",
        {
            "phone": ["+48500600700"],
            "date_from": "2036-11-30 13:00:00",
            "date_to": "2036-11-30 13:00:00",
            "status": "saved",
            "type": "eco",
            "limit": 50,
            "page": 3,
            "order": "desc",
        },
    ),
    "messages/view": (lambda g: g.view_message("32039da8e9"), "messages/view", {"id": "32039da8e9"}),
    "messages/delete of one": (lambda g: g.withdraw(["32039da8e9"]), "messages/delete", {"id": "32039da8e9"}),
    "messages/delete of many": (lambda g: g.withdraw(["a", "b"]), "messages/delete", {"id": ["a", "b"]}),
    "account/limits": (lambda g: g.credit(), "account/limits", {"show_type": True}),
    "blacklist/index": (lambda g: g.blacklist(), "blacklist/index", {"page": 1}),
    "blacklist/index of one": (
        lambda g: g.blacklist(phone=A, page=2, limit=10),
        "blacklist/index",
        {"phone": "+48500600700", "limit": 10, "page": 2},
    ),
}
ANSWER = {"success": True, "id": "b67d70c22d", "queued": 1, "unsent": 0, "items": None, "correct": 1, "failed": 0}


@pytest.mark.parametrize("response_format", ["json", "xml"])
@pytest.mark.parametrize(("call", "action", "body"), CALLS.values(), ids=CALLS)
async def test_each_call_with_a_token_asks_exactly_what_its_page_says(call, action, body, response_format):
    scripted = Scripted(ANSWER, response_format=response_format)
    await call(scripted.gateway)
    (request,) = scripted.requests
    assert (request.method, str(request.url)) == ("POST", f"{BASE}/{action}.{response_format}")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == f"application/{response_format}"
    assert scripted.asked == body


@pytest.mark.parametrize(("call", "action", "body"), CALLS.values(), ids=CALLS)
async def test_each_call_with_a_login_carries_it_in_the_body(call, action, body):
    scripted = Scripted(ANSWER, **LOGIN)
    await call(scripted.gateway)
    assert "authorization" not in scripted.requests[0].headers
    assert scripted.asked == {**LOGIN, **body}


async def test_error_codes_are_asked_for_by_address():
    scripted = Scripted({"error": {"code": 1000, "type": "InvalidAction", "message": "No action"}})
    said = await scripted.gateway.explain_error(1000)
    assert str(scripted.requests[0].url) == f"{BASE}/error/1000.json"
    assert scripted.asked == {"system": "posthorn"}, "no body is empty"
    assert (said.code, said.type, said.message) == ("1000", "InvalidAction", "No action")


def parts(request):
    head = b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n"
    message = email.message_from_bytes(head + request.content, policy=email.policy.HTTP)
    return {
        part.get_param("name", header="content-disposition"): (
            part.get_filename(),
            part.get_content_type() if part.get_filename() else None,
            part.get_payload(decode=True),
        )
        for part in message.iter_parts()
    }


PICTURE = b"\xff\xd8\xff\xe0 a picture \r\n--\r\n\x00"


@pytest.mark.parametrize("response_format", ["json", "xml"])
async def test_a_file_from_disk_goes_as_a_form_with_the_token_in_the_header(tmp_path, response_format):
    path = tmp_path / "poster.jpg"
    path.write_bytes(PICTURE)
    scripted = Scripted({"success": True, "id": "b67d70c22d"}, response_format=response_format)
    media = Media("poster.jpg", "poster.jpg", "image/jpeg", path=str(path), size=len(PICTURE))
    assert await scripted.gateway.upload(media) == "b67d70c22d"
    (request,) = scripted.requests
    assert str(request.url) == f"{BASE}/files/add.{response_format}"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert parts(request) == {"type": (None, None, b"mms"), "file": ("poster.jpg", "image/jpeg", PICTURE)}


async def test_a_file_from_disk_carries_the_login_and_the_name_as_fields(tmp_path):
    path = tmp_path / "poster.jpg"
    path.write_bytes(PICTURE)
    scripted = Scripted({"success": True, "id": "b67d70c22d"}, **LOGIN)
    await scripted.gateway.add_file(path=path, name="Autumn", content_type="image/jpeg")
    assert parts(scripted.requests[0]) == {
        "username": (None, None, b"webapi_posthorn"),
        "password": (None, None, PASSWORD.encode()),
        "type": (None, None, b"mms"),
        "name": (None, None, b"Autumn"),
        "file": ("poster.jpg", "image/jpeg", PICTURE),
    }


async def test_a_file_from_disk_goes_as_the_field_of_a_form(tmp_path):
    path = tmp_path / "poster.jpg"
    path.write_bytes(PICTURE)
    scripted = Scripted({"success": True, "id": "b67d70c22d"}, **LOGIN)
    await scripted.gateway.add_file(path=path, encoding="form")
    (request,) = scripted.requests
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    fields = {unquote_to_bytes(name): unquote_to_bytes(value.replace(b"+", b" ")) for name, value in split(request)}
    login = {key.encode(): value.encode() for key, value in LOGIN.items()}
    assert fields == {**login, b"type": b"mms", b"name": b"poster.jpg", b"file": PICTURE}


def split(request):
    return [pair.split(b"=") for pair in request.content.split(b"&")]


async def test_a_file_from_disk_goes_as_base64_text(tmp_path):
    path = tmp_path / "poster.jpg"
    path.write_bytes(PICTURE)
    scripted = Scripted({"success": True, "id": "b67d70c22d"})
    await scripted.gateway.add_file(path=path, encoding="base64")
    assert scripted.requests[0].headers["content-type"] == "application/json"
    assert scripted.asked == {"type": "mms", "name": "poster.jpg", "file": base64.b64encode(PICTURE).decode()}


async def test_the_bytes_of_a_send_over_a_real_connection():
    async def behave(talk):
        await talk.request()
        await talk.say(ok(b'{"success":true,"queued":1,"unsent":0}'))

    async with RawServer(behave) as server, SerwerSms(settings(base_url=server.url)) as gateway:
        await gateway.send(MmsRequest("Jesień", [A], ["b67d70c22d"]))
        (sent,) = server.executed
    head, body = sent.split(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /messages/send_mms.json http/1.1"
    host = server.url.removeprefix("http://")
    assert sorted(lines[1:]) == sorted(
        [
            f"host: {host}",
            "accept: application/json",
            "accept-encoding: identity",
            "connection: keep-alive",
            "user-agent: posthorn",
            f"authorization: bearer {TOKEN}",
            "content-type: application/json",
            f"content-length: {len(body)}",
        ]
    )
    assert orjson.loads(body) == {"title": "Jesień", "phone": "+48500600700", "file_id": "b67d70c22d", "details": True}


async def test_a_base_url_with_a_path_is_kept():
    scripted = Scripted({"items": []}, base_url="https://proxy.example/serwersms/")
    await scripted.gateway.list_files()
    assert str(scripted.requests[0].url) == "https://proxy.example/serwersms/files/index.json"


# -- Credentials ----------------------------------------------------------------------------------------------------------

INCOMPLETE = {
    "nothing": {},
    "an empty token": {"token": ""},
    "a blank token": {"token": " \n"},
    "a user without a password": {"username": "webapi_posthorn"},
    "a password without a user": {"password": PASSWORD},
    "empty both": {"username": "", "password": ""},
}


@pytest.mark.parametrize("values", INCOMPLETE.values(), ids=INCOMPLETE)
def test_incomplete_credentials_name_the_variables(values):
    with pytest.raises(SettingsError) as caught:
        SerwerSms(SerwerSmsSettings(**values))
    for variable in ("TOKEN", "USERNAME", "PASSWORD"):
        assert f"POSTHORN_SERWERSMS__{variable}" in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("token", ["two words", "żeton", "line\nbreak", "bell\x07"])
def test_a_token_that_cannot_stand_in_a_header_is_refused_without_showing_it(token):
    with pytest.raises(SettingsError) as caught:
        SerwerSms(SerwerSmsSettings(token=token))
    assert "POSTHORN_SERWERSMS__TOKEN" in str(caught.value)
    assert token not in str(caught.value)


async def test_the_token_wins_over_the_login_and_the_password_stays_home():
    scripted = Scripted({"items": []}, token=f" {TOKEN}\n", **LOGIN)
    await scripted.gateway.list_files()
    assert scripted.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert scripted.asked == {"type": "mms"}
