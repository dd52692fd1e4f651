"""Which encoding of a file counts, what each character of account makes of it, and calls that clients try beside MMS."""

from __future__ import annotations

import base64
import io
import urllib.parse

import pytest
from PIL import Image

BEARER = {"Authorization": "Bearer sandbox-token"}
# Bytes that no text survives: not UTF-8, with the signs that forms, multipart bodies and XML give a meaning.
RAW = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) + b"&=+%41\r\n--"


async def _add(caller, encoding, content, name="poster.png", kind="mms"):
    """files/add with a file in one encoding."""
    if encoding == "multipart":
        given = {"data": {"type": kind, "name": name}, "files": {"file": (name, content)}}
    elif encoding == "field":  # a part of a multipart body without a file name
        given = {"files": {"type": (None, kind), "name": (None, name), "file": (None, content)}}
    elif encoding == "form":
        body = urllib.parse.urlencode({"type": kind, "name": name, "file": content})
        given = {"content": body, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    else:
        given = {"json": {"type": kind, "name": name, "file": base64.b64encode(content).decode()}}
    headers = {**BEARER, **given.pop("headers", {})}
    return (await caller.http.post("/files/add.json", **given, headers=headers)).json()


TRUE_SIZE, BASE64_SIZE = len(RAW), len(base64.b64encode(RAW))


@pytest.mark.parametrize(
    ("upload", "account", "encoding", "size_or_code"),
    [
        *(("any", "documented", encoding, TRUE_SIZE) for encoding in ("multipart", "field", "form", "base64")),
        ("multipart", "documented", "multipart", TRUE_SIZE),
        ("multipart", "documented", "field", 2000),
        ("multipart", "documented", "form", 2000),
        ("multipart", "documented", "base64", 2000),
        ("form", "documented", "multipart", 2000),
        ("form", "documented", "field", TRUE_SIZE),
        ("form", "documented", "form", TRUE_SIZE),
        ("form", "documented", "base64", BASE64_SIZE),
        ("base64", "documented", "multipart", 2000),
        ("base64", "documented", "form", 4002),
        ("base64", "documented", "base64", TRUE_SIZE),
        ("any", "no-multipart", "multipart", 2000),
        ("any", "no-multipart", "form", TRUE_SIZE),
        ("any", "no-multipart", "base64", TRUE_SIZE),
    ],
)
async def test_an_upload_counts_where(sandbox, upload, account, encoding, size_or_code):
    async with sandbox(upload=upload, account=account) as caller:
        answer = await _add(caller, encoding, RAW)
        if size_or_code in (2000, 4002):
            assert answer["error"]["code"] == size_or_code
            assert (await caller.call("files/index"))["items"] == []
            return
        assert (await caller.call("files/view", id=answer["id"], type="mms"))["size"] == size_or_code
        if size_or_code == TRUE_SIZE:
            assert (await caller.http.get(f"/_sandbox/files/{answer['id']}")).content == RAW, "not mangled on the way"


async def test_a_test_account_gives_ids_and_lists_nothing(sandbox):
    async with sandbox(account="test") as caller:
        file_id = (await _add(caller, "multipart", RAW))["id"]
        assert (await caller.call("files/index", type="mms"))["items"] == []
        assert (await caller.send("+48500600700", file_id=file_id))["queued"] == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
async def test_an_account_that_reencodes_lists_another_size_of_the_same_picture(sandbox, kind):
    saved = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(saved, kind, **({"quality": 95} if kind == "JPEG" else {}))
    async with sandbox(account="reencodes") as caller:
        file_id = (await _add(caller, "multipart", saved.getvalue(), f"a.{kind.lower()}"))["id"]
        (item,) = (await caller.call("files/index", type="mms"))["items"]
        assert item["size"] != len(saved.getvalue())
        kept = (await caller.http.get(f"/_sandbox/files/{file_id}")).content
        with Image.open(io.BytesIO(kept)) as picture:
            assert (picture.format, picture.size) == (kind, (64, 64))


@pytest.mark.parametrize(
    ("kind", "name", "taken"),
    [
        ("voice", "a.wav", True),
        ("voice", "a.mp3", True),
        ("voice", "a.jpg", False),
        ("mms", "a.wav", False),
        ("mms", "a.jpg", True),
    ],
)
async def test_voice_takes_sound_and_mms_pictures(caller, kind, name, taken):
    answer = await _add(caller, "multipart", b"12345", name, kind)
    assert answer.get("success") is True if taken else answer["error"]["code"] == 4002


@pytest.mark.parametrize("call", ["files/view", "files/delete"])
async def test_view_and_delete_mind_the_type(caller, call):
    file_id = (await _add(caller, "multipart", b"12345", "a.wav", "voice"))["id"]
    assert (await caller.call(call, id=file_id, type="mms"))["error"]["code"] == 4001
    assert "error" not in await caller.call(call, id=file_id, type="voice")


# Lists.

NUMBERS = ["+48500600701", "+48500600702", "+48500600703"]
SEND = [("title", "Autumn"), ("text", "hello"), ("details", "1")]


@pytest.mark.parametrize(
    "names", [["phone[]"] * 3, ["phone[0]", "phone[1]", "phone[2]"], ["phone[2]", "phone[0]", "phone[1]"]], ids=str
)
async def test_repeated_names_of_a_multipart_body_all_count(caller, names):
    parts = [(name, (None, value)) for name, value in [*SEND, *zip(names, NUMBERS, strict=True)]]
    answer = (await caller.http.post("/messages/send_mms.json", files=parts, headers=BEARER)).json()
    assert sorted(item["phone"] for item in answer["items"] if item["status"] == "queued") == NUMBERS


@pytest.mark.parametrize("text", [", ".join(NUMBERS), " ,".join(NUMBERS), ",".join(NUMBERS), f" {', '.join(NUMBERS)} "])
async def test_commas_may_have_spaces_around_them(caller, text):
    answer = await caller.call("messages/send_mms", title="Autumn", text="hello", phone=text, details=True)
    assert [item["phone"] for item in answer["items"]] == NUMBERS
    listed = await caller.call("messages/reports", id=", ".join(item["id"] for item in answer["items"]))
    assert len(listed["items"]) == 3


# A file that comes with a send.


@pytest.mark.parametrize("encoding", ["multipart", "base64", "many"])
async def test_a_file_comes_with_the_send(caller, encoding):
    text = base64.b64encode(RAW).decode()
    if encoding == "multipart":
        fields = {"title": "Autumn", "phone": NUMBERS[0], "details": "1"}
        files = {"file": ("poster.png", RAW)}
        answer = (await caller.http.post("/messages/send_mms", data=fields, files=files, headers=BEARER)).json()
    else:
        given = [text, text] if encoding == "many" else text
        answer = await caller.call("messages/send_mms", title="Autumn", phone=NUMBERS[0], file=given, details=True)
    assert answer["queued"] == 1
    (report,) = (await caller.call("messages/reports"))["items"]
    assert len(report["attachments"]) == (2 if encoding == "many" else 1)
    for attached in report["attachments"]:
        assert (await caller.http.get(f"/_sandbox/files/{attached['id']}")).content == RAW


@pytest.mark.parametrize(("size", "code"), [(1_000_001, 4000), (0, 2000)])
async def test_a_file_that_comes_with_the_send_is_judged(caller, size, code):
    given = base64.b64encode(RAW[:8] + b"x" * size).decode() if size else ""
    answer = await caller.call("messages/send_mms", title="Autumn", phone=NUMBERS[0], file=given)
    assert answer["error"]["code"] == code
    assert caller.box.truth()["accepted"] == 0


# What clients call beside.


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("messages/send_sms", 3009),
        ("messages/send_personalized", 3107),
        ("messages/send_voice", 3007),
        ("phones/check", 4102),
        ("groups/index", 1005),
        ("contacts/add", 1005),
        ("subaccounts/index", 4500),
        ("account/add", 1005),
        ("nothing/index", 1000),
    ],
)
async def test_what_an_mms_account_may_not_do_is_refused_as_documented(caller, call, code):
    assert (await caller.call(call))["error"]["code"] == code
    unknown = await caller.http.post(f"/{call}.json", json={}, headers={"Authorization": "Bearer wrong"})
    assert unknown.json()["error"]["code"] == (1012 if code != 1000 else 1000)


