"""The inbox at ``/``: what would have arrived is found, shown, told of live, and harmless whatever it holds."""

from __future__ import annotations

import asyncio
import io
import json
import math
import stat
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image

from posthorn.content.media.barcode import decode
from posthorn.sandbox.faults import FAULTS
from posthorn.sandbox.inbox.chaos import PRESETS, Schedule
from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.sandbox.skycore import SkycoreOptions
from posthorn.sandbox.store import StoreError

HOSTILE = "<img src=x onerror=alert(1)>\"'&<script>alert(2)</script>{{ 7*7 }}"


class _Markup(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


async def _listed(caller, **query):
    answer = await caller.http.get("/_sandbox/api/messages", params=query)
    assert answer.status_code == 200
    return answer.json()


async def _keys(caller, query):
    return [item["key"] for item in (await _listed(caller, q=query))["items"]]


async def _ticket(caller, **changes):
    params = {
        "action": "sendMMSBarcode",
        "api_key": "sandbox-key",
        "to": "16501234123",
        "from": "60856",
        "barcodeid": "Ticket_12345",
        "campaignref": "12333",
        "mmsid": "35674",
    }
    answer = await caller.http.get("/API/wxml/1.3/", params={**params, **changes})
    assert "Success" in answer.text


async def _upload(caller, name, content):
    answer = await caller.http.post(
        "/files/add.json",
        data={"type": "mms"},
        files={"file": (name, content)},
        headers={"Authorization": "Bearer sandbox-token"},
    )
    return answer.json()["id"]


def _picture():
    saved = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(saved, "PNG")
    return saved.getvalue()


async def test_messages_of_both_providers_are_listed_newest_first(caller):
    await caller.send("+48500600701", title="First")
    await _ticket(caller)
    await caller.send("+48500600702", "+48500600703", title="Last")
    items = (await _listed(caller))["items"]
    assert [item["to"] for item in items] == ["+48500600703", "+48500600702", "+16501234123", "+48500600701"]
    assert [item["code"] for item in items] == [None, None, "Ticket_12345", None]


async def test_pages_stay_as_they_were_while_more_comes(caller, phones):
    await caller.send(*phones(7))
    first = await _listed(caller, limit=3)
    await caller.send(*phones(2, start=600_000_000))
    rest = [await _listed(caller, limit=3, page=page, upto=first["upto"]) for page in (2, 3)]
    shown = [item["to"] for page in (first, *rest) for item in page["items"]]
    assert shown == phones(7)[::-1]
    assert [page["more"] for page in (first, *rest)] == [True, True, False]
    assert rest[0]["new"] == 2
    assert (await _listed(caller))["items"][0]["to"] == phones(2, start=600_000_000)[1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("500600701", ["+48500600701"]),
        ("+48 500-600-701", ["+48500600701"]),
        ("to:06007", ["+48500600702", "+48500600701"]),
        ("title:autumn", ["+48500600702", "+48500600701"]),
        ('"everything must go"', ["+48500600702", "+48500600701"]),
        ("text:autumn", []),
        ("code:ticket_123", ["+16501234123"]),
        ("TICKET_12345", ["+16501234123"]),
        ("campaign:12333", ["+16501234123"]),
        ("campaign:autumn", ["+48500600702", "+48500600701"]),
        ("row 7", ["+16501234123"]),
        ("state:saved", ["+48600700800"]),
        ("state:refused", ["123"]),
        ("autumn 500600702", ["+48500600702"]),
        ("autumn state:saved", []),
        ("http://nowhere", []),
        (":", []),
    ],
)
async def test_a_search_finds(caller, query, expected):
    await caller.send("+48500600701", "+48500600702", title="Autumn sale", text="Everything must go")
    await caller.send("123", title="Other", text="nothing")
    await caller.send("+48600700800", title="Later", text="-", date="2099-01-01 09:00")
    await _ticket(caller, customtext_2="Row 7, seat 12")
    if query == "+48 500-600-701":
        query = f'"{query}"'
    assert [item["to"] for item in (await _listed(caller, q=query))["items"]] == expected


