"""What the sandbox's Skycore refuses, with which code, and in which order."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from defusedxml import ElementTree

from posthorn.sandbox.skycore import SkycoreOptions, Template

ONE, OTHER = "16501234123", "16501234124"


async def test_what_is_wrong_is_told_one_thing_at_a_time_in_this_order(skycore):
    templates = (Template("1", encoding_seconds=60), Template("2", has_barcode=False))
    options = {
        "templates": templates,
        "enforce_campaign_check": True,
        "subscribers": frozenset({"48500600700", "48500600701", "48500600702"}),
        "blacklist": frozenset({"48500600700"}),
        "unsupported": frozenset({"48500600700", "48500600701"}),
        "billing_problem": True,
    }
    wrong = dict.fromkeys(("action", "api_key", "mmsid", "to", "barcodeid", "sender", "campaignref"))
    mended = [
        ({"action": "send"}, "E101"),
        ({"action": "sendmmsbarcode"}, "E102"),
        ({"api_key": "other"}, "E104"),
        ({"api_key": "sandbox-key"}, "E620"),
        ({"mmsid": "3"}, "E241"),
        ({"mmsid": "2"}, "E621"),
        ({"to": "abc"}, "E110"),
        ({"to": ONE}, "E631"),
        ({"barcodeid": "T1"}, "E111"),
        ({"sender": "12345"}, "E111"),
        ({"sender": "60856"}, "E633"),
        ({"mmsid": "1"}, "E626"),
        (60, "E714"),
        ({"campaignref": "9"}, "E714"),
        ({"campaignref": "12333"}, "E715"),
        ({"to": "48500600700"}, "E114"),
        ({"to": "48500600701"}, "E628"),
        ({"to": "48500600702"}, "E713"),
    ]
    async with skycore(**options) as tickets:
        assert await tickets.code(**wrong) == "E101"
        seen = []
        for change, _ in mended:
            if isinstance(change, int):
                await tickets.age(change)
            else:
                wrong |= change
            seen.append(await tickets.code(**wrong))
        assert seen == [code for _, code in mended]
        await tickets.order("PUT", "skycore", {"billing_problem": False})
        assert await tickets.code(**wrong) is None
        assert tickets.box.truth()["skycore"]["accepted"] == 1


ACCOUNTS = {
    "a billing problem": ({"billing_problem": True}, {}, "E713"),
    "a template without a barcode": ({"templates": (Template("35674", has_barcode=False),)}, {}, "E633"),
    "a template being encoded": ({"templates": (Template("35674", encoding_seconds=9),)}, {}, "E626"),
    "no templates": ({"templates": ()}, {}, "E241"),
    "another shortcode": ({"shortcodes": frozenset({"41044"})}, {}, "E111"),
    "one of two shortcodes": ({"shortcodes": frozenset({"41044", "60856"})}, {}, None),
    "no campaign, unchecked": ({}, {"campaignref": None}, None),
    "an unknown campaign, unchecked": ({}, {"campaignref": "9"}, "E714"),
    "no campaign, checked": ({"enforce_campaign_check": True}, {"campaignref": None}, "E714"),
    "everybody subscribed, checked": ({"enforce_campaign_check": True}, {}, None),
    "not subscribed, checked": ({"enforce_campaign_check": True, "subscribers": frozenset({OTHER})}, {}, "E715"),
    "not subscribed, unchecked": ({"subscribers": frozenset({OTHER})}, {}, None),
    "opted out, checked": ({"enforce_campaign_check": True, "opted_out": frozenset({ONE})}, {}, "E715"),
    "a blacklisted number": ({"blacklist": frozenset({ONE})}, {}, "E114"),
    "an unsupported operator": ({"unsupported": frozenset({ONE})}, {}, "E628"),
    "only unsupported operators": ({"unsupported_share": 1.0}, {}, "E628"),
    "an action without rights": ({"denied_actions": frozenset({"sendMMSBarcode"})}, {}, "E107"),
}


@pytest.mark.parametrize(("options", "changes", "code"), ACCOUNTS.values(), ids=ACCOUNTS)
async def test_an_account_with(skycore, options, changes, code):
    async with skycore(**options) as tickets:
        assert await tickets.code(**changes) == code
        assert tickets.box.truth()["skycore"]["accepted"] == (code is None)


NUMBERS = {
    "16501234123": None,
    "48500600700": None,
    " 48500600700 ": None,
    "+48500600700": "E110",
    "0048500600700": "E110",
    "00148500600700": "E110",
    "48 500 600 700": "E110",
    "1-650-123-4123": "E110",
    "16501234123,16501234124": "E110",
    "12345": "E110",
    "1234567890123456": "E110",
    "٤٨٥٠٠٦٠٠٧٠٠": "E110",
    ",".join(["16501234123"] * 101): "E623",
}


@pytest.mark.parametrize(("number", "code"), NUMBERS.items(), ids=[number[:20] for number in NUMBERS])
async def test_a_number_written_as(tickets, number, code):
    assert await tickets.code(to=number) == code


async def test_shares_of_operators_are_unsupported_and_the_same_ones_for_one_seed(skycore):
    refused = []
    for seed in (1, 1, 2):
        async with skycore(unsupported_share=0.3, seed=seed) as tickets:
            refused.append([await tickets.code(to=f"485006007{number:02}") for number in range(60)])
    assert refused[0] == refused[1] != refused[2]
    assert set(refused[0]) == {None, "E628"}
    assert 8 <= refused[0].count("E628") <= 30


async def test_calls_too_close_together_are_refused_with_the_spacing(skycore):
    async with skycore(min_interval_seconds=1) as tickets:
        begun = time.monotonic()
        assert await tickets.code() is None
        answer = await tickets.post()
        assert (answer.findtext("ERRORCODE"), answer.findtext("ERRORINFO")) == ("E106", "You can call API every 1 seconds")
        async with asyncio.timeout(20):  # for ever, if each refused call began the wait anew
            while await tickets.code() == "E106":
                pass
        assert time.monotonic() - begun >= 1
        assert tickets.box.truth()["skycore"]["accepted"] == 2


async def test_the_quota_is_used_up_by_all_actions_and_comes_back_with_its_window(skycore):
    async with skycore(request_quota=2, quota_window_seconds=3600) as tickets:
        codes = [await tickets.code(action="getMmsIds"), await tickets.code(), await tickets.code(), await tickets.code()]
        assert codes == [None, None, "E120", "E120"]
        await tickets.age(3599)
        assert await tickets.code() == "E120"
        await tickets.age(1)
        assert [await tickets.code() for _ in range(3)] == [None, None, "E120"]


async def test_a_quota_without_a_window_stays_used_up_until_it_is_raised(skycore):
    async with skycore(request_quota=1) as tickets:
        assert [await tickets.code(), await tickets.code()] == [None, "E120"]
        await tickets.age(10**9)
        assert await tickets.code() == "E120"
        await tickets.order("PUT", "skycore", {"request_quota": 2})
        assert [await tickets.code(), await tickets.code()] == [None, "E120"]


async def test_throughput_concerns_sends_of_the_last_second(skycore):
    async with skycore(throughput=3) as tickets:
        started = time.monotonic()
        codes = await asyncio.gather(*(tickets.code(to=f"1650123412{number}") for number in range(5)))
        assert time.monotonic() - started < 1
        assert sorted(codes, key=str) == ["E113", "E113", None, None, None]
        assert await tickets.code(action="getMmsIds") is None
        while await tickets.code() == "E113":
            pass
        assert time.monotonic() - started >= 1


async def test_credit_is_used_up_by_tickets_and_given_anew(skycore):
    async with skycore(credit=2) as tickets:
        codes = [await tickets.code(), await tickets.code(to="abc"), await tickets.code(), await tickets.code()]
        assert codes == [None, "E110", None, "E713"]
        await tickets.order("PUT", "skycore", {"credit": 1})
        assert [await tickets.code(), await tickets.code()] == [None, "E713"]
        await tickets.order("POST", "reset", {})
        assert [await tickets.code() for _ in range(3)] == [None, None, "E713"]


async def test_encoding_begins_anew_with_a_reset(skycore):
    async with skycore(templates=(Template("35674", encoding_seconds=10),)) as tickets:
        await tickets.age(10)
        assert await tickets.code() is None
        await tickets.order("POST", "reset", {})
        assert await tickets.code() == "E626"
        await tickets.age(10)
        assert await tickets.code() is None


@pytest.mark.parametrize(
    "order",
    [{"seed": 1}, {"nonsense": 1}, {"billing_problem": 1}, {"billing_problem": "no"}, {"credit": True}, {"credit": "1"}],
    ids=str,
)
async def test_the_account_cannot_be_changed_by(tickets, order):
    assert (await tickets.order("PUT", "skycore", order)).status_code == 400
    assert tickets.box.skycore.options == SkycoreOptions()


# The actions beside sending.


async def test_ids_and_campaigns_are_listed(skycore):
    options = {"templates": (Template("10011"), Template("10234")), "campaigns": {"7": "Spring & summer", "8": "Late"}}
    async with skycore(**options) as tickets:
        assert (await tickets.post(action="getmmsids")).findtext("MMSIDS") == "10011,10234"
        listed = (await tickets.get(action="getMmsCampaigns")).findall("MMSCAMPAIGNS/CAMPAIGN")
        assert [(one.findtext("ID"), one.findtext("NAME")) for one in listed] == [("7", "Spring & summer"), ("8", "Late")]


@pytest.mark.parametrize(
    ("options", "action", "code"),
    [
        ({"templates": ()}, "getMmsIds", "E200"),
        ({"campaigns": {}}, "getMmsCampaigns", "E405"),
        ({"denied_actions": frozenset({"getMmsIds"})}, "getMMSids", "E107"),
        ({}, "sendSavedMMS", "E101"),
        ({}, "redeemBarcode", "E101"),
    ],
)
async def test_an_action_is_refused(skycore, options, action, code):
    async with skycore(**options) as tickets:
        assert await tickets.code(action=action) == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mobile": None}, "E901"),
        ({"campaignid": None}, "E902"),
        ({"campaignid": "9"}, "E903"),
        ({"mobile": ONE}, "E904"),
        ({"action": "unsubscribe"}, "E905"),
        ({}, None),
    ],
)
async def test_a_subscription_answers(skycore, changes, code):
    async with skycore(opted_out=frozenset({ONE}), subscribers=frozenset()) as tickets:
        assert await tickets.code(**{"action": "subscribe", "campaignid": "12333", "mobile": OTHER, **changes}) == code


async def test_who_subscribes_is_sent_to_and_who_unsubscribes_is_not(skycore):
    async with skycore(enforce_campaign_check=True, subscribers=frozenset()) as tickets:
        codes = [await tickets.code()]
        for action in ("subscribe", "unsubscribe", "subscribe"):
            assert await tickets.code(action=action, campaignid="12333", mobile=ONE) is None
            codes.append(await tickets.code())
        assert codes == ["E715", None, "E715", None]


DAY = {"start_date": "2000-01-01 00:00:00", "end_date": "2000-01-02 00:00:00"}
LOOKUPS = {
    "no start": ({"start_date": None}, "E506"),
    "no end": ({"end_date": None}, "E506"),
    "another pattern": ({"end_date": "2000-01-02"}, "E507"),
    "a date that is none": ({"end_date": "2000-13-02 00:00:00"}, "E508"),
    "a long period": ({"end_date": "2000-03-02 00:00:00"}, "E509"),
    "a day": ({}, None),
    "a day, spelt as the page is named": ({"action": "getSendingStatistics"}, None),
}


@pytest.mark.parametrize(("changes", "code"), LOOKUPS.values(), ids=LOOKUPS)
async def test_statistics_over(tickets, changes, code):
    assert await tickets.code(**{"action": "getSendingStatus", **DAY, **changes}) == code


async def test_statistics_may_be_asked_for_too_often(skycore):
    async with skycore(statistics_interval_seconds=60) as tickets:
        ask = {"action": "getSendingStatus", **DAY}
        assert [await tickets.code(**ask), await tickets.code(**ask)] == [None, "E510"]
        await tickets.age(60)
        assert await tickets.code(**ask) is None


ENDS = {
    "delivered": ({}, "binary", ["INQUE", "INIT", "ACK", "DLR"]),
    "silent": ({"silent": 1.0}, "binary", ["INQUE", "INIT", "ACK"]),
    "a link": ({"link_sms": 1.0}, "xhtml", ["INQUE", "INIT", "ACK", "DLR"]),
    "failed at once": ({"late_failure": 1.0}, "binary", ["INQUE", "ERROR"]),
}


@pytest.mark.parametrize(("options", "delivery", "steps"), ENDS.values(), ids=ENDS)
async def test_the_report_tells_the_history_without_ticket_and_barcode(skycore, options, delivery, steps):
    async with skycore(**options) as tickets:
        tracking_id = (await tickets.post()).findtext("TRACKINGID")
        window = {"start_date": time.strftime("%Y-%m-%d 00:00:00", time.gmtime(time.time() - 86_400))}
        window["end_date"] = time.strftime("%Y-%m-%d 00:00:00", time.gmtime(time.time() + 86_400))
        url = (await tickets.get(action="getsendingstatus", **window)).findtext("URL")
        early = await tickets.http.get(url)
        await tickets.age(61)
        report = await tickets.http.get(url)
        assert [child.tag for child in ElementTree.fromstring(early.content).find("SENDING_LIST/CONTENT/MSG_STATUS")] == [
            "INQUE"
        ]
        (content,) = ElementTree.fromstring(report.content).findall("SENDING_LIST/CONTENT")
        assert (content.get("to"), content.get("contentid"), content.get("from")) == (ONE, "35674", "60856")
        assert (content.get("delivery"), [step.tag for step in content.find("MSG_STATUS")]) == (delivery, steps)
        assert tracking_id not in report.text
        assert "Ticket_12345" not in report.text
        assert (await tickets.http.get(url.replace(".xml", "x.xml"))).status_code == httpx.codes.NOT_FOUND
