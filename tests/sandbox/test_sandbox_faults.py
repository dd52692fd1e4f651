"""Every fault does on the wire what it says, and the truth knows whether the work was done."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from posthorn.sandbox.faults import FAULTS, FaultError, Stage, parse_rule

SEND = "messages/send_mms"
BEARER = {"Authorization": "Bearer sandbox-token"}
BODY = {"title": "Autumn", "text": "x", "details": True, "phone": [f"+4850060070{number}" for number in range(4)]}


async def _post(caller, patience=5.0):
    return await caller.http.post(f"/{SEND}", json=BODY, headers=BEARER, timeout=patience)


async def _raw(box, reading=2.0):
    """What comes over the wire, byte for byte, and how it ends: ``eof``, ``reset`` or ``silence``."""
    reader, writer = await asyncio.open_connection(box.host, box.port)
    body = httpx.Request("POST", box.url, json=BODY).content
    head = (
        f"POST /{SEND} HTTP/1.1\r\nHost: [::1]\r\nAuthorization: Bearer sandbox-token\r\nContent-Type: application/json\r\n"
    )
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    data, end = b"", "eof"
    try:
        async with asyncio.timeout(reading):
            while part := await reader.read(65_536):
                data += part
    except TimeoutError:
        end = "silence"
    except ConnectionResetError:
        end = "reset"
    writer.close()
    return data, end


BROKEN = {
    "reset_before": (httpx.ReadError, 0),
    "reset_after": (httpx.ReadError, 4),
    "close_before": (httpx.RemoteProtocolError, 0),
    "close_after": (httpx.RemoteProtocolError, 4),
    "hang_before": (httpx.ReadTimeout, 0),
    "hang_after": (httpx.ReadTimeout, 4),
    "truncated": (httpx.RemoteProtocolError, 4),
    "truncated_chunked": (httpx.RemoteProtocolError, 4),
    "bad_gzip": (httpx.DecodingError, 4),
}


@pytest.mark.parametrize(("fault", "error", "taken"), [(name, *case) for name, case in BROKEN.items()], ids=BROKEN)
async def test_the_client_is_left_without_an_answer_by(sandbox, fault, error, taken):
    async with sandbox(faults=[f"{fault}@{SEND}:1"]) as caller:
        with pytest.raises(error):
            await _post(caller, 0.3 if fault.startswith("hang") else 5.0)
        assert caller.box.truth()["accepted"] == taken
        assert caller.box.truth()["faults"] == {f"{fault}@{SEND}": 1}
        assert (await _post(caller)).json()["queued"] == 4


@pytest.mark.parametrize(("fault", "end"), [("reset_after", "reset"), ("close_after", "eof"), ("hang_after", "silence")])
async def test_the_connection_ends_with(sandbox, fault, end):
    async with sandbox(faults=[fault]) as caller:
        assert await _raw(caller.box, 0.3 if end == "silence" else 5.0) == (b"", end)


async def test_a_hang_can_end_by_itself(sandbox):
    async with sandbox(faults=["hang_after:seconds=0.1"]) as caller:
        started = time.monotonic()
        assert await _raw(caller.box) == (b"", "eof")
        assert time.monotonic() - started >= 0.1


async def test_a_hang_ends_when_its_client_goes_and_when_the_sandbox_stops(sandbox):
    async with sandbox(faults=["hang_before"]) as caller:
        with pytest.raises(httpx.ReadTimeout):
            await _post(caller, 0.1)
        async with asyncio.timeout(20):
            while (await caller.told("truth"))["in_flight"]:
                pass
        waiting = asyncio.create_task(_post(caller, 60))
        while not (await caller.told("truth"))["in_flight"]:
            pass
        async with asyncio.timeout(20):
            await caller.box.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            await waiting


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
@pytest.mark.parametrize(("fault", "taken"), [("status_before", 0), ("status_after", 4)])
async def test_a_status_says_nothing_about_what_was_done(sandbox, fault, status, taken):
    rule = {"call": SEND, "fault": fault, "status": status, "retry_after": 2}
    async with sandbox(faults=[rule]) as caller:
        answer = await _post(caller)
        assert (answer.status_code, answer.headers["Retry-After"]) == (status, "2")
        assert "text/html" in answer.headers["Content-Type"]
        assert caller.box.truth()["accepted"] == taken


@pytest.mark.parametrize(
    ("fault", "chunked"), [("truncated", False), ("truncated_chunked", True), ("truncated_no_length", False)]
)
async def test_half_an_answer_arrives_of(sandbox, fault, chunked):
    async with sandbox(faults=[fault]) as caller:
        data, end = await _raw(caller.box)
        head, _, body = data.partition(b"\r\n\r\n")
        assert end == "eof"
        assert (b"chunked" in head, b"Content-Length" in head) == (chunked, fault == "truncated")
        assert b'"success":true' in body
        assert not body.endswith((b"}", b"0\r\n\r\n"))


async def test_an_answer_cut_without_a_length_looks_like_a_success_until_it_is_read(sandbox):
    async with sandbox(faults=["truncated_no_length"]) as caller:
        answer = await _post(caller)
        assert answer.status_code == 200
        with pytest.raises(ValueError):
            answer.json()


UNREADABLE = {
    "empty": lambda answer: answer.content == b"",
    "null": lambda answer: answer.content == b"null",
    "html": lambda answer: answer.text.startswith("<html>"),
    "garbage_charset": lambda answer: b"\xff\xfe" in answer.content,
    "bom": lambda answer: answer.content.startswith(b"\xef\xbb\xbf{"),
}


@pytest.mark.parametrize(("fault", "is_so"), UNREADABLE.items(), ids=UNREADABLE)
async def test_the_work_is_done_although_the_body_is(sandbox, fault, is_so):
    async with sandbox(faults=[fault]) as caller:
        answer = await _post(caller)
        assert answer.status_code == 200
        assert is_so(answer)
        assert caller.box.truth()["accepted"] == 4


async def test_a_huge_body_is_as_long_as_ordered(sandbox):
    async with sandbox(faults=["huge:size=3000000"]) as caller:
        assert len((await _post(caller, 5)).content) == 3_000_000


async def test_a_dripped_answer_outlives_a_timeout_per_read(sandbox):
    async with sandbox(faults=["drip:seconds=0.003"]) as caller:
        started = time.monotonic()
        answer = await _post(caller, 1.0)
        assert time.monotonic() - started > 1.0
        assert answer.json()["queued"] == 4


async def test_a_redirect_points_to_itself_and_does_nothing(sandbox):
    async with sandbox(faults=["redirect"]) as caller:
        answer = await _post(caller)
        assert (answer.status_code, answer.headers["Location"]) == (307, f"/{SEND}")
        assert caller.box.truth()["send_requests"] == 1
        assert caller.box.truth()["accepted"] == 0


async def test_an_idle_connection_is_closed_after_a_whole_answer(sandbox):
    async with sandbox(faults=["close_idle:seconds=0.1"]) as caller:
        data, end = await _raw(caller.box)
        assert end == "eof"
        assert data.endswith(b"}")
        assert b"connection: close" not in data.lower()


async def test_a_late_send_is_taken_although_its_client_has_gone(sandbox):
    async with sandbox(faults=["late:seconds=0.3"]) as caller:
        with pytest.raises(httpx.ReadTimeout):
            await _post(caller, 0.1)
        assert caller.box.truth()["accepted"] == 0
        await asyncio.wait(caller.box._late, timeout=2)
        assert caller.box.truth()["accepted"] == 4


@pytest.mark.parametrize("code", [1010, 3004, 9999])
@pytest.mark.parametrize(("fault", "taken"), [("error_code", 0), ("error_code_after", 4)])
async def test_an_error_code_is_answered_with_status_200(sandbox, fault, code, taken):
    async with sandbox(faults=[{"call": SEND, "fault": fault, "code": code}]) as caller:
        answer = await _post(caller)
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, code)
        assert caller.box.truth()["accepted"] == taken


async def test_a_prefix_is_taken_before_the_status(sandbox):
    async with sandbox(faults=["prefix_then_status:items=3:status=502"]) as caller:
        assert (await _post(caller)).status_code == 502
        assert list(await caller.told("counts")) == BODY["phone"][:3]


@pytest.mark.parametrize(("mode", "error"), [("items", None), ("request", 3004)])
async def test_the_limit_runs_out_midway(sandbox, mode, error):
    async with sandbox(faults=[f"credit_midway:items=1:mode={mode}"]) as caller:
        answer = (await _post(caller)).json()
        assert answer.get("error", {}).get("code") == error
        assert await caller.told("counts") == {BODY["phone"][0]: 1}


DOCUMENTS = {
    "missing_items": (lambda phones: phones == BODY["phone"][2:], 4),
    "duplicate_item": (lambda phones: phones == BODY["phone"] + BODY["phone"][:2], 4),
    "foreign_item": (lambda phones: len(phones) == 6 and phones[2:] == BODY["phone"], 4),
    "no_items": (lambda phones: phones == [], 4),
    "bare_phones": (lambda phones: phones == [phone[3:] for phone in BODY["phone"]], 4),
    "lie_queued": (lambda phones: phones == BODY["phone"], 0),
}


@pytest.mark.parametrize(("fault", "is_so", "taken"), [(name, *case) for name, case in DOCUMENTS.items()], ids=DOCUMENTS)
async def test_the_answer_tells_something_else(sandbox, fault, is_so, taken):
    async with sandbox(faults=[f"{fault}:items=2"]) as caller:
        answer = (await _post(caller)).json()
        assert answer["queued"] == 4
        assert is_so([item["phone"] for item in answer["items"]])
        assert caller.box.truth()["accepted"] == taken


@pytest.mark.parametrize(("fault", "kind"), [("items_dict", dict), ("items_null", type(None))])
async def test_items_are_no_list(sandbox, fault, kind):
    async with sandbox(faults=[fault]) as caller:
        assert isinstance((await _post(caller)).json()["items"], kind)


async def test_some_items_are_refused(sandbox):
    async with sandbox(faults=["item_error:items=2:code=3004"]) as caller:
        items = (await _post(caller)).json()["items"]
        assert [item.get("error_code") for item in items] == [None, None, 3004, 3004]
        assert list(await caller.told("counts")) == BODY["phone"][2:]


async def _scheduled(caller, phones):
    answer = await caller.send(*phones, date="2099-01-01 12:00")
    return [item["id"] for item in answer["items"]]


async def test_a_delete_counts_and_withdraws_nothing(sandbox):
    async with sandbox(faults=["lie_withdrawn@messages/delete"]) as caller:
        ids = await _scheduled(caller, BODY["phone"])
        assert await caller.call("messages/delete", id=ids) == {"success": True, "correct": 4, "failed": 0}
        assert caller.box.truth()["withdrawn"] == 0


async def test_a_delete_withdraws_and_counts_nothing(sandbox):
    async with sandbox(faults=["withdrawn_uncounted@messages/delete"]) as caller:
        ids = await _scheduled(caller, BODY["phone"])
        assert await caller.call("messages/delete", id=ids) == {"success": False, "correct": 0, "failed": 4}
        assert caller.box.truth()["withdrawn"] == 4


async def test_a_listing_ignores_what_it_is_asked_about(sandbox):
    async with sandbox(faults=["unfiltered@messages/reports"]) as caller:
        ids = await _scheduled(caller, BODY["phone"])
        assert len((await caller.call("messages/reports", id=ids[:1]))["items"]) == 4


async def test_what_was_withdrawn_is_listed_for_a_while(sandbox):
    async with sandbox(withdrawn_listed_seconds=60) as caller:
        ids = await _scheduled(caller, BODY["phone"])
        await caller.call("messages/delete", id=ids)
        assert [item["status"] for item in (await caller.call("messages/reports", id=ids))["items"]] == ["saved"] * 4
        await caller.age(61)
        assert (await caller.call("messages/reports", id=ids))["items"] == []


async def test_what_is_late_can_be_carried_out_at_once(sandbox):
    async with sandbox(faults=["late@messages/send_mms:seconds=3600"]) as caller:
        sending = asyncio.create_task(caller.send(*BODY["phone"]))
        while not caller.box.truth()["faults"]["late@messages/send_mms"]:  # noqa: ASYNC110 - no event to await
            await asyncio.sleep(0.01)
        assert caller.box.truth()["accepted"] == 0
        assert await caller.box.release_late() == 1
        assert caller.box.truth()["accepted"] == 4
        await sending


def test_every_fault_has_a_test_here():
    tested = {*BROKEN, *UNREADABLE, *DOCUMENTS, "items_dict", "items_null", "status_before", "status_after", "huge", "drip"}
    tested |= {"lie_withdrawn", "withdrawn_uncounted", "unfiltered"}
    tested |= {"truncated_no_length", "redirect", "close_idle", "late", "error_code", "error_code_after"}
    tested |= {"page_repeats", "page_empty", "page_added", "rows_moved", "no_ids"}  # in test_sandbox_reports.py
    assert tested | {"prefix_then_status", "credit_midway", "item_error", "success_without_trackingid"} == set(FAULTS)


# When a rule strikes.

WHEN = {
    "always": ({}, [1, 2, 3, 4, 5, 6]),
    "at the second and fifth": ({"at": [2, 5]}, [2, 5]),
    "at one": ({"at": 3}, [3]),
    "every second": ({"every": 2}, [2, 4, 6]),
    "every second, once": ({"every": 2, "times": 1}, [2]),
    "never, at probability zero": ({"probability": 0}, []),
    "always, at probability one": ({"probability": 1, "seed": 7}, [1, 2, 3, 4, 5, 6]),
}


@pytest.mark.parametrize(("when", "expected"), WHEN.values(), ids=WHEN)
async def test_a_rule_strikes(sandbox, when, expected):
    async with sandbox(faults=[{"call": SEND, "fault": "status_before", **when}]) as caller:
        statuses = [(await _post(caller)).status_code for _ in range(6)]
        assert [number for number, status in enumerate(statuses, 1) if status == 500] == expected
        assert caller.box.truth()["faults"] == {f"status_before@{SEND}": len(expected)}


def test_probability_strikes_its_share_and_the_same_requests_for_one_seed():
    def struck(seed):
        rule = parse_rule({"fault": "empty", "probability": 0.25, "seed": seed})
        return [rule.strikes(SEND) for _ in range(2000)]

    assert struck(3) == struck(3) != struck(4)
    assert 400 < sum(struck(3)) < 600


async def test_a_rule_counts_only_its_own_call_and_the_first_rule_wins(sandbox):
    rules = [f"status_before@{SEND}:2:status=503", f"empty@{SEND}", "null@files/index"]
    async with sandbox(faults=rules) as caller:
        assert (await caller.http.post("/files/index")).content == b"null"
        assert (await _post(caller)).content == b""
        assert (await _post(caller)).status_code == 503
        assert caller.box.truth()["faults"] == {f"status_before@{SEND}": 1, f"empty@{SEND}": 1, "null@files/index": 1}


async def test_rules_are_replaced_while_it_runs_and_a_wrong_one_changes_nothing(caller):
    assert (await caller.order("PUT", "faults", [f"empty@{SEND}:1"])).status_code == 200
    refused = await caller.order("PUT", "faults", ["explode"])
    assert refused.status_code == 400
    assert "explode" in refused.json()["error"]
    assert (await _post(caller)).content == b""
    await caller.order("PUT", "faults", [])
    assert caller.box.truth()["faults"] == {}


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("explode", "unknown"),
        ({"call": SEND}, "fault: missing"),
        ({"fault": "empty", "when": 3}, "when: no such key"),
        ({"fault": "empty", "every": 0}, "every"),
        ({"fault": "empty", "probability": 2}, "probability"),
        ({"fault": "empty", "at": ["two"]}, "two"),
        ("empty:status=abc", "abc"),
        ({"fault": "credit_midway", "mode": "half"}, "mode"),
        ({"fault": ["empty"]}, "unknown"),
    ],
)
def test_a_wrong_rule_is_refused_with_what_is_wrong(rule, problem):
    with pytest.raises(FaultError, match=problem):
        parse_rule(rule)


def test_the_short_form_says_the_same_as_json():
    short = parse_rule(f"status_after@{SEND}:2,5:status=502:retry_after=3:times=1")
    long = parse_rule({"fault": "status_after", "call": SEND, "at": [2, 5], "status": 502, "retry_after": 3, "times": 1})
    shown = ("fault", "call", "at", "status", "retry_after", "times")
    assert [getattr(short, name) for name in shown] == [getattr(long, name) for name in shown]
    assert short.stage is Stage.AFTER