@pytest.mark.parametrize("age", [0, 4, 6, 30, 61, 3_600, 72 * 3_600])
async def test_states_that_are_searched_are_those_that_are_shown(sandbox, phones, age):
    chances = {"undelivered": 0.3, "silent": 0.2, "late": 0.1}
    async with sandbox(**chances, refused=0.1) as caller:
        account = caller.box.serwersms.account
        account.blacklist[phones(3)[2]] = (1, 0.0)
        await caller.send(*phones(300))
        await caller.age(age)
        (batch,) = account.messages.batches
        now = caller.box.clock.age()
        one_by_one = [account.messages.standing(batch, position, now).status for position in range(300)]
        assert account.messages.statuses(batch, now) == one_by_one
        for state in {*one_by_one}:
            found = await _listed(caller, q=f"state:{state}", limit=1000)
            shown = {item["to"] for item in (await _listed(caller, limit=1000))["items"] if item["state"] == state}
            assert {item["to"] for item in found["items"]} == shown


@pytest.mark.parametrize("age", [0, 1, 3, 30, 61, 3_600])
async def test_a_tickets_state_is_what_its_events_come_to(skycore, age):
    async with skycore(undelivered=0.3, silent=0.2, late_failure=0.2, link_sms=0.3) as tickets:
        for number in range(60):
            await tickets.get(barcodeid=f"T{number}")
        await tickets.age(age)
        account = tickets.box.skycore.account
        now = tickets.box.clock.age()
        for ticket in account.tickets.all:
            happened = [event.state for event in account.tickets.course(ticket) if ticket.taken_at + event.after <= now]
            assert account.tickets.standing(ticket, now) == (happened or ["accepted"])[-1]


async def test_a_message_is_shown_with_its_picture_story_and_raw_request(caller):
    picture = _picture()
    file_id = await _upload(caller, "poster.png", picture)
    await caller.send("+48500600701", file_id=file_id, title="Sale", text="hello there", password="hidden-word")
    await caller.call("messages/reports", phone="+48500600701")
    await caller.age(3_600)
    (key,) = await _keys(caller, "500600701")
    story = (await caller.http.get(f"/_sandbox/api/messages/{key}")).json()
    assert story["parts"] == [{"file": file_id, "name": "poster.png", "kind": "picture"}]
    told = [step["what"] for step in story["story"]]
    assert told[0] == "received in send 1, with 1 numbers"
    assert {"sent", "delivered"} <= set(told)
    assert any("listed by reports" in what for what in told)
    assert story["request"]["body"]["phone"] == ["+48500600701"]
    assert "hidden-word" not in json.dumps(story)
    shown = await caller.http.get(f"/_sandbox/files/{file_id}")
    assert (shown.content, shown.headers["Content-Type"]) == (picture, "image/png")
    page = await caller.http.get(f"/_sandbox/messages/{key}")
    assert f'src="/_sandbox/files/{file_id}"' in page.text
    assert "hello there" in page.text


async def test_a_picture_is_shown_as_received_even_once_its_file_is_deleted(caller):
    file_id = await _upload(caller, "poster.png", _picture())
    await caller.send("+48500600701", file_id=file_id)
    assert await caller.call("files/delete", id=file_id) == {"success": True}
    assert (await caller.http.get(f"/_sandbox/files/{file_id}")).content == _picture()


async def test_a_tickets_code_is_drawn_and_reads_back(caller):
    await _ticket(caller, barcodeid="żółw-7")
    (key,) = await _keys(caller, "code:żółw")
    story = (await caller.http.get(f"/_sandbox/api/messages/{key}")).json()
    assert decode((await caller.http.get(story["barcode"])).content) == ["żółw-7"]


async def test_a_code_that_cannot_be_drawn_is_said_so(caller):
    await _ticket(caller, barcodeid="x" * 400)
    (key,) = await _keys(caller, "state:accepted")
    assert "cannot be drawn" in (await caller.http.get(f"/_sandbox/messages/{key}")).text


PAGES = ["/", "/_sandbox/chaos", "/_sandbox/docs", "/_sandbox/messages/{m}", "/_sandbox/messages/{t}", "/?q=state:accepted"]


