"""Files are stored by URL or upload under a new id each time, and refused by size and type."""

from __future__ import annotations

import re

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

BEARER = {"Authorization": "Bearer sandbox-token"}


@pytest.fixture
async def host():
    """A web server on this machine, as a provider could fetch from."""

    async def serve(request):
        if request.path == "/missing.jpg":
            raise web.HTTPNotFound
        if request.path == "/moved.jpg":
            raise web.HTTPFound("/there.jpg")
        return web.Response(body=b"x" * (2_000_000 if "large" in request.path else 0 if "empty" in request.path else 321))

    app = web.Application()
    app.router.add_get("/{name}", serve)
    async with TestServer(app) as server:
        yield server


async def _upload(caller, name, content, **fields):
    answer = await caller.http.post(
        "/files/add.json", data={"type": "mms", **fields}, files={"file": (name, content)}, headers=BEARER
    )
    return answer.json()


async def test_an_upload_is_listed_viewed_and_deleted(caller):
    added = await _upload(caller, "poster.png", b"12345")
    assert added["success"] is True
    assert re.fullmatch("[0-9a-f]{10}", added["id"])
    listed = (await caller.call("files/index", type="mms"))["items"]
    assert [(item["id"], item["name"], item["size"], item["type"]) for item in listed] == [
        (added["id"], "poster.png", 5, "mms")
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", listed[0]["date"])
    assert await caller.call("files/view", id=added["id"], type="mms") == listed[0]
    assert await caller.call("files/delete", id=added["id"], type="mms") == {"success": True}
    assert (await caller.call("files/view", id=added["id"]))["error"]["code"] == 4001
    assert (await caller.call("files/index"))["items"] == []


async def test_the_same_file_twice_is_two_files(caller):
    assert (await _upload(caller, "a.gif", b"1"))["id"] != (await _upload(caller, "a.gif", b"1"))["id"]
    assert len((await caller.call("files/index"))["items"]) == 2


@pytest.mark.parametrize(
    ("name", "size", "code"),
    [("film.mp4", 5, 4002), ("page.html", 5, 4002), ("noname", 5, 4002), ("a.jpg", 0, 4002), ("a.jpg", 1_000_001, 4000)],
)
async def test_an_upload_is_refused(caller, name, size, code):
    assert (await _upload(caller, name, b"x" * size))["error"]["code"] == code


async def test_the_older_list_of_types_is_a_switch(sandbox):
    async with sandbox(legacy_file_types=True) as caller:
        assert (await _upload(caller, "film.mp4", b"12345"))["success"] is True


@pytest.mark.parametrize(
    ("name", "size_or_code"),
    [
        ("poster.jpg", 321),
        ("missing.jpg", 4001),
        ("moved.jpg", 4001),
        ("large.jpg", 4000),
        ("empty.jpg", 4002),
        ("a.exe", 4002),
    ],
)
async def test_a_url_on_this_machine_is_fetched(caller, host, name, size_or_code):
    answer = await caller.call("files/add", type="mms", url=str(host.make_url(f"/{name}")))
    if "error" in answer:
        assert answer["error"]["code"] == size_or_code
    else:
        assert (await caller.call("files/view", id=answer["id"]))["size"] == size_or_code


async def test_a_url_elsewhere_is_made_up_always_alike(caller):
    for _ in range(2):
        assert (await caller.call("files/add", type="mms", url="https://example.com/a/map.png?x=1"))["success"] is True
    first, second = (await caller.call("files/index"))["items"]
    assert first["name"] == "map.png"
    assert first["size"] == second["size"] > 0


@pytest.mark.parametrize(
    ("params", "code"),
    [
        pytest.param({"type": "mms"}, 2000, id="neither url nor file"),
        pytest.param({"url": "https://example.com/a.jpg"}, 2000, id="no type"),
        pytest.param({"type": "mms", "url": "https://example.com/a.jpg", "file": "x"}, 1006, id="url and file"),
        pytest.param({"type": "mms", "url": "ftp://example.com/a.jpg"}, 4001, id="a scheme that is not fetched"),
        pytest.param({"type": "mms", "url": "https://nowhere.invalid/a.jpg"}, 4001, id="a host that cannot exist"),
        pytest.param({"type": "mms", "url": "https://example.com/a.pdf"}, 4002, id="a type that is not allowed"),
    ],
)
async def test_files_add_refuses(caller, params, code):
    assert (await caller.call("files/add", **params))["error"]["code"] == code


@pytest.mark.parametrize(("text", "size", "name"), [("iVBORw0KGgo=", 8, "logo.png"), ("żółw", 7, "logo.txt")])
async def test_a_file_as_text_is_base64_or_itself(caller, text, size, name):
    added = await caller.call("files/add", type="mms", file=text, name="logo")
    stored = (await caller.call("files/index"))["items"][0]
    assert (stored["id"], stored["size"]) == (added["id"], size)
    assert name.startswith(stored["name"])


async def test_a_test_account_lists_nothing_but_sends_all_the_same(sandbox):
    async with sandbox(test_account=True) as caller:
        file_id = await caller.add_file()
        assert (await caller.call("files/index"))["items"] == []
        assert (await caller.send("+48500600700", file_id=file_id))["queued"] == 1
