"""The truth tells of every ticket: how often each pair was taken, where it stands, and the barcode that was drawn."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from urllib.parse import quote

import httpx
import pytest

from posthorn.content.media import barcode
from posthorn.sandbox.skycore import Template

ONE, OTHER = "16501234123", "16501234124"


async def test_the_same_ticket_again_is_taken_again_and_counted(tickets):
    ids = [(await tickets.post()).findtext("TRACKINGID") for _ in range(3)]
    await tickets.post(to=OTHER)
    await tickets.post(barcodeid="Ticket_2")
    await tickets.post(to="+" + OTHER)
    assert len(set(ids)) == 3
    truth = await tickets.told("truth")
    expected = {"accepted": 5, "pairs": 3, "twice": 1, "numbers": 2, "dispatched": 0, "max_in_flight": 1}
    assert expected.items() <= truth["skycore"].items()
    assert (truth["accepted"], truth["twice"], truth["serwersms"]["accepted"]) == (5, 1, 0)
    assert await tickets.told("counts", provider="skycore") == {
        f"{ONE} Ticket_12345": 3,
        f"{OTHER} Ticket_12345": 1,
        f"{ONE} Ticket_2": 1,
    }
    told = (await tickets.told("tickets", to=ONE, barcode="Ticket_12345"))["items"]
    assert [(one["tracking_id"], one["nth"]) for one in told] == [(ids[0], 1), (ids[1], 2), (ids[2], 3)]


async def test_the_same_barcode_on_another_template_is_the_same_pair(skycore):
    async with skycore(templates=(Template("1"), Template("2"))) as tickets:
        for mms_id in ("1", "2"):
            await tickets.post(mmsid=mms_id)
        assert tickets.box.truth()["skycore"]["twice"] == 1
        assert await tickets.told("counts", provider="skycore", title="2") == {f"{ONE} Ticket_12345": 1}


async def test_a_ticket_is_told_whole(tickets):
    tracking_id = (await tickets.get(data_seat="12 B")).findtext("TRACKINGID")
    (told,) = (await tickets.told("tickets"))["items"]
    assert told.pop("accepted_at").startswith("20")
    assert told == {
        "id": int(tracking_id.removeprefix("MMS_")),
        "to": ONE,
        "barcode": "Ticket_12345",
        "mms_id": "35674",
        "tracking_id": tracking_id,
        "state": "accepted",
        "from": "60856",
        "campaign_ref": "12333",
        "data": {"data_seat": "12 B"},
        "nth": 1,
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"to": ONE}, ["T1", "T3"]),
        ({"to": "+" + ONE}, ["T1", "T3"]),
        ({"barcode": "T2"}, ["T2"]),
        ({"to": ONE, "barcode": "T2"}, []),
        ({"limit": 2}, ["T1", "T2"]),
        ({"limit": 2, "page": 2}, ["T3"]),
        ({"mms_id": "1"}, []),
    ],
    ids=str,
)
async def test_tickets_are_found_by(tickets, query, found):
    for to, barcode_id in ((ONE, "T1"), (OTHER, "T2"), (ONE, "T3")):
        await tickets.post(to=to, barcodeid=barcode_id)
    told = await tickets.told("tickets", **query)
    assert [one["barcode"] for one in told["items"]] == found
    assert told["more"] == (query == {"limit": 2})


LIVES = {
    "delivered": ({}, ["accepted", "sent", "delivered"], 1),
    "undelivered": ({"undelivered": 1.0}, ["accepted", "sent", "undelivered"], 1),
    "silent": ({"silent": 1.0}, ["accepted", "sent", "sent"], 1),
    "delivered as a link": ({"link_sms": 1.0}, ["accepted", "sent", "delivered"], 1),
    "failed although taken": ({"late_failure": 1.0}, ["accepted", "failed", "failed"], 0),
}


@pytest.mark.parametrize(("options", "states", "dispatched"), LIVES.values(), ids=LIVES)
async def test_the_life_of_a_ticket_that_is(skycore, options, states, dispatched):
    async with skycore(**options) as tickets:
        await tickets.post()
        seen = []
        for seconds in (0, 2, 60):
            await tickets.age(seconds)
            seen.append((await tickets.told("tickets"))["items"][0]["state"])
        assert seen == states
        assert tickets.box.truth()["skycore"]["dispatched"] == dispatched


async def test_shares_of_tickets_have_the_same_ends_for_one_seed(skycore):
    ends = []
    for seed in (1, 1, 2):
        async with skycore(seed=seed, undelivered=0.2, silent=0.1, late_failure=0.1) as tickets:
            await asyncio.gather(*(tickets.post(barcodeid=f"T{number}") for number in range(200)))
            await tickets.age(61)
            ends.append({one["barcode"]: one["state"] for one in (await tickets.told("tickets"))["items"]})
    counts = Counter(ends[0].values())
    assert ends[0] == ends[1] != ends[2]
    assert all(5 <= counts[state] <= 70 for state in ("undelivered", "sent", "failed"))
    assert sum(counts.values()) == 200


async def test_another_attempt_has_an_end_of_its_own(skycore):
    async with skycore(late_failure=0.5) as tickets:
        for _ in range(30):
            await tickets.post()
        await tickets.age(61)
        states = {one["state"] for one in (await tickets.told("tickets"))["items"]}
        assert states == {"failed", "delivered"}


@pytest.mark.parametrize("mode", ["seed", "base64"])
async def test_the_barcode_of_each_ticket_is_drawn(skycore, mode):
    async with skycore(tracking_ids=mode) as tickets:
        for value in ("Ticket_12345", "A&B<ł>"):
            tracking_id = (await tickets.post(barcodeid=value)).findtext("TRACKINGID")
            answer = await tickets.http.get(f"/_sandbox/barcode/{quote(tracking_id)}.png")
            assert answer.headers["Content-Type"] == "image/png"
            assert barcode.decode(answer.content) == [value]


async def test_a_barcode_that_cannot_be_drawn_or_is_nobodys_is_refused(tickets):
    tracking_id = (await tickets.post(barcodeid="x" * 300)).findtext("TRACKINGID")
    assert (await tickets.http.get(f"/_sandbox/barcode/{tracking_id}.png")).status_code == 400
    assert (await tickets.http.get("/_sandbox/barcode/MMS_1.png")).status_code == 404


async def test_requests_in_flight_are_counted_per_provider(skycore):
    async with skycore(latency_seconds=0.2) as tickets:
        bearer = {"Authorization": "Bearer sandbox-token"}
        await asyncio.gather(
            *(tickets.post(barcodeid=f"T{number}") for number in range(3)),
            *(tickets.http.post("/files/index", headers=bearer) for _ in range(4)),
        )
        truth = await tickets.told("truth")
        assert (truth["skycore"]["max_in_flight"], truth["serwersms"]["max_in_flight"]) == (3, 4)
        assert truth["max_in_flight"] == 7
        assert truth["send_requests"] == 3


async def test_requests_are_logged_without_the_key(tickets):
    await tickets.post()
    await tickets.get()
    await tickets.http.post("/API/wxml/1.3/", content=b"<")
    post, get, broken = await tickets.told("requests", provider="skycore")
    assert post["body"] == get["body"] | {"action": "sendMMSBarcode"}
    assert (post["call"], post["body"]["barcodeid"], get["path"]) == (
        "sendMMSBarcode",
        "Ticket_12345",
        "/API/wxml/1.3/index.php",
    )
    assert broken["body"] == {"unreadable": 1, "code": "E108"}
    assert "sandbox-key" not in json.dumps([post, get, broken])


async def test_reset_forgets_the_tickets(tickets):
    before = (await tickets.post()).findtext("TRACKINGID")
    await tickets.order("POST", "reset", {})
    assert tickets.box.truth()["skycore"]["accepted"] == 0
    assert (await tickets.told("tickets"))["items"] == []
    assert (await tickets.http.get(f"/_sandbox/barcode/{before}.png")).status_code == httpx.codes.NOT_FOUND
    await tickets.post()
    assert tickets.box.truth()["skycore"]["twice"] == 0


async def test_messages_of_this_provider_are_its_tickets(tickets):
    await tickets.post()
    (told,) = (await tickets.told("messages", provider="skycore", phone=ONE))["items"]
    assert told["barcode"] == "Ticket_12345"