@pytest.mark.parametrize(
    "page", [*PAGES, "/?q={hostile}", "/_sandbox/chaos?said={hostile}", "/_sandbox/messages/{m}?said={hostile}"]
)
async def test_nothing_hostile_is_markup_on(caller, page):
    file_id = await _upload(caller, f"{HOSTILE}.jpg", HOSTILE.encode())
    await caller.send("+48500600701", HOSTILE, file_id=file_id, title=HOSTILE[:40], text=HOSTILE + "\u202e\u0000\ufffe")
    await _ticket(caller, barcodeid=HOSTILE, customtext_2=HOSTILE)
    await caller.order("PUT", "faults", [{"fault": "late", "call": HOSTILE, "code": "1"}])
    (one,), (ticket,) = await _keys(caller, "to:48500600701"), await _keys(caller, "to:16501234123")
    address = page.format(m=one, t=ticket, hostile=str(httpx.QueryParams({"x": HOSTILE}))[2:])
    answer = await caller.http.get(address)
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    markup = _Markup()
    markup.feed(answer.text)
    assert [attributes["src"] for tag, attributes in markup.tags if tag == "script"] == ["/_sandbox/static/inbox.js"]
    assert {attributes["src"].rpartition("/")[0] for tag, attributes in markup.tags if tag == "img"} <= {"/_sandbox/codes"}
    assert not [name for _, attributes in markup.tags for name in attributes if name.startswith("on") or name == "style"]
    if page != "/_sandbox/docs":
        assert "{{ 7*7 }}" in answer.text


@pytest.mark.parametrize(
    "content", [b"<script>alert(1)</script>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.4"]
)
async def test_a_file_that_is_no_picture_is_plain_text_whatever_its_name(caller, content):
    file_id = await _upload(caller, "poster.jpg", content)
    shown = await caller.http.get(f"/_sandbox/files/{file_id}")
    assert shown.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert shown.headers["X-Content-Type-Options"] == "nosniff"
    assert shown.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize(
    "stranger", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}], ids=str
)
async def test_another_origin_sees_and_does_nothing(caller, stranger):
    await caller.send("+48500600701")
    asked = [("GET", "/"), ("GET", "/_sandbox/api/messages"), ("GET", "/_sandbox/events"), ("POST", "/_sandbox/do/clear")]
    for method, path in (*asked, ("DELETE", "/_sandbox/api/messages")):
        assert (await caller.http.request(method, path, headers=stranger)).status_code == 403
    assert len((await _listed(caller))["items"]) == 1


# Deeds.


async def _do(caller, key, deed):
    return await caller.http.post(f"/_sandbox/api/messages/{key}/{deed}")


@pytest.mark.parametrize(("deed", "state"), [("delivered", "delivered"), ("undelivered", "undelivered"), ("silent", "sent")])
async def test_a_message_and_a_ticket_become_what_a_person_says(sandbox, deed, state):
    async with sandbox(undelivered=0.5) as caller:
        await caller.send("+48500600701")
        await _ticket(caller)
        for key in await _keys(caller, ""):
            assert (await _do(caller, key, deed)).json()["state"] == state
        await caller.age(10 * 3_600)
        assert [item["state"] for item in (await _listed(caller))["items"]] == [state, state]
        (report,) = (await caller.call("messages/reports", phone="+48500600701"))["items"]
        assert report["status"] == state
        assert await _keys(caller, f"state:{state}") == await _keys(caller, "")


async def test_stop_is_an_answer_and_puts_the_number_on_the_blacklist(caller):
    sent = (await caller.send("+48500600701"))["items"][0]["id"]
    await _do(caller, f"m-{sent}", "stop")
    (answer,) = (await caller.call("messages/recived"))["items"]
    assert (answer["phone"], answer["text"], answer["message_id"], answer["blacklist"]) == (
        "+48500600701",
        "STOP",
        sent,
        True,
    )
    assert await caller.call("blacklist/check", phone="+48500600701") == {"exists": True}
    assert len((await caller.call("messages/received", read=True))["items"]) == 1
    assert (await caller.call("messages/received"))["items"] == []
    await caller.send("+48500600701", title="Again")
    await caller.age(60)
    assert (await _listed(caller))["items"][0]["reason"] == "number_is_blacklisted"


async def test_stop_of_a_tickets_number_unsubscribes_it_for_good(skycore, receiver):
    async with skycore(enforce_campaign_check=True, postback_url=receiver.url) as tickets:
        await tickets.get()
        (key,) = await _keys(tickets, "")
        assert (await _do(tickets, key, "stop")).status_code == 200
        assert await tickets.code(barcodeid="another") == "E715"
        assert await tickets.code(action="subscribe", campaignid="12333", mobile="16501234123") == "E904"
        await tickets.flush()
        assert "N302" in receiver.codes()


