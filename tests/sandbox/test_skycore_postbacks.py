"""Postbacks really come, in both shapes, once or twice, in order or not, and again until they are acknowledged."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from urllib.parse import parse_qs

import pytest
from defusedxml import ElementTree

from posthorn.sandbox.skycore import Template

ONE = "16501234123"


async def _news_of_one(tickets):
    tracking_id = (await tickets.post()).findtext("TRACKINGID")
    await tickets.age(61)
    return tracking_id, await tickets.flush()


async def test_the_flat_shape_is_the_pages(skycore, receiver):
    async with skycore(postback_url=receiver.url) as tickets:
        tracking_id, told = await _news_of_one(tickets)
        assert told == {"sent": 2, "acknowledged": 2, "dropped": 0, "waiting": 0}
        assert receiver.types == ["text/xml; charset=utf-8"] * 2
        first = receiver.bodies[0].decode()
        assert first.startswith("<?xml version='1.0'?>\n<POSTBACK>\n  <ORIGIN>MMS_MT</ORIGIN>\n  <CODE>N101</CODE>\n")
        sent, delivered = ({child.tag: child.text for child in root} for root in receiver.news)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d-0[45]:00", sent.pop("TIMESTAMP"))
        assert sent == {
            "ORIGIN": "MMS_MT",
            "CODE": "N101",
            "SENTAS": "MMS",
            "STATUS": "Message Sent",
            "MMSID": "35674",
            "FROM": "60856",
            "TO": ONE,
            "TRACKINGID": tracking_id,
            "SPID": "0001890",
        }
        assert (delivered["CODE"], delivered["STATUS"]) == ("N102", "Message Sent/Delivered")
        assert set(delivered) - set(sent) == {"HANDSET", "AGGREGATORID", "TIMESTAMP"}


LIVES = {
    "delivered": ({}, [("N101", "MMS", "Message Sent"), ("N102", "MMS", "Message Sent/Delivered")]),
    "silent": ({"silent": 1.0}, [("N101", "MMS", "Message Sent")]),
    "failed although taken": ({"late_failure": 1.0}, [("E101", None, "Message Failed")]),
    "a link": ({"link_sms": 1.0}, [("N101", "SMS", "Message Sent"), ("N202", "SMS", "Message Sent/Delivered")]),
    "a link that failed": (
        {"link_sms": 1.0, "undelivered": 1.0},
        [("N101", "SMS", "Message Sent"), ("E202", "SMS", "Message Sent/Failed")],
    ),
}


@pytest.mark.parametrize(("options", "news"), LIVES.values(), ids=LIVES)
async def test_what_comes_for_a_ticket_that_is(skycore, receiver, options, news):
    async with skycore(postback_url=receiver.url, **options) as tickets:
        tracking_id, _ = await _news_of_one(tickets)
        tags = ("CODE", "SENTAS", "STATUS")
        assert [tuple(root.findtext(tag) for tag in tags) for root in receiver.news] == news
        assert {root.findtext("TRACKINGID") for root in receiver.news} == {tracking_id}
        links = [root.findtext("ORIGIN") for root in receiver.news if root.findtext("CODE")[1] == "2"]
        assert set(links) <= {"SMS_MT"}


async def test_a_barcode_that_could_not_be_found_is_told_without_a_time(skycore, receiver):
    async with skycore(postback_url=receiver.url, late_failure=1.0) as tickets:
        await _news_of_one(tickets)
        (root,) = receiver.news
        assert "Could not find number/email imported in database" in root.findtext("STATUSDETAILS")
        assert (root.find("TIMESTAMP"), root.find("SENTAS")) == (None, None)


@pytest.mark.parametrize("code", ["E102", "N102"])
async def test_an_undelivered_ticket_is_told_in_all_the_words_there_are(skycore, receiver, code):
    async with skycore(postback_url=receiver.url, undelivered=1.0, undelivered_code=code) as tickets:
        for number in range(40):
            await tickets.post(barcodeid=f"T{number}")
        await tickets.age(61)
        await tickets.flush()
        ends = [root for root in receiver.news if root.findtext("CODE") != "N101"]
        assert {root.findtext("CODE") for root in ends} == {code}
        words = {"Expired", "Rejected", "Failed", "NotSupported"}
        assert {root.findtext("STATUS") for root in ends} == {f"Message Sent/{word}" for word in words}
        assert all(root.findtext("STATUSDETAILS") and root.findtext("TIMESTAMP") for root in ends)


# The shape of the seed era.


async def test_the_old_shape_comes_in_batches_of_a_minute(skycore, receiver):
    async with skycore(postback_url=receiver.url, postback_shape="old", reported_after_seconds=30) as tickets:
        ids = [(await tickets.post(barcodeid=f"T{number}")).findtext("TRACKINGID") for number in range(3)]
        await tickets.age(59)
        assert await tickets.flush() == {"sent": 0, "acknowledged": 0, "dropped": 0, "waiting": 6}
        await tickets.age(1)
        assert await tickets.flush() == {"sent": 6, "acknowledged": 6, "dropped": 0, "waiting": 0}
        (batch,) = receiver.news
        assert batch.tag == "POSTBACK"
        told = [(one.findtext("CODE"), one.findtext("BODY/TRACKINGID")) for one in batch.findall("NOTIFICATION")]
        assert told == [(code, tracking_id) for tracking_id in ids for code in ("N101", "N102")]


async def test_the_old_shape_is_the_pages(skycore, receiver):
    async with skycore(postback_url=receiver.url, postback_shape="old") as tickets:
        tracking_id = (await tickets.post()).findtext("TRACKINGID")
        await tickets.age(120)
        await tickets.flush()
        sent, delivered = (one for batch in receiver.news for one in batch.findall("NOTIFICATION"))
        assert [child.tag for child in sent] == ["ORIGIN", "CODE", "BODY"]
        body = {child.tag: child.text for child in delivered.find("BODY")}
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d-0[45]", body.pop("TIMESTAMP"))
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}-0[45]", delivered.get("CREATED"))
        assert body == {
            "HISTORYID": tracking_id.removeprefix("MMS_"),
            "MMSID": "35674",
            "TO": ONE,
            "TRACKINGID": tracking_id,
            "SPID": "000189",
            "HANDSET": "motol7c",
            "STATUS": None,
        }
        status = delivered.find("BODY/STATUS").attrib
        assert status == {"CELLY": "20", "PROVIDER": "1000", "TEXT": "Retrieved", "DESCRIPTION": ""}
        assert sent.find("BODY/STATUS") is None
        assert sent.get("ID") != delivered.get("ID")


OLD_LIVES = {
    "silent": ({"silent": 1.0}, [("N101", None)]),
    "failed although taken": ({"late_failure": 1.0}, [("E101", None)]),
    "undelivered": ({"undelivered": 1.0}, [("N101", None), ("N102", "30 or 35")]),
    "a link": ({"link_sms": 1.0}, [("N101", None), ("N102", "10"), ("N202", "1")]),
    "a link that failed": ({"link_sms": 1.0, "undelivered": 1.0}, [("N101", None), ("N102", "10"), ("N202", "2")]),
}


@pytest.mark.parametrize(("options", "news"), OLD_LIVES.values(), ids=OLD_LIVES)
async def test_what_came_then_for_a_ticket_that_is(skycore, receiver, options, news):
    async with skycore(postback_url=receiver.url, postback_shape="old", **options) as tickets:
        tracking_id = (await tickets.post()).findtext("TRACKINGID")
        await tickets.age(120)
        await tickets.flush()
        told = [one for batch in receiver.news for one in batch.findall("NOTIFICATION")]
        for one, (code, outcome) in zip(told, news, strict=True):
            status = one.find("BODY/STATUS")
            given = None if status is None else status.get("CELLY") or status.get("status")
            assert (one.findtext("CODE"), given in (outcome or "").split(" or ") or given is outcome) == (code, True)
        links = [one.findtext("BODY/TRACKINGID") for one in told if one.findtext("CODE") == "N202"]
        assert links == [one.findtext("BODY/SMSID") for one in told if one.find("BODY/SMSID") is not None]
        assert tracking_id not in links


# How they come.


@pytest.mark.parametrize("shape", ["new", "old"])
async def test_they_can_come_in_a_form_field(skycore, receiver, shape):
    async with skycore(postback_url=receiver.url, postback_as="xml", postback_shape=shape, silent=1.0) as tickets:
        await tickets.post(to="48500600700")
        await tickets.age(61)
        await tickets.flush()
        assert receiver.types == ["application/x-www-form-urlencoded"]
        fields = parse_qs(receiver.bodies[0].decode())
        assert set(fields) == {"xml"}
        assert ElementTree.fromstring(fields["xml"][0]).tag == "POSTBACK"


async def test_they_come_by_themselves_on_the_running_clock(skycore, receiver):
    async with skycore(postback_url=receiver.url, speed=1000) as tickets:
        await tickets.post()
        async with asyncio.timeout(5):
            while len(receiver.bodies) < 2:
                receiver.came.clear()
                await receiver.came.wait()
        assert receiver.codes() == ["N101", "N102"]
        assert (await tickets.flush())["acknowledged"] == 2


async def test_a_clock_that_is_put_forward_or_hurried_wakes_them(skycore, receiver):
    async with skycore(postback_url=receiver.url) as tickets:
        await tickets.post()
        await tickets.age(2)
        async with asyncio.timeout(5):
            await receiver.came.wait()
        assert receiver.codes() == ["N101"]
        receiver.came.clear()
        await tickets.order("POST", "clock", {"speed": 10_000})
        async with asyncio.timeout(5):
            await receiver.came.wait()
        assert receiver.codes() == ["N101", "N102"]


@pytest.mark.parametrize(("share", "copies"), [(0.0, {1}), (1.0, {2}), (0.5, {1, 2})])
async def test_a_share_of_them_comes_twice(skycore, receiver, share, copies):
    async with skycore(postback_url=receiver.url, postback_duplicates=share) as tickets:
        for number in range(20):
            await tickets.post(barcodeid=f"T{number}")
        await tickets.age(61)
        await tickets.flush()
        assert set(Counter(receiver.bodies).values()) == copies


async def test_a_delivery_can_be_told_before_the_sending(skycore, receiver):
    async with skycore(postback_url=receiver.url, postback_shuffle=True) as tickets:
        for number in range(20):
            await tickets.post(barcodeid=f"T{number}")
        await tickets.age(300)
        assert (await tickets.flush())["acknowledged"] == 40
        order: dict[str, list[str]] = {}
        for root in receiver.news:
            order.setdefault(root.findtext("TRACKINGID"), []).append(root.findtext("CODE"))
        assert {tuple(codes) for codes in order.values()} == {("N101", "N102"), ("N102", "N101")}


@pytest.mark.parametrize("status", [201, 204, 302, 404, 500])
async def test_anything_but_200_brings_them_again_five_minutes_later(skycore, receiver, status):
    async with skycore(postback_url=receiver.url, silent=1.0) as tickets:
        receiver.status = status
        _, told = await _news_of_one(tickets)
        assert told == {"sent": 1, "acknowledged": 0, "dropped": 0, "waiting": 1}
        await tickets.age(299)
        assert (await tickets.flush())["sent"] == 0
        receiver.status = 200
        await tickets.age(1)
        assert await tickets.flush() == {"sent": 1, "acknowledged": 1, "dropped": 0, "waiting": 0}
        assert receiver.bodies[0] == receiver.bodies[1]


async def test_after_five_retries_they_are_given_up(skycore, receiver):
    async with skycore(postback_url=receiver.url, silent=1.0) as tickets:
        receiver.status = 503
        _, told = await _news_of_one(tickets)
        row = [told]
        for _ in range(6):
            await tickets.age(300)
            row.append(await tickets.flush())
        assert [one["sent"] for one in row] == [1, 1, 1, 1, 1, 1, 0]
        assert [one["dropped"] for one in row] == [0, 0, 0, 0, 0, 1, 0]
        assert len(receiver.bodies) == 6


async def test_an_answer_that_takes_too_long_is_none(skycore, receiver):
    async with skycore(postback_url=receiver.url, silent=1.0, postback_timeout_seconds=0.2) as tickets:
        receiver.pause_seconds = 5
        _, told = await _news_of_one(tickets)
        assert (told["acknowledged"], told["waiting"]) == (0, 1)


async def test_nobody_listening_is_tried_again(skycore, receiver, unused_tcp_port):
    async with skycore(postback_url=f"http://127.0.0.1:{unused_tcp_port}/", silent=1.0) as tickets:
        _, told = await _news_of_one(tickets)
        assert (told["sent"], told["acknowledged"], told["waiting"]) == (1, 0, 1)


async def test_a_batch_that_failed_comes_again_as_it_was(skycore, receiver):
    async with skycore(postback_url=receiver.url, postback_shape="old", silent=1.0) as tickets:
        receiver.status = 500
        for number in range(3):
            await tickets.post(barcodeid=f"T{number}")
        await tickets.age(60)
        assert (await tickets.flush())["waiting"] == 1
        receiver.status = 200
        await tickets.age(240)
        # Due at the same moment as the retry, and yet a batch of its own.
        await tickets.post(barcodeid="T9")
        await tickets.age(60)
        assert (await tickets.flush())["acknowledged"] == 4
        assert sorted(Counter(receiver.bodies).values()) == [1, 2]


async def test_subscribing_and_unsubscribing_are_told(skycore, receiver):
    async with skycore(postback_url=receiver.url) as tickets:
        for action in ("subscribe", "unsubscribe"):
            await tickets.post(action=action, campaignid="12333", mobile=ONE)
        assert (await tickets.flush())["acknowledged"] == 2
        told = [
            [root.findtext(tag) for tag in ("ORIGIN", "CODE", "MOBILE", "CAMPAIGNID", "SOURCE")] for root in receiver.news
        ]
        assert told == [["SUB", code, ONE, "12333", "API"] for code in ("N301", "N302")]


async def test_the_end_of_encoding_is_told(skycore, receiver):
    templates = (Template("35674", encoding_seconds=10), Template("2"))
    async with skycore(postback_url=receiver.url, templates=templates) as tickets:
        await tickets.age(10)
        assert (await tickets.flush())["acknowledged"] == 1
        assert [child.text for child in receiver.news[0]] == ["MMS_MT", "N003", "35674"]


async def test_without_a_url_there_is_nothing_to_flush(tickets):
    await tickets.post()
    answer = await tickets.order("POST", "postbacks", {"flush": True})
    assert (answer.status_code, "no postback_url" in answer.text) == (400, True)


async def test_an_order_is_to_flush_and_nothing_else(skycore, receiver):
    async with skycore(postback_url=receiver.url) as tickets:
        assert (await tickets.order("POST", "postbacks", {"flush": False})).status_code == 400


async def test_a_reset_forgets_what_waits(skycore, receiver):
    async with skycore(postback_url=receiver.url) as tickets:
        await tickets.post()
        await tickets.order("POST", "reset", {})
        await tickets.age(100)
        assert await tickets.flush() == {"sent": 0, "acknowledged": 0, "dropped": 0, "waiting": 0}


async def test_stopping_does_not_wait_for_a_receiver_that_hangs(skycore, receiver):
    async with skycore(postback_url=receiver.url) as tickets:
        receiver.pause_seconds = 3
        await tickets.post()
        await tickets.age(2)
        async with asyncio.timeout(5):
            await receiver.came.wait()
        async with asyncio.timeout(2):
            await tickets.box.stop()