@pytest.mark.parametrize("call", ["messages/send_nd", "messages/send_ndi"])
async def test_an_answer_to_a_text_message_is_not_sent(caller, call):
    assert await caller.call(call, phone="+48500600701", text="hello") == {"success": False}


@pytest.mark.parametrize("ignores", [False, True])
async def test_an_account_may_ignore_that_a_send_is_to_be_checked_only(sandbox, ignores):
    async with sandbox(ignores_test=ignores) as caller:
        assert (await caller.send("+48500600701", test=True))["queued"] == 1
        assert caller.box.truth()["accepted"] == int(ignores)


async def test_the_blacklist_has_pages(caller, phones):
    for phone in phones(5):
        await caller.call("blacklist/add", phone=phone)
    pages = [await caller.call("blacklist/index", limit=2, page=page) for page in (1, 2, 3)]
    assert [item["phone"] for page in pages for item in page["items"]] == phones(5)
    assert {page["paging"]["count"] for page in pages} == {3}


async def test_report_items_carry_what_clients_name(caller):
    await caller.send("+48500600701")
    (item,) = (await caller.call("messages/reports"))["items"]
    named = {"flash", "utf", "parts", "cost", "method", "mnc", "country", "network", "attachments", "reason", "sender"}
    assert named <= set(item)