async def test_a_postback_is_made_again_and_tells_what_a_person_said(skycore, receiver):
    async with skycore(postback_url=receiver.url) as tickets:
        await tickets.get()
        (key,) = await _keys(tickets, "")
        assert (await _do(tickets, key, "callback")).status_code == 409, "nothing has happened yet"
        await _do(tickets, key, "undelivered")
        await _do(tickets, key, "callback")
        await tickets.age(3_600)
        await tickets.flush()
        assert [code for code in receiver.codes() if code != "N101"] == ["E102", "E102"]
        story = (await tickets.http.get(f"/_sandbox/api/messages/{key}")).json()["story"]
        assert sum(step["what"] == "postback made, E102: answered with HTTP 200" for step in story) == 2


async def test_a_callback_is_made_again(sandbox, host_of_callbacks):
    url, came = host_of_callbacks
    async with sandbox(callback_url=f"{url}?id=#SMSID#&state=#STAN#", undelivered=0, silent=0) as caller:
        await caller.send("+48500600701")
        await caller.age(3_600)
        await caller.order("POST", "callbacks", {"flush": True})
        (key,) = await _keys(caller, "")
        assert (await _do(caller, key, "callback")).status_code == 200
        await _do(caller, key, "undelivered")
        await caller.order("POST", "callbacks", {"flush": True})
        assert [one["state"] for one in came] == ["sent", "delivered", "delivered", "undelivered"]
        told = (await caller.http.get(f"/_sandbox/api/messages/{key}")).json()["story"]
        assert sum("callback made" in step["what"] for step in told) == 4


@pytest.fixture
async def host_of_callbacks():
    came = []

    async def take(request):
        came.append(dict(request.query))
        return web.Response()

    app = web.Application()
    app.router.add_get("/hook", take)
    async with TestServer(app) as server:
        yield str(server.make_url("/hook")), came


async def test_only_what_is_saved_is_withdrawn(sandbox):
    async with sandbox(credit=10) as caller:
        sent = (await caller.send("+48500600701"))["items"][0]["id"]
        later = (await caller.send("+48500600702", date="2099-01-01 09:00"))["items"][0]["id"]
        assert (await _do(caller, f"m-{sent}", "withdraw")).status_code == 409
        assert (await _do(caller, f"m-{later}", "withdraw")).json()["state"] == "withdrawn"
        assert caller.box.serwersms.account.credit == 9
        await _ticket(caller)
        (ticket,) = await _keys(caller, "to:1650")
        refused = await _do(caller, ticket, "withdraw")
        assert (refused.status_code, refused.json()["error"]) == (409, "this provider takes no ticket back")


@pytest.mark.parametrize("path", ["m-0000000000", "m-", "t-1", "t-x", "x", "m-0000000000/stop"])
async def test_what_is_not_there_is_404(caller, path):
    method = "POST" if path.endswith("stop") else "GET"
    assert (await caller.http.request(method, f"/_sandbox/api/messages/{path}")).status_code == 404


async def test_clear_forgets_messages_and_keeps_files_and_faults(caller):
    file_id = await caller.add_file()
    await caller.send("+48500600701", file_id=file_id)
    await _ticket(caller)
    await caller.order("PUT", "faults", ["late@files/index"])
    answer = await caller.http.post("/_sandbox/do/clear")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert (await _listed(caller))["items"] == []
    assert caller.box.truth()["accepted"] == 0
    assert len((await caller.call("files/index"))["items"]) == 1
    assert len(caller.box.faults.rules) == 1
    await _ticket(caller)
    assert len(await _keys(caller, "ticket_12345")) == 1


# For other programs' tests.


async def test_waiting_ends_as_soon_as_enough_have_come(caller):
    query = {"q": "to:500600701", "count": 3, "seconds": 60}
    waiting = asyncio.create_task(caller.http.get("/_sandbox/api/wait", params=query, timeout=90))
    for title in ("a", "b", "c"):
        assert not waiting.done()
        await caller.send("+48500600701", "+48500600702", title=title)
    answer = await waiting
    assert (answer.status_code, answer.json()["count"]) == (200, 3)


async def test_waiting_in_vain_is_408_with_what_there_is(caller):
    await caller.send("+48500600701")
    answer = await caller.http.get("/_sandbox/api/wait", params={"count": 2, "seconds": 0})
    assert (answer.status_code, answer.json()["reached"], answer.json()["count"]) == (408, False, 1)


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "soon"])
async def test_waiting_for_no_time_that_there_is_is_refused(caller, seconds):
    assert (await caller.http.get("/_sandbox/api/wait", params={"seconds": seconds})).status_code == 400


async def test_an_export_holds_everything_once(caller, phones):
    await caller.send(*phones(2_500))
    listed = (await caller.http.get("/_sandbox/api/export")).json()
    assert [item["to"] for item in listed] == phones(2_500)[::-1]
    assert (await caller.http.get("/_sandbox/api/export", params={"q": "nobody"})).json() == []


