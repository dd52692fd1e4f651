"""Faults strike tickets as they strike campaigns, and the truth knows whether the ticket was taken."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from defusedxml import ElementTree

from posthorn.sandbox.faults import FaultError, parse_rule

SEND = "sendMMSBarcode"

BROKEN = {
    "reset_before": (httpx.ReadError, 0),
    "reset_after": (httpx.ReadError, 1),
    "close_before": (httpx.RemoteProtocolError, 0),
    "close_after": (httpx.RemoteProtocolError, 1),
    "hang_before": (httpx.ReadTimeout, 0),
    "hang_after": (httpx.ReadTimeout, 1),
    "truncated": (httpx.RemoteProtocolError, 1),
    "truncated_chunked": (httpx.RemoteProtocolError, 1),
    "bad_gzip": (httpx.DecodingError, 1),
}


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(("fault", "error", "taken"), [(name, *case) for name, case in BROKEN.items()], ids=BROKEN)
async def test_the_client_is_left_without_an_answer_by(skycore, method, fault, error, taken):
    async with skycore(faults=[f"{fault}@{SEND}:1"]) as tickets:
        tickets.http.timeout = 0.3 if fault.startswith("hang") else 5
        ask = tickets.post if method == "POST" else tickets.get
        with pytest.raises(error):
            await ask()
        assert tickets.box.truth()["skycore"]["accepted"] == taken
        assert tickets.box.truth()["faults"] == {f"{fault}@{SEND}": 1}
        tickets.http.timeout = 5
        assert (await ask()).findtext("STATUS") == "Success"


UNREADABLE = ["truncated_no_length", "empty", "null", "html", "garbage_charset"]


@pytest.mark.parametrize("fault", UNREADABLE)
async def test_the_ticket_is_taken_and_no_document_tells_of_it_with(skycore, request_xml, fault):
    async with skycore(faults=[fault]) as tickets:
        answer = await tickets.http.post("/API/wxml/1.3/", data={"xml": request_xml()})
        assert answer.status_code == 200
        with pytest.raises((ElementTree.ParseError, AssertionError)):
            assert ElementTree.fromstring(answer.content).tag == "RESPONSE"
        assert tickets.box.truth()["skycore"]["accepted"] == 1


@pytest.mark.parametrize("status", [500, 502, 503, 429])
@pytest.mark.parametrize(("fault", "taken"), [("status_before", 0), ("status_after", 1)])
async def test_a_status_says_nothing_about_what_was_done(skycore, request_xml, fault, status, taken):
    async with skycore(faults=[{"fault": fault, "call": SEND, "status": status}]) as tickets:
        answer = await tickets.http.post("/API/wxml/1.3/", data={"xml": request_xml()})
        assert answer.status_code == status
        assert tickets.box.truth()["skycore"]["accepted"] == taken


@pytest.mark.parametrize("fault", ["bom", "close_idle", "drip:seconds=0.0001", "huge:size=100000"])
async def test_a_strange_answer_is_still_readable_with(skycore, request_xml, fault):
    async with skycore(faults=[fault]) as tickets:
        answer = await tickets.http.post("/API/wxml/1.3/", data={"xml": request_xml()})
        assert ElementTree.fromstring(answer.content.strip()).findtext("STATUS") == "Success"
        assert tickets.box.truth()["skycore"]["accepted"] == 1


async def test_a_late_ticket_is_taken_although_its_client_has_gone(skycore):
    async with skycore(faults=[f"late@{SEND}:seconds=0.3"]) as tickets:
        tickets.http.timeout = 0.1
        with pytest.raises(httpx.ReadTimeout):
            await tickets.post()
        assert tickets.box.truth()["skycore"]["accepted"] == 0
        async with asyncio.timeout(5):
            while not (await tickets.told("truth"))["skycore"]["accepted"]:
                pass


CODES = {"E713": "E713", "713": "E713", 713: "E713", "E9999": "E9999", None: "E503"}


@pytest.mark.parametrize(("given", "code"), CODES.items(), ids=map(repr, CODES))
@pytest.mark.parametrize(("fault", "taken"), [("error_code", 0), ("error_code_after", 1)])
async def test_a_code_to_order_is_answered(skycore, fault, taken, given, code):
    async with skycore(faults=[{"fault": fault, "call": SEND, "code": given}]) as tickets:
        answer = await tickets.post()
        assert (answer.findtext("STATUS"), answer.findtext("ERRORCODE"), answer.findtext("TO")) == (
            "Failure",
            code,
            "16501234123",
        )
        assert tickets.box.truth()["skycore"]["accepted"] == taken


async def test_codes_can_be_ordered_in_short_for_both_providers(skycore):
    rules = ["error_code@getMmsIds:code=E105", "error_code@files/index:code=1005", "error_code@account/limits:code=E1003"]
    async with skycore(faults=rules) as tickets:
        assert await tickets.code(action="getMmsIds") == "E105"
        for path, code in (("files/index", 1005), ("account/limits", 1003)):
            answer = await tickets.http.post(f"/{path}", headers={"Authorization": "Bearer sandbox-token"})
            assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize("code", ["", "E", "abc", "E71x", "-1", "1e5"])
async def test_a_code_cannot_be(code):
    with pytest.raises(FaultError, match="code"):
        parse_rule({"fault": "error_code", "code": code})


async def test_a_success_can_lack_its_tracking_id(skycore):
    async with skycore(faults=[f"success_without_trackingid@{SEND}:1"]) as tickets:
        answer = await tickets.post()
        assert [child.tag for child in answer] == ["STATUS", "MMSID", "TO"]
        assert answer.findtext("STATUS") == "Success"
        assert tickets.box.truth()["skycore"]["accepted"] == 1
        assert (await tickets.post()).findtext("TRACKINGID")


async def test_a_success_can_be_a_lie(skycore, receiver):
    async with skycore(faults=["lie_queued:1"], postback_url=receiver.url) as tickets:
        assert (await tickets.post()).findtext("TRACKINGID")
        assert tickets.box.truth()["skycore"]["accepted"] == 0
        await tickets.age(100)
        assert (await tickets.flush())["sent"] == 0


async def test_a_rule_for_one_action_leaves_the_others_alone_however_they_are_spelt(skycore):
    async with skycore(faults=["error_code@getMmsIds:code=107"]) as tickets:
        assert await tickets.code() is None
        assert await tickets.code(action="GETMMSIDS") == "E107"
        assert await tickets.code(action="getMmsCampaigns") is None


@pytest.mark.parametrize("fault", ["reset_after", "close_after", "status_after", "empty"])
async def test_a_lost_answer_still_brings_postbacks(skycore, receiver, request_xml, fault):
    async with skycore(faults=[f"{fault}@{SEND}:1"], postback_url=receiver.url) as tickets:
        try:
            await tickets.http.post("/API/wxml/1.3/", data={"xml": request_xml()})
        except httpx.TransportError:
            assert fault in ("reset_after", "close_after")
        await tickets.age(100)
        assert (await tickets.flush())["acknowledged"] == 2
        (told,) = (await tickets.told("tickets"))["items"]
        assert [(root.findtext("TO"), root.findtext("TRACKINGID")) for root in receiver.news] == [
            ("16501234123", told["tracking_id"])
        ] * 2
