"""Reports, views and withdrawals tell the life of a message on the sandbox's clock."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

ONE = "+48500600700"


def _warsaw(**delta):
    return (datetime.now(ZoneInfo("Europe/Warsaw")) + timedelta(**delta)).strftime("%Y-%m-%d %H:%M:%S")


async def _all_reports(caller, **filters):
    items, page, pages = [], 1, 1
    while page <= pages:
        answer = await caller.call("messages/reports", **filters, page=page)
        items, page, pages = items + answer["items"], page + 1, answer["paging"]["count"]
    return items


async def test_a_message_is_in_progress_then_sent_then_delivered(caller):
    await caller.send(ONE)
    seen = []
    for seconds in (0, 5, 60):
        await caller.age(seconds)
        item = (await caller.call("messages/reports", phone=ONE))["items"][0]
        seen.append((item["status"], item["sent"] is not None, item["delivered"] is not None))
    assert seen == [("in_progress", False, False), ("sent", True, False), ("delivered", True, True)]


async def test_the_clock_runs_by_itself_at_its_speed(sandbox):
    async with sandbox(speed=1_000_000) as caller:
        await caller.send(ONE)
        assert (await caller.call("messages/reports"))["items"][0]["status"] == "delivered"


async def test_shares_end_undelivered_or_stay_sent_and_the_same_ones_for_one_seed(sandbox, phones):
    fates = []
    for seed in (1, 1, 2):
        async with sandbox(undelivered=0.2, silent=0.1, late=0.1, seed=seed, page_size=500) as caller:
            await caller.send(*phones(1000))
            await caller.age(61)
            early = Counter(item["status"] for item in await _all_reports(caller))
            await caller.age(72 * 3600)
            fates.append({item["phone"]: (item["status"], item["reason"]) for item in await _all_reports(caller)})
    ends = Counter(status for status, _ in fates[0].values())
    assert fates[0] == fates[1] != fates[2]
    assert 150 < ends["undelivered"] < 250
    assert 60 < ends["sent"] < 140
    assert 60 < early["sent"] - ends["sent"] < 140
    assert {reason for status, reason in fates[0].values() if status == "undelivered"} <= {
        "message_expired", "unsupported_number", "message_rejected", "operator_error", "other_error"
    }  # fmt: skip


async def test_blacklisted_and_foreign_numbers_are_queued_and_later_unsent(caller):
    await caller.call("blacklist/add", phone=ONE)
    answer = await caller.send(ONE, "+4915112345678")
    assert answer["queued"] == 2
    await caller.age(5)
    items = await _all_reports(caller, status="unsent")
    assert {item["phone"]: item["reason"] for item in items} == {
        ONE: "number_is_blacklisted",
        "+4915112345678": "sending_to_foreign_networks_is_locked",
    }


async def test_foreign_numbers_can_be_allowed(sandbox):
    async with sandbox(foreign_allowed=True) as caller:
        await caller.send("+4915112345678")
        await caller.age(100)
        assert (await caller.call("messages/reports"))["items"][0]["status"] == "delivered"


async def test_a_client_that_ignores_paging_misses_most(caller, phones):
    sent = await caller.send(*phones(450))
    ids = [item["id"] for item in sent["items"]]
    first = await caller.call("messages/reports", id=ids)
    assert first["paging"] == {"page": 1, "count": 5}
    assert len(first["items"]) == 100
    assert sorted(item["id"] for item in await _all_reports(caller, id=ids)) == sorted(ids)


@pytest.mark.parametrize("order", ["asc", "desc", None])
async def test_pages_come_newest_first_unless_asked_otherwise(caller, phones, order):
    for start in (0, 150):
        await caller.send(*phones(150, 500_600_000 + start))
    listed = [item["phone"] for item in await _all_reports(caller, limit=70, order=order)]
    assert listed == (phones(300) if order == "asc" else phones(300)[::-1])


async def test_a_page_is_never_longer_than_500(caller, phones):
    await caller.send(*phones(600))
    assert len((await caller.call("messages/reports", limit=10_000))["items"]) == 500
    assert (await caller.call("messages/reports", page=99))["items"] == []


async def test_more_than_500_ids_are_refused(caller, phones):
    ids = [item["id"] for item in (await caller.send(*phones(501)))["items"]]
    assert (await caller.call("messages/reports", id=ids))["error"]["code"] == 3331
    assert (await caller.call("messages/reports", id=ids[1:]))["paging"]["count"] == 5


FILTERS = {
    "an id": (lambda ids: {"id": ids[0]}, {0}),
    "ids with a comma": (lambda ids: {"id": f"{ids[0]},{ids[2]}"}, {0, 2}),
    "an unknown id": (lambda ids: {"id": ["0000000000", "zz", ids[1]]}, {1}),
    "a number": (lambda _: {"phone": "+48500600701"}, {1}),
    "a number without its prefix": (lambda _: {"phone": ["500600702"]}, {2}),
    "a rejected number": (lambda _: {"phone": "45616"}, {3}),
    "an id and another's number": (lambda ids: {"id": ids[0], "phone": "+48500600701"}, set()),
    "a status": (lambda _: {"status": "unsent"}, {3}),
    "pending": (lambda _: {"status": "pending"}, {0, 1, 2}),
    "a window around now": (lambda _: {"date_from": _warsaw(minutes=-1), "date_to": _warsaw(minutes=1)}, {0, 1, 2, 3}),
    "a window before": (lambda _: {"date_to": _warsaw(minutes=-1)}, set()),
    "a window after": (lambda _: {"date_from": _warsaw(minutes=1)}, set()),
    "type mms": (lambda _: {"type": "mms"}, {0, 1, 2, 3}),
    "type eco": (lambda _: {"type": "eco"}, set()),
    "unique_id, which MMS ignores": (lambda _: {"unique_id": "abc"}, set()),
    "the package": (lambda _: {"stat_id": 1}, {0, 1, 2, 3}),
    "another package": (lambda _: {"stat_id": 2}, set()),
}


@pytest.mark.parametrize(("filters", "expected"), FILTERS.values(), ids=FILTERS)
async def test_reports_filter_by(caller, filters, expected):
    sent = await caller.send("+48500600700", "+48500600701", "+48500600702", "45616")
    ids = [item["id"] for item in sent["items"]]
    found = {item["id"] for item in await _all_reports(caller, **filters(ids))}
    assert found == {ids[number] for number in expected}


@pytest.mark.parametrize("filters", [{"status": "lost"}, {"date_from": "soon"}, {"page": "two"}], ids=str)
async def test_a_filter_that_cannot_be_read_is_invalid_data(caller, filters):
    assert (await caller.call("messages/reports", **filters))["error"]["code"] == 1006


async def test_a_message_becomes_visible_after_a_while_and_is_gone_after_14_days(sandbox):
    async with sandbox(visible_after_seconds=30) as caller:
        await caller.send(ONE)
        seen = []
        for seconds in (0, 29, 2, 13 * 86_400, 86_400):
            await caller.age(seconds)
            seen.append(len((await caller.call("messages/reports", phone=ONE))["items"]))
        assert seen == [0, 0, 1, 1, 0]


@pytest.mark.parametrize(("option", "code"), [({"widest_answer": 2}, 3331), ({"empty_report_code": 3330}, 3330)])
async def test_wide_and_empty_answers_can_be_errors(sandbox, phones, option, code):
    async with sandbox(**option) as caller:
        if code == 3331:
            await caller.send(*phones(3))
        assert (await caller.call("messages/reports"))["error"]["code"] == code


async def test_view_shows_one_message_without_a_wrapper(caller):
    file_id = await caller.add_file()
    sent = await caller.send(ONE, file_id=file_id)
    item = await caller.call("messages/view", id=sent["items"][0]["id"])
    assert (item["phone"], item["text"], item["type"]) == (ONE, "Autumn", "mms")
    assert item["attachments"] == [{"id": file_id}]
    assert (await caller.call("messages/view", id="0000000000"))["error"]["code"] == 1004


async def test_only_what_is_scheduled_can_be_withdrawn(sandbox, phones):
    async with sandbox(credit=10) as caller:
        later = [item["id"] for item in (await caller.send(*phones(3), date=_warsaw(hours=1)))["items"]]
        now = [item["id"] for item in (await caller.send(ONE, title="Now"))["items"]]
        assert await caller.call("messages/delete", id=now) == {"success": False, "correct": 0, "failed": 1}
        answer = await caller.call("messages/delete", id=[*later[:2], now[0], "0000000000"])
        assert answer == {"success": True, "correct": 2, "failed": 2}
        assert await caller.call("messages/delete", id=later[0]) == {"success": False, "correct": 0, "failed": 1}
        assert {item["id"] for item in await _all_reports(caller)} == {later[2], now[0]}
        assert caller.box.serwersms.account.credit == 8
        await caller.age(7200)
        truth = await caller.told("truth")
        assert (truth["accepted"], truth["withdrawn"], truth["dispatched"], truth["scheduled"]) == (4, 2, 2, 0)


async def test_stats_count_each_send(caller):
    await caller.send(ONE, "45616")
    (send,) = (await caller.call("stats/index", type="mms"))["items"]
    assert (send["id"], send["pending"], send["unsent"], send["text"]) == (1, 1, 1, "Autumn")
    assert (await caller.call("stats/index", type="eco"))["items"] == []


async def test_the_blacklist_is_kept(caller):
    assert (await caller.call("blacklist/add", phone="500600700"))["success"] is True
    assert (await caller.call("blacklist/add", phone=ONE))["error"]["code"] == 4601
    assert await caller.call("blacklist/check", phone=ONE) == {"exists": True}
    assert [item["phone"] for item in (await caller.call("blacklist/index"))["items"]] == [ONE]
    assert (await caller.call("blacklist/index", phone="+48500600701"))["items"] == []
    assert await caller.call("blacklist/delete", phone=ONE) == {"success": True}
    assert (await caller.call("blacklist/delete", phone=ONE))["error"]["code"] == 4602
    assert await caller.call("blacklist/check", phone=ONE) == {"exists": False}


@pytest.mark.parametrize(
    ("path", "params", "expected"),
    [
        ("messages/recived", {}, {"paging": {"page": 1, "count": 1}, "items": []}),
        ("messages/received", {}, {"paging": {"page": 1, "count": 1}, "items": []}),
        ("phones/test", {"phone": "500600700"}, {"correct": True}),
        ("phones/test", {"phone": "123"}, {"correct": False}),
    ],
)
async def test_small_calls_answer(caller, path, params, expected):
    assert await caller.call(path, **params) == expected


async def test_limits_tell_the_account_only_when_asked(caller):
    assert "account" not in await caller.call("account/limits")
    answer = await caller.call("account/limits", show_type=True)
    assert (answer["account"], answer["items"][0]["type"]) == ({"type": "prepaid"}, "eco")


async def test_a_skewed_provider_stamps_with_its_own_time(caller):
    await caller.order("POST", "clock", {"skew_seconds": 600})
    answer = await caller.http.post("/files/index")
    assert "Date" in answer.headers
    sent = await caller.send(ONE)
    ahead = datetime.fromisoformat(sent["items"][0]["queued"]) - datetime.fromisoformat(_warsaw())
    assert timedelta(seconds=590) < ahead <= timedelta(seconds=601)


TITLES = {"kept": "Żółta wyprzedaż", "cut": "Żółta wypr", "rewritten": "ZOLTA WYPRZEDAZ"}


@pytest.mark.parametrize("titles", TITLES)
async def test_reports_may_show_another_title_than_was_sent(sandbox, titles):
    async with sandbox(titles=titles) as caller:
        await caller.send(ONE, title=TITLES["kept"])
        assert [item["text"] for item in await _all_reports(caller)] == [TITLES[titles]]
        assert (await caller.told("messages"))["items"][0]["title"] == TITLES["kept"], "the truth knows what was sent"


async def test_a_provider_in_another_zone_stamps_and_reads_its_own_dates(sandbox):
    async with sandbox(zone="Europe/London") as caller:
        sent = await caller.send(ONE)
        behind = datetime.fromisoformat(_warsaw()) - datetime.fromisoformat(sent["items"][0]["queued"])
        assert timedelta(minutes=59) < behind < timedelta(minutes=61)
        assert await _all_reports(caller, date_from=_warsaw(minutes=-30)) == []
        assert len(await _all_reports(caller, date_from=_warsaw(minutes=-90))) == 1


# What a rule makes of the second page of three: positions shown (of ten rows, four a page), and the number of pages.
SECOND_PAGES = {
    "page_repeats": ([0, 1, 2, 3], 3),
    "page_empty": ([], 3),
    "page_added": ([4, 5, 6, 7], 4),
    "rows_moved": ([6, 7, 8, 9], 3),
    "no_ids": ([None, None, 6, 7], 3),
}


@pytest.mark.parametrize("fault", SECOND_PAGES)
async def test_a_listing_that_is_not_steady(sandbox, fault):
    phones = [f"+4850060070{number}" for number in range(10)]
    async with sandbox(page_size=4, faults=[f"{fault}@messages/reports:2:items=2"]) as caller:
        ids = [item["id"] for item in (await caller.send(*phones))["items"]]
        await caller.call("messages/reports", order="asc", page=1)
        page = await caller.call("messages/reports", order="asc", page=2)
        shown = [None if item["id"] is None else ids.index(item["id"]) for item in page["items"]]
        assert (shown, page["paging"]["count"]) == SECOND_PAGES[fault]