async def test_news_come_as_events(caller):
    await caller.send("+48500600701")
    async with caller.http.stream("GET", "/_sandbox/events", params={"upto": "0.0"}, timeout=30) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        lines = stream.aiter_lines()
        first = json.loads((await anext(lines)).removeprefix("data: "))
        assert (first["total"], first["new"]) == (1, 1)
        await caller.send("+48500600702")
        await anext(lines)
        assert json.loads((await anext(lines)).removeprefix("data: "))["new"] == 2


async def test_everything_in_the_description_is_there(caller):
    await caller.send("+48500600701")
    (key,) = await _keys(caller, "")
    document = (await caller.http.get("/_sandbox/openapi.json")).json()
    assert document["openapi"].startswith("3.")
    for path, methods in document["paths"].items():
        for method in methods:
            if path == "/_sandbox/events":
                continue
            address = path.replace("{key}", key).replace("{deed}", "delivered")
            body = [] if path == "/_sandbox/faults" else {"fault": "late"} if path == "/_sandbox/api/faults" else {}
            answer = await caller.http.request(method.upper(), address, json=body, params={"seconds": 0})
            known = answer.status_code if answer.status_code != 404 else "missing"
            assert known in (200, 400, 408), (method, path)
            if path == "/_sandbox/api/messages" and method == "delete":
                await caller.send("+48500600701")
                (key,) = await _keys(caller, "")


# Chaos.


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_has_a_switch_that_goes_on_and_off(caller, fault):
    form = {"fault": fault, "call": "files/index", "at": "2,5", "every": "", "probability": "0.5", "next": "1"}
    await caller.http.post("/_sandbox/do/fault", data=form)
    (rule,) = caller.box.faults.rules
    assert (rule.fault, rule.call, rule.at, rule.probability, rule.times) == (fault, "files/index", (2, 5), 0.5, 1)
    page = (await caller.http.get("/_sandbox/chaos")).text
    assert f'value="{fault}" role="switch" aria-checked="true"' in page
    await caller.http.post("/_sandbox/do/fault", data=form)
    assert caller.box.faults.rules == []


async def test_the_page_shows_what_has_struck(caller):
    await caller.http.post("/_sandbox/do/fault", data={"fault": "error_code", "call": "messages/send_mms", "next": "1"})
    assert (await caller.send("+48500600701"))["error"]["code"] == 1010
    assert (await caller.send("+48500600701"))["queued"] == 1
    (rule,) = (await caller.http.get("/_sandbox/api/faults")).json()["rules"]
    assert (rule["seen"], rule["fired"]) == (2, 1)
    assert "<b>1</b>" in (await caller.http.get("/_sandbox/chaos")).text


@pytest.mark.parametrize("preset", PRESETS)
async def test_a_preset_replaces_what_was_on(caller, preset):
    await caller.order("PUT", "faults", ["huge@*"])
    await caller.http.post("/_sandbox/do/preset", data={"preset": preset})
    assert [rule.shown()["fault"] for rule in caller.box.faults.rules] == [one["fault"] for one in PRESETS[preset].rules]
    if preset == "credit runs out":
        assert (caller.box.serwersms.account.credit, caller.box.skycore.account.credit) == (10, 10)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("fault", {"fault": "nonsense"}),
        ("fault", {"fault": "late", "probability": "7"}),
        ("preset", {"preset": "nonsense"}),
        ("remove", {"place": "3"}),
        ("clock", {"speed": "-1"}),
        ("clock", {"advance_seconds": "inf"}),
        ("clock", {"skew_seconds": "nan"}),
        ("credit", {"mms": "1", "mode": "nonsense"}),
        ("account", {"account": "nonsense"}),
    ],
)
async def test_a_form_that_cannot_be_says_so(caller, name, form):
    answer = await caller.http.post(f"/_sandbox/do/{name}", data=form)
    assert answer.status_code == 303
    assert "Not done" in (await caller.http.get(answer.headers["Location"])).text


