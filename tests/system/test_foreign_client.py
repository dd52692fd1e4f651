"""Clients that know nothing of Posthorn get along with the sandbox, so it speaks the provider's wire and not just ours.

Each way of calling is one that reference clients use (HTTPS API v2: login in the body, a tag ``system``, format as suffix).
"""

from __future__ import annotations

import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET  # the sandbox's own answers
from typing import Any

import orjson
import pytest

from posthorn.cli.sandbox_process import SandboxProcess
from tests.commands import told

LOGIN = {"username": "sandbox", "password": "sandbox"}


class JsonClient:
    """As the Python and PHP clients call: a JSON body that carries login and tag, ``.json`` after the action."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}/"

    def call(self, action: str, **params: object) -> Any:
        body = orjson.dumps({**LOGIN, "system": "client_python", **params})
        return orjson.loads(post(f"{self.url}{action}.json", body, {"Content-Type": "application/json"}))


class FormClient(JsonClient):
    """As the Node and shell clients call: form fields, lists with an index, no suffix."""

    def call(self, action: str, **params: object) -> Any:
        fields: list[tuple[str, str]] = [*LOGIN.items(), ("system", "client_nodejs")]
        for name, value in params.items():
            if isinstance(value, list):
                fields += [(f"{name}[{index}]", item) for index, item in enumerate(value)]
            else:
                fields.append((name, "1" if value is True else str(value)))
        form = urllib.parse.urlencode(fields).encode()
        return orjson.loads(post(f"{self.url}{action}", form, {"Content-Type": "application/x-www-form-urlencoded"}))


class TokenClient(JsonClient):
    """As the newer clients call: a Bearer token, no login in the body."""

    def call(self, action: str, **params: object) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": "Bearer demo-token"}
        return orjson.loads(post(f"{self.url}{action}.json", orjson.dumps({"system": "client_php", **params}), headers))


def post(url: str, body: bytes, headers: dict[str, str]) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
        assert answer.status == 200
        return bytes(answer.read())


@pytest.mark.parametrize("client_class", [JsonClient, FormClient, TokenClient])
def test_a_reference_client_lists_files_sends_with_test_and_reads_reports(
    client_class: type[JsonClient], running_sandbox: SandboxProcess, box_url: str
) -> None:
    client = client_class(box_url)
    added = client.call("files/add", type="mms", url="https://example.com/plik1.jpg")
    assert added["success"] is True
    (file,) = client.call("files/index", type="mms")["items"]
    assert (file["id"], file["name"], file["type"]) == (added["id"], "plik1.jpg", "mms")
    assert set(file) == {"id", "name", "size", "type", "date"}

    message = {"title": "Autumn", "file_id": added["id"], "phone": ["+48500600700", "+48600700800"]}
    tested = client.call("messages/send_mms", **message, test=True, details=True)
    assert (tested["success"], tested["queued"], tested["unsent"]) == (True, 2, 0)
    assert [item["phone"] for item in tested["items"]] == message["phone"]
    assert told(box_url, "truth")["accepted"] == 0, "a test sends nothing"

    sent = client.call("messages/send_mms", **{**message, "phone": [*message["phone"], "45616"]}, details=True)
    assert (sent["queued"], sent["unsent"]) == (2, 1)
    assert {item.get("error_code") for item in sent["items"]} == {None, 3103}
    queued = [item["id"] for item in sent["items"] if item["status"] == "queued"]
    reports = client.call("messages/reports", id=queued)
    assert sorted(item["id"] for item in reports["items"]) == sorted(queued)
    assert reports["paging"] == {"page": 1, "count": 1}
    assert told(box_url, "counts") == dict.fromkeys(message["phone"], 1)


def test_a_wrong_login_is_an_error_object_with_http_200(box_url: str) -> None:
    body = orjson.dumps({"username": "sandbox", "password": "wrong"})
    answer = orjson.loads(post(f"{box_url}/files/index.json", body, {"Content-Type": "application/json"}))
    assert set(answer["error"]) == {"code", "type", "message"}
    assert int(answer["error"]["code"]) == 1001
    assert "items" not in answer


def test_the_suffix_xml_answers_in_xml(box_url: str) -> None:
    headers = {"Content-Type": "application/json"}
    post(f"{box_url}/files/add.json", orjson.dumps({**LOGIN, "type": "mms", "url": "https://example.com/a.png"}), headers)
    root = ET.fromstring(post(f"{box_url}/files/index.xml", orjson.dumps(LOGIN), headers))
    assert [item.findtext("name") for item in root.iter("item")] == ["a.png"]
