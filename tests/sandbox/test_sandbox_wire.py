"""The sandbox reads what the vendor's clients send and answers in the formats they read."""

from __future__ import annotations

from urllib.parse import urlencode

import httpx
import pytest
from defusedxml import ElementTree

TWO = ["+48500600700", "+48500600701"]
LOGIN = {"username": "sandbox", "password": "sandbox"}
BEARER = {"Authorization": "Bearer sandbox-token"}


def _form(**params: str) -> dict[str, object]:
    return {"content": urlencode(params), "headers": {"Content-Type": "application/x-www-form-urlencoded"}}


SEND = {**LOGIN, "title": "T", "text": "x", "details": "1"}
BODIES = {
    "a JSON list": {"json": {**SEND, "details": True, "phone": TWO}},
    "a JSON object of numbers": {"json": {**SEND, "details": 1, "phone": dict(enumerate(TWO))}},
    "JSON with a comma list": {"json": {**SEND, "phone": ",".join(TWO)}},
    "JSON with numbers as integers": {"json": {**SEND, "details": "true", "phone": [500600700, 500600701]}},
    "JSON without a content type": {"content": httpx.Request("POST", "http://x", json={**SEND, "phone": TWO}).content},
    "a form with phone[0]": _form(**SEND, **{"phone[1]": TWO[1], "phone[0]": TWO[0]}),
    "a form with a comma list": _form(**SEND, phone=",".join(TWO), system="client_node"),
    "a form with phone[]": {
        "content": urlencode([*SEND.items(), *(("phone[]", phone) for phone in TWO)]),
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
    },
    "multipart fields": {"files": [(name, (None, value)) for name, value in {**SEND, "phone": ",".join(TWO)}.items()]},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_both_numbers_are_taken_from(caller, body):
    answer = (await caller.http.post("/messages/send_mms.json", **body)).json()
    assert [item["phone"] for item in answer["items"]] == TWO
    assert (answer["success"], answer["queued"], answer["unsent"]) == (True, 2, 0)
    assert caller.box.truth()["accepted"] == 2


async def test_a_plus_lost_in_a_form_makes_the_number_incorrect(caller):
    body = "username=sandbox&password=sandbox&title=T&text=x&details=1&phone=+48500600700"
    answer = (await caller.http.post("/messages/send_mms", **{**_form(), "content": body})).json()
    assert answer["items"][0]["error_code"] == 3103


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        pytest.param({}, {}, 1001, id="nothing"),
        pytest.param({}, {"username": "sandbox", "password": "wrong"}, 1001, id="a wrong password"),
        pytest.param({}, {"username": "sandbox"}, 1001, id="no password"),
        pytest.param({"Authorization": "Bearer other"}, {}, 1012, id="a wrong token"),
        pytest.param({"Authorization": "Bearer other"}, LOGIN, 1012, id="a wrong token beside a right login"),
        pytest.param({"Authorization": "Bearer expired-token"}, {}, 1011, id="an expired token"),
        pytest.param({"Authorization": "Basic c2FuZGJveDpzYW5kYm94"}, {}, 1001, id="HTTP Basic"),
    ],
)
async def test_credentials_are_refused_with_status_200(caller, headers, body, code):
    answer = await caller.http.post("/files/index", json=body, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["error"]["code"] == code
    assert "success" not in answer.json()


@pytest.mark.parametrize("headers_and_body", [(BEARER, {}), ({}, LOGIN)], ids=["a token", "a login"])
async def test_credentials_are_accepted_as(caller, headers_and_body):
    headers, body = headers_and_body
    assert (await caller.http.post("/files/index.json", json=body, headers=headers)).json() == {"items": []}


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "/messages/send_fax.json", 1000),
        ("POST", "/", 1000),
        ("GET", "/messages/send_mms.json", 1000),
        ("GET", "/error/3004", 3004),
        ("POST", "/error/1000.json", 1000),
        ("POST", "/error/777", 2002),
        ("POST", "/error/abc", 2002),
    ],
)
async def test_path_answers_error(caller, method, path, code):
    answer = await caller.http.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, code)
    assert set(answer.json()["error"]) == {"code", "type", "message"}


@pytest.mark.parametrize("content", [b"{", b"[1]", b'"x"', b"\xff\xfe"], ids=["half", "a list", "a string", "not UTF-8"])
async def test_a_body_that_is_no_object_is_invalid_data(caller, content):
    answer = await caller.http.post("/files/index", content=content, headers={**BEARER, "Content-Type": "application/json"})
    assert answer.json()["error"]["code"] == 1006


async def test_xml_holds_a_list_of_items(caller):
    body = {"title": "A & <B>", "text": "x", "details": True, "phone": ["+48500600700", "45616"]}
    answer = await caller.http.post("/messages/send_mms.xml", json=body, headers=BEARER)
    assert answer.headers["Content-Type"].startswith("application/xml")
    root = ElementTree.fromstring(answer.content)
    assert (root.findtext("success"), root.findtext("queued"), root.findtext("unsent")) == ("true", "1", "1")
    taken, refused = root.findall("items/item")
    assert (taken.findtext("text"), taken.findtext("phone"), taken.findtext("parts")) == ("A & <B>", "+48500600700", "1")
    assert (refused.findtext("error_code"), refused.find("parts")) == ("3103", None)


async def test_an_xml_error_has_its_fields_under_the_root(caller):
    root = ElementTree.fromstring((await caller.http.post("/files/index.xml")).content)
    assert [child.tag for child in root] == ["code", "type", "message"]
    assert root.findtext("code") == "1001"


async def test_an_absent_time_is_null_in_json_and_empty_in_xml(caller):
    await caller.send("+48500600700")
    assert (await caller.call("messages/reports"))["items"][0]["delivered"] is None
    xml = await caller.http.post("/messages/reports.xml", headers=BEARER)
    assert ElementTree.fromstring(xml.content).findtext("items/item/delivered") == ""


async def test_a_hundred_thousand_numbers_fit_in_one_request(caller, phones):
    answer = await caller.send(*phones(100_000))
    assert answer["queued"] == len({item["id"] for item in answer["items"]}) == 100_000
    logged = (await caller.told("requests"))[0]["body"]["phone"]
    assert len(logged) == 1001
    assert logged[-1] == "and 99000 more"


@pytest.mark.parametrize(
    "stranger",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ],
    ids=str,
)
async def test_a_web_page_gets_nothing_from_the_sandbox_and_does_nothing_there(sandbox, stranger):
    async with sandbox() as caller, httpx.AsyncClient(base_url=caller.box.url, headers=stranger) as page:
        for method, path in (("GET", "/_sandbox/truth"), ("POST", "/_sandbox/reset"), ("POST", "/messages/send_mms")):
            assert (await page.request(method, path)).status_code == 403
        assert caller.box.truth()["requests"] == {}


async def test_the_sandboxs_own_page_and_a_link_to_it_are_answered(sandbox):
    async with sandbox() as caller, httpx.AsyncClient(base_url=caller.box.url) as page:
        for said in ({"Origin": caller.box.url}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}):
            assert (await page.get("/_sandbox/truth", headers=said)).status_code == 200
