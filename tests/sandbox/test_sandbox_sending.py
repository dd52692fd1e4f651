"""What messages/send_mms refuses, what it takes, and what it says about it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

ONE = "+48500600700"


def _warsaw(**delta):
    return (datetime.now(ZoneInfo("Europe/Warsaw")) + timedelta(**delta)).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        pytest.param({"phone": []}, 3104, id="no numbers"),
        pytest.param({"phone": None}, 3104, id="null for numbers"),
        pytest.param({"title": ""}, 2000, id="no title"),
        pytest.param({"text": None}, 2000, id="neither text nor file"),
        pytest.param({"title": "x" * 41}, 3102, id="a title of 41"),
        pytest.param({"file_id": "0123456789"}, 3109, id="an unknown file"),
        pytest.param({"date": "tomorrow"}, 3108, id="a date that is none"),
        pytest.param({"date": "2010-11-09 15:23"}, 3108, id="a date that has passed"),
        pytest.param({"phone": ["+48500600700"] * 100_001}, 3110, id="more than 100,000 numbers"),
    ],
)
async def test_nothing_is_taken_for(caller, params, code):
    answer = await caller.send(ONE, **params)
    assert answer["error"]["code"] == code
    assert caller.box.truth()["accepted"] == 0
    assert (await caller.call("messages/reports"))["items"] == []


async def test_ten_files_are_taken_and_eleven_are_not(caller):
    ids = [await caller.add_file(f"{number}.png") for number in range(11)]
    assert (await caller.send(ONE, file_id=ids[:10]))["queued"] == 1
    assert (await caller.send(ONE, file_id=ids))["error"]["code"] == 3109
    told = await caller.told("messages")
    assert told["items"][0]["file_ids"] == ids[:10]


async def test_a_deleted_file_is_invalid(caller):
    file_id = await caller.add_file()
    assert await caller.call("files/delete", id=file_id, type="mms") == {"success": True}
    assert (await caller.send(ONE, file_id=file_id))["error"]["code"] == 3109


@pytest.mark.parametrize(
    ("given", "echoed", "refused"),
    [
        ("+48500600700", "+48500600700", False),
        ("500600700", "+48500600700", False),
        ("+4915112345678", "+4915112345678", False),
        ("48500600700", "48500600700", True),
        ("0048500600700", "0048500600700", True),
        ("+48 500 600 700", "+48 500 600 700", True),
        ("+4850060070", "+4850060070", True),
        ("45616", "45616", True),
        ("7799123", "7799123", True),
        ("", "", True),
    ],
)
async def test_a_number_is_echoed_and_judged(caller, given, echoed, refused):
    answer = await caller.send(given, ONE)
    item = next(item for item in answer["items"] if item["phone"] == echoed)
    assert (answer["success"], answer["queued"], answer["unsent"]) == (True, 2 - refused, int(refused))
    assert re.fullmatch("[0-9a-f]{10}", item["id"])
    assert item["text"] == "Autumn"
    if refused:
        assert (item["status"], item["error_code"], item["error_message"]) == ("unsent", 3103, "Incorrect number")
        assert "parts" not in item
    else:
        assert (item["status"], item["parts"]) == ("queued", 1)


async def test_what_is_queued_is_listed_first(caller):
    answer = await caller.send("45616", ONE, "7799123", "+48500600701")
    assert [item["status"] for item in answer["items"]] == ["queued", "queued", "unsent", "unsent"]


async def test_without_details_there_are_counters_only(caller):
    assert await caller.send(ONE, "1", details=None) == {"success": True, "queued": 1, "unsent": 1}


@pytest.mark.parametrize("flag", [True, "true", 1, "1"])
async def test_a_test_answers_alike_and_takes_nothing(sandbox, flag):
    async with sandbox(credit=5) as caller:
        answer = await caller.send(ONE, "45616", test=flag)
        assert [item["status"] for item in answer["items"]] == ["queued", "unsent"]
        assert (await caller.call("messages/reports"))["items"] == []
        assert caller.box.serwersms.account.credit == 5
        assert caller.box.truth()["accepted"] == 0


async def test_the_same_request_twice_is_two_messages_to_each(caller, phones):
    first, second = await caller.send(*phones(3)), await caller.send(*phones(2))
    assert not {item["id"] for item in first["items"]} & {item["id"] for item in second["items"]}
    truth = await caller.told("truth")
    assert (truth["accepted"], truth["numbers"], truth["twice"]) == (5, 3, 2)
    assert await caller.told("counts") == dict(zip(phones(3), [2, 2, 1], strict=True))


async def test_another_title_to_the_same_number_is_not_twice(caller):
    await caller.send(ONE)
    await caller.send(ONE, title="Winter")
    truth = await caller.told("truth")
    assert (truth["accepted"], truth["numbers"], truth["twice"]) == (2, 1, 0)
    assert await caller.told("counts", title="Winter") == {ONE: 1}


async def test_a_refusal_and_a_later_acceptance_are_not_twice(sandbox):
    async with sandbox(faults=["item_error@messages/send_mms:1:code=3004"]) as caller:
        await caller.send(ONE)
        await caller.send(ONE)
        assert (caller.box.truth()["accepted"], caller.box.truth()["twice"]) == (1, 0)


@pytest.mark.parametrize(("mode", "taken"), [("twice", 3), ("once", 2)])
async def test_a_number_twice_in_one_request_is_sent(sandbox, mode, taken):
    async with sandbox(duplicates=mode) as caller:
        answer = await caller.send(ONE, "500600700", "+48500600701")
        assert answer["queued"] == len(answer["items"]) == caller.box.truth()["accepted"] == taken


@pytest.mark.parametrize(
    ("mode", "error", "taken"),
    [
        pytest.param("items", None, 3, id="each further item is refused"),
        pytest.param("midway", 3004, 3, id="the answer is an error although three were taken"),
        pytest.param("request", 3004, 0, id="nothing is taken"),
    ],
)
async def test_the_limit_runs_out_and(sandbox, phones, mode, error, taken):
    async with sandbox(credit=3, credit_mode=mode) as caller:
        answer = await caller.send(*phones(5))
        assert answer.get("error", {}).get("code") == error
        assert caller.box.truth()["accepted"] == taken
        if error is None:
            assert [item.get("error_code") for item in answer["items"]] == [None] * 3 + [3004] * 2
        limits = await caller.call("account/limits")
        assert {"type": "mms", "chars_limit": "40/1", "value": str(3 - taken)} in limits["items"]


async def test_the_limit_can_be_topped_up_while_it_runs(sandbox, phones):
    async with sandbox(credit=0) as caller:
        assert (await caller.send(ONE))["unsent"] == 1
        await caller.order("PUT", "credit", {"mms": None})
        assert (await caller.send(*phones(5)))["queued"] == 5
        assert (await caller.call("account/limits"))["items"][3]["value"] == "no_limit"


async def test_the_same_share_of_numbers_is_refused_for_one_seed(sandbox, phones):
    refused = []
    for seed in (1, 1, 2):
        async with sandbox(refused=0.1, seed=seed) as caller:
            answer = await caller.send(*phones(1000))
            refused.append({item["phone"] for item in answer["items"] if item["status"] == "unsent"})
    assert refused[0] == refused[1] != refused[2]
    assert 60 < len(refused[0]) < 140


async def test_named_numbers_are_refused_with_their_code(sandbox):
    async with sandbox(refuse={ONE: 3100}, all_unsent_success=False) as caller:
        answer = await caller.send(ONE)
        assert (answer["success"], answer["items"][0]["error_code"]) == (False, 3100)


async def test_items_can_come_in_any_order(sandbox, phones):
    async with sandbox(shuffle=True) as caller:
        listed = [item["phone"] for item in (await caller.send(*phones(200)))["items"]]
        assert listed != phones(200)
        assert sorted(listed) == phones(200)


async def test_a_scheduled_message_waits_until_the_clock_passes_its_date(caller):
    answer = await caller.send(ONE, date=_warsaw(hours=2))
    assert answer["items"][0]["status"] == "queued"
    truth = await caller.told("truth")
    assert (truth["accepted"], truth["scheduled"], truth["dispatched"]) == (1, 1, 0)
    assert (await caller.call("messages/reports"))["items"][0]["status"] == "saved"
    await caller.age(2 * 3600 + 120)
    truth = await caller.told("truth")
    assert (truth["scheduled"], truth["dispatched"]) == (0, 1)
    item = (await caller.call("messages/reports"))["items"][0]
    assert item["status"] == "delivered"
    assert item["sent"] > item["queued"]


async def test_an_inline_file_is_stored_and_attached(caller):
    await caller.send(ONE, text=None, file="aGVsbG8=")
    (stored,) = (await caller.call("files/index"))["items"]
    assert stored["size"] == 5
    assert (await caller.told("messages"))["items"][0]["file_ids"] == [stored["id"]]