async def test_clock_credit_and_character_are_set_by_hand(caller):
    before = caller.box.clock.age()
    await caller.http.post("/_sandbox/do/clock", data={"advance_seconds": "3600", "speed": "5", "skew_seconds": ""})
    await caller.http.post("/_sandbox/do/credit", data={"mms": "7", "tickets": "", "mode": "midway"})
    await caller.http.post("/_sandbox/do/account", data={"account": "test", "upload": "base64"})
    account = caller.box.serwersms.account
    assert caller.box.clock.age() - before >= 3_600
    assert caller.box.clock.speed == 5
    assert (account.credit, account.credit_mode) == (7, "midway")
    assert (account.options.account, account.options.upload) == ("test", "base64")


async def test_a_schedule_lets_its_moments_come():
    moments = [{"at": 0.05, "preset": "provider down"}, {"at": 0, "credit": 3, "clock": {"advance_seconds": 60}}]
    async with Sandbox(schedule=Schedule(moments), speed=0) as box:
        async with httpx.AsyncClient(base_url=box.url, timeout=10) as http, asyncio.timeout(10):
            while not box.faults.rules:
                await http.get("/_sandbox/truth")
        assert box.serwersms.account.credit == 3
        assert box.clock.age() == 60


@pytest.mark.parametrize(
    "moments",
    [
        {},
        [{}],
        [{"at": -1}],
        [{"at": math.nan}],
        [{"at": 0, "rules": 1}],
        [{"at": 0, "clock": {"speed": "x"}}],
        [{"at": 0, "credit": "x"}],
        [{"at": 0, "what": 1}],
        [{"at": 0, "preset": "x"}],
        [{"at": 0, "rules": ["x"]}],
    ],
    ids=str,
)
def test_a_schedule_that_cannot_be_is_refused_at_once(moments):
    with pytest.raises(ValueError, match=r"schedule|fault"):
        Schedule(moments)


# Kept in a file.


async def test_a_store_brings_everything_back(tmp_path):
    path = tmp_path / "inbox.jsonl"
    options = {"serwersms": SerwerSmsOptions(credit=50), "skycore": SkycoreOptions(), "speed": 0, "store": path}
    async with Sandbox(**options) as box, httpx.AsyncClient(base_url=box.url, timeout=5) as http:
        caller = _Both(box, http)
        file_id = await _upload(caller, "poster.png", _picture())
        await caller.send("+48500600701", "123", file_id=file_id, text="hello")
        await caller.send("+48500600702", date="2099-01-01 09:00")
        await _ticket(caller)
        await _ticket(caller, barcodeid="B")
        (marked,) = await _keys(caller, "code:Ticket_12345")
        await _do(caller, marked, "undelivered")
        (stopped,) = await _keys(caller, "500600701")
        await _do(caller, stopped, "stop")
        await _do(caller, (await _keys(caller, "state:saved"))[0], "withdraw")
        box.clock.advance(3_600)
        before, totals = (await _listed(caller))["items"], box.truth()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with Sandbox(**options) as box, httpx.AsyncClient(base_url=box.url, timeout=5) as http:
        caller = _Both(box, http)
        assert (await _listed(caller))["items"] == before
        for name in ("accepted", "numbers", "twice", "dispatched", "withdrawn"):
            assert box.truth()[name] == totals[name]
        assert (await http.get(f"/_sandbox/files/{file_id}")).content == _picture()
        assert box.serwersms.account.credit == 49
        assert await caller.call("blacklist/check", phone="+48500600701") == {"exists": True}
        await _ticket(caller, barcodeid="after")
        assert len(await _keys(caller, "code:after")) == 1


class _Both:
    """As ``Caller``, of a sandbox that a test made itself."""

    def __init__(self, box, http):
        self.box, self.http = box, http

    async def call(self, path, **params):
        return (await self.http.post(f"/{path}", json=params, headers={"Authorization": "Bearer sandbox-token"})).json()

    async def send(self, *phones, **params):
        return await self.call("messages/send_mms", title="Autumn", phone=list(phones), **{"text": "x", **params})


@pytest.mark.parametrize(
    "content", [b"", b"not json", b'{"posthorn_sandbox": 2}\n', b'{"posthorn_sandbox": 1}\n{"send": {}}\n', b"[]"]
)
async def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(StoreError):
        await Sandbox(store=path).start()
    assert path.read_bytes() == content


def test_everything_the_page_is_made_of_is_installed_with_the_package():
    root = Path(__file__).parents[2]
    globs = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["posthorn"]
    installed = {path for glob in globs for path in (root / "posthorn").glob(glob)}
    made_of = {
        path for path in (root / "posthorn/sandbox/inbox").rglob("*") if path.is_file() and path.parent.name != "__pycache__"
    }
    assert {path for path in made_of if path.suffix != ".py"} <= installed
