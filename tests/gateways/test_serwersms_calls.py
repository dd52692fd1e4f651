"""The calls around a send: files, reports, withdrawal, credit, blacklist; each in JSON and XML, whole and with gaps."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import orjson
import pytest

from posthorn.errors import FileRefused, InputError, PermissionMissing, RequestRefused, TryAgain
from posthorn.gateways.serwersms import answers
from posthorn.gateways.serwersms.client import SerwerSms
from posthorn.models import Credit, Media, MessageState, Phone, StoredFile
from tests.gateways.scripted import Scripted, settings

WARSAW = ZoneInfo("Europe/Warsaw")
both_formats = pytest.mark.parametrize("response_format", ["json", "xml"])


# -- Files ----------------------------------------------------------------------------------------------------------------

FILE = {"id": "b67d70c22d", "name": "plik1.jpg", "size": 174562, "type": "mms", "date": "2014-10-07 16:54:53"}
STORED = StoredFile("b67d70c22d", "plik1.jpg", 174562, "mms", "2014-10-07 16:54:53")


@both_formats
async def test_files_are_listed_and_viewed(response_format):
    second = FILE | {"id": "39b0d42508"}
    listing = Scripted({"items": [FILE, second]}, response_format=response_format)
    assert [file.id for file in await listing.gateway.list_files()] == ["b67d70c22d", "39b0d42508"]
    viewing = Scripted(FILE, response_format=response_format)
    assert await viewing.gateway.view_file("b67d70c22d") == STORED


EMPTY = [{}, {"items": None}, {"items": []}, {"items": {}}, {"items": ""}, {"items": 0}, {"items": [None]}]


@pytest.mark.parametrize("answer", EMPTY)
async def test_a_listing_without_files_is_empty(answer):
    assert await Scripted(answer).gateway.list_files() == []


async def test_a_file_with_gaps_is_listed_all_the_same():
    assert await Scripted({"items": [{"id": 5, "size": "x"}]}).gateway.list_files() == [StoredFile("5", "", None, "", "")]


@pytest.mark.parametrize(
    ("answer", "deleted"), [({"success": True}, True), ({"success": "1"}, True), ({"success": False}, False)]
)
async def test_a_file_is_deleted_or_not(answer, deleted):
    assert await Scripted(answer).gateway.delete_file("b67d70c22d") is deleted


async def test_a_success_without_an_id_is_no_stored_file():
    with pytest.raises(RequestRefused):
        await Scripted({"success": True}).gateway.add_file(url="https://example.com/a.jpg")


BAD_FILES = {
    "an unknown type": ({"type": "video", "url": "https://example.com/a.jpg"}, "type"),
    "neither url nor path": ({}, "media"),
    "both url and path": ({"url": "https://example.com/a.jpg", "path": "a.jpg"}, "media"),
    "a voice file from disk": ({"type": "voice", "path": "a.wav"}, "type"),
    "a file that is not there": ({"path": "/nowhere/a.jpg"}, "media"),
}


@pytest.mark.parametrize(("arguments", "field"), BAD_FILES.values(), ids=BAD_FILES)
async def test_a_file_that_cannot_be_stored_is_refused_before_any_request(arguments, field):
    scripted = Scripted()
    with pytest.raises(InputError) as caught:
        await scripted.gateway.add_file(**arguments)
    assert (caught.value.field, scripted.requests) == (field, [])


async def test_a_campaigns_file_that_vanished_is_the_operators_business():
    with pytest.raises(InputError, match=r"a\.jpg cannot be read"):
        await Scripted().gateway.upload(Media("a.jpg", "a.jpg", "image/jpeg", path="/nowhere/a.jpg"))


async def test_an_upload_whose_answer_is_lost_may_be_repeated():
    with pytest.raises(TryAgain):
        await Scripted(b"").gateway.add_file(url="https://example.com/a.jpg")


@pytest.mark.parametrize(("code", "error"), [(2000, FileRefused), (4001, FileRefused), (4002, FileRefused)])
async def test_bytes_that_are_not_seen_may_be_in_another_encoding(tmp_path, code, error):
    (tmp_path / "a.png").write_bytes(b"123")
    refused = Scripted({"error": {"code": code, "type": "X", "message": "no"}})
    with pytest.raises(error):
        await refused.gateway.add_file(path=tmp_path / "a.png")
    with pytest.raises(RequestRefused) as caught:
        await refused.gateway.add_file(url="https://example.com/a.png")
    assert not isinstance(caught.value, FileRefused), "a URL has one encoding"


@pytest.mark.parametrize(
    ("answer", "may_be_the_encoding"),
    [
        ({"success": False}, True),  # no id in the answer, and no code
        (httpx.Response(415), True),
        (httpx.Response(400), True),
        (httpx.Response(413), False),
        (httpx.Response(404), False),
        ({"error": {"code": 4000, "type": "X", "message": "no"}}, False),
        ({"error": {"code": 9999, "type": "X", "message": "no"}}, False),
    ],
)
async def test_a_refusal_without_a_code_may_be_about_the_body(tmp_path, answer, may_be_the_encoding):
    (tmp_path / "a.png").write_bytes(b"123")
    with pytest.raises(RequestRefused) as caught:
        await Scripted(answer).gateway.add_file(path=tmp_path / "a.png")
    assert isinstance(caught.value, FileRefused) == may_be_the_encoding


@pytest.mark.parametrize("answer", [{"error": {"code": 4001, "type": "X", "message": "no"}}, {"success": True}])
async def test_a_file_that_is_not_there_is_none(answer):
    assert await Scripted(answer).gateway.view_file("b67d70c22d") is None


# -- Reports --------------------------------------------------------------------------------------------------------------

REPORT = {
    "id": "32039da8e9",
    "phone": "+48500600700",
    "status": "delivered",
    "queued": "2026-11-20 12:32:52",
    "sent": "2026-11-20 12:33:00",
    "delivered": "2026-07-20 12:33:10",
    "type": "mms",
    "text": "Autumn sale",
    "reason": None,
    "attachments": [{"id": 71}, {"id": "b67d70c22d"}],
}


async def reports(answer, response_format="json", **arguments):
    return await Scripted(answer, response_format=response_format).gateway.reports(**(arguments or {"ids": ["32039da8e9"]}))


@both_formats
async def test_a_report_is_read_whole(response_format):
    page = await reports({"paging": {"page": 2, "count": 7}, "items": [REPORT]}, response_format)
    (report,) = page.reports
    assert (page.page, page.pages) == (2, 7)
    assert (report.provider_id, report.phone, report.title) == ("32039da8e9", Phone(48500600700), "Autumn sale")
    assert (report.state, report.status, report.reason) == (MessageState.DELIVERED, "delivered", None)
    assert report.queued_at == datetime(2026, 11, 20, 11, 32, 52, tzinfo=UTC)
    assert report.delivered_at == datetime(2026, 7, 20, 10, 33, 10, tzinfo=UTC)
    assert report.file_ids == ("71", "b67d70c22d")


STATUSES = {
    "saved": MessageState.SCHEDULED,
    "in_progress": MessageState.ACCEPTED,
    "queued": MessageState.ACCEPTED,
    "pending": MessageState.ACCEPTED,
    "sent": MessageState.ACCEPTED,
    "delivered": MessageState.DELIVERED,
    "undelivered": MessageState.UNDELIVERED,
    "unsent": MessageState.REJECTED,
    "Delivered": MessageState.DELIVERED,
    "teleported": MessageState.ACCEPTED,
    "": MessageState.ACCEPTED,
    None: MessageState.ACCEPTED,
}


@pytest.mark.parametrize(("status", "state"), STATUSES.items())
async def test_each_status_word_has_its_state_and_is_kept(status, state):
    page = await reports({"items": [REPORT | {"status": status, "reason": "number_is_blacklisted"}]})
    assert page.reports[0].state is state
    assert page.reports[0].status == (status or "")
    assert page.reports[0].reason == "number_is_blacklisted"


ABSENT = [None, "", "0000-00-00 00:00:00", "soon", 0, [], "2026-13-01 00:00:00"]


@pytest.mark.parametrize("value", ABSENT)
async def test_a_time_that_is_none_is_absent(value):
    page = await reports({"items": [REPORT | {"delivered": value, "attachments": value, "phone": value, "text": value}]})
    report = page.reports[0]
    assert report.delivered_at is None
    assert report.file_ids == ()
    assert report.phone is None


def usual(number):
    """The ``number``-th entry of a page on which all is as usual."""
    given = {"id": f"32039da8{number:02}", "phone": f"+485006007{number:02}", "status": ("delivered", "sent")[number % 2]}
    return REPORT | given | {"delivered": f"2026-11-20 12:34:{number:02}", "attachments": [{"id": "b67d70c22d"}]}


def test_the_reports_of_a_usual_page_are_read_all_at_once_as_each_alone():
    listed = [usual(number) for number in range(20)]
    assert answers._usual_reports(listed, WARSAW) == [answers.report_of(item, WARSAW) for item in listed]


ODD = {
    "id": [5, True, "", " ", "a\nb", "x" * 65, {}, "32039da800"],
    "phone": [
        "500600700",
        "+48 500600700",
        "+48500600700\n",
        "+48500600\n+48500601",
        "+0485006007",
        "+4_8500600",
        48500600700,
        {},
    ],
    "status": [" Delivered ", "DELIVERED", "", 5, True, "a\0b", ["delivered"], {}],
    "queued": ["", "soon", "2026-10-25 02:30:00", " 2026-11-20 12:32:52", 20261120, "2026-11-20T12:32:52+00:00", "9" * 70],
    "delivered": ["0000-00-00 00:00:00", "2026-11-20 12:34:00.123456", 0, 1.0, False, [], {"at": "2026-11-20 12:34:00"}],
    "text": ["", "\0", 1, 1.0, True, "1", [], {}],
    "reason": ["", "number_is_blacklisted", 0, False, 0.0, "0", [], {}],
    "attachments": [
        [],
        {},
        "b67d70c22d",
        {"id": "b67d70c22d"},
        [{"id": 1}],
        [{"id": True}],
        [{"id": 1.0}],
        [{"id": ""}, {"id": "a"}, {}, 1, {"id": None}],
        {"0": {"id": "a"}, "1": {"id": {}}},
        [{"id": "a"}] * 3,
    ],
}
"""Values of a field beside its usual ones. Some are equal to each other and read differently."""


@pytest.mark.parametrize("field", ODD)
def test_odd_entries_of_a_page_are_read_as_each_alone(field):
    page = [usual(number) for number in range(3)]
    odd = [usual(3) | {field: value} for value in [*ODD[field], None]]
    odd.append({key: value for key, value in usual(3).items() if key != field})
    pages = [[*page[:at], item, *page[at:]] for item in odd for at in (0, 1, 3)]
    pages += [[one, other] for one in odd for other in odd]
    for listed in [*pages, odd, []]:
        assert answers.reports_of(listed, WARSAW) == [answers.report_of(item, WARSAW) for item in listed]


def test_files_nested_too_deep_to_be_compared_are_none():
    listed = [usual(number) | {"attachments": orjson.loads("[" * 1_000 + "]" * 1_000)} for number in range(2)]
    assert [report.file_ids for report in answers.reports_of(listed, WARSAW)] == [(), ()]


async def test_the_repeated_autumn_hour_is_read_as_its_first_passing():
    page = await reports({"items": [REPORT | {"queued": "2026-10-25 02:30:00"}]})
    assert page.reports[0].queued_at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


PAGING = {
    "given": ({"page": 2, "count": 7}, (2, 7)),
    "as text": ({"page": "2", "count": "7"}, (2, 7)),
    "absent": (None, (3, 3)),
    "no list of pages": ([], (3, 3)),
    "no count": ({"page": 2}, (2, 1)),
    "no page at all": ({"page": 1, "count": 0}, (1, 1)),
}


@pytest.mark.parametrize(("paging", "expected"), PAGING.values(), ids=PAGING)
async def test_paging_is_read_however_it_comes(paging, expected):
    page = await reports({"paging": paging, "items": []}, phones=[Phone(48500600700)], page=3)
    assert (page.page, page.pages) == expected


async def test_no_messages_is_an_empty_page():
    page = await reports({"error": {"code": 3330, "message": "no messages"}})
    assert (list(page.reports), page.page, page.pages) == ([], 1, 1)


async def test_too_many_records_asks_the_caller_to_narrow():
    with pytest.raises(InputError, match="shorter time"):
        await reports({"error": {"code": 3331}})


async def test_a_report_without_an_id_is_passed_over_with_a_warning(caplog):
    page = await reports({"items": [REPORT, REPORT | {"id": None}]})
    assert len(page.reports) == 1
    assert "1 reports of a page carry no id" in caplog.text
    assert "500600" not in caplog.text


BAD_QUERIES = {
    "501 ids": ({"ids": ["x"] * 501}, "ids"),
    "an unknown type": ({"type": "fax"}, "type"),
    "an unknown order": ({"order": "random"}, "order"),
    "a time without a zone": ({"since": datetime(2026, 1, 1)}, "since"),  # noqa: DTZ001 - on purpose
    "an end without a zone": ({"until": datetime(2026, 1, 1)}, "until"),  # noqa: DTZ001 - on purpose
}


@pytest.mark.parametrize(("arguments", "field"), BAD_QUERIES.values(), ids=BAD_QUERIES)
async def test_a_query_the_provider_forbids_is_refused_before_any_request(arguments, field):
    scripted = Scripted()
    with pytest.raises(InputError) as caught:
        await scripted.gateway.reports(**arguments)
    assert (caught.value.field, scripted.requests) == (field, [])


async def test_500_ids_are_asked_in_one_query():
    scripted = Scripted({"items": []})
    await scripted.gateway.reports(ids=[str(n) for n in range(500)])
    assert len(scripted.asked["id"]) == 500


WINDOWS = {
    "winter": ("2026-11-20T12:00:00+00:00", "2026-11-20 13:00:00", "2026-11-20 13:00:00"),
    "summer": ("2026-07-20T12:00:00+00:00", "2026-07-20 14:00:00", "2026-07-20 14:00:00"),
    "first passing of the autumn hour": ("2026-10-25T00:50:00+00:00", "2026-10-25 01:50:00", "2026-10-25 03:50:00"),
    "second passing of the autumn hour": ("2026-10-25T01:10:00+00:00", "2026-10-25 01:10:00", "2026-10-25 03:10:00"),
}


@pytest.mark.parametrize(("moment", "date_from", "date_to"), WINDOWS.values(), ids=WINDOWS)
async def test_a_window_is_asked_in_local_time_and_never_too_narrow(moment, date_from, date_to):
    scripted = Scripted({"items": []})
    await scripted.gateway.reports(since=datetime.fromisoformat(moment), until=datetime.fromisoformat(moment))
    assert (scripted.asked["date_from"], scripted.asked["date_to"]) == (date_from, date_to)


async def test_every_moment_of_the_autumn_night_is_inside_its_window():
    start = datetime(2026, 10, 24, 23, tzinfo=UTC)
    for minutes in range(0, 240, 10):
        moment = start + timedelta(minutes=minutes)
        scripted = Scripted({"items": []})
        await scripted.gateway.reports(since=moment - timedelta(minutes=20), until=moment + timedelta(minutes=20))
        written = moment.astimezone(WARSAW).strftime("%Y-%m-%d %H:%M:%S")
        assert scripted.asked["date_from"] <= written <= scripted.asked["date_to"]


@both_formats
async def test_one_message_is_viewed(response_format):
    report = await Scripted(REPORT, response_format=response_format).gateway.view_message("32039da8e9")
    assert (report.provider_id, report.state) == ("32039da8e9", MessageState.DELIVERED)


@pytest.mark.parametrize("code", [3330, 1004])
async def test_a_message_the_provider_does_not_know_is_none(code):
    assert await Scripted({"error": {"code": code}}).gateway.view_message("32039da8e9") is None


async def test_an_answer_about_nothing_does_not_say_that_there_is_no_message():
    with pytest.raises(TryAgain):
        await Scripted({}).gateway.view_message("32039da8e9")


# -- Withdrawal -----------------------------------------------------------------------------------------------------------

WITHDRAWN = {
    "all": ({"success": True, "correct": 2, "failed": 0}, (2, 0)),
    "as text": ({"success": "true", "correct": "2", "failed": "0"}, (2, 0)),
    "some": ({"success": True, "correct": 1, "failed": 1}, (1, 1)),
    "none, all dispatched": ({"success": False}, (0, 2)),
    "a bare success": ({"success": True}, (2, 0)),
    "success with failures and no count": ({"success": True, "failed": 1}, (0, 2)),
    "more than asked": ({"success": True, "correct": 9}, (2, 0)),
}


@both_formats
@pytest.mark.parametrize(("answer", "expected"), WITHDRAWN.values(), ids=WITHDRAWN)
async def test_withdrawal_counts_what_was_withdrawn(answer, expected, response_format):
    assert await Scripted(answer, response_format=response_format).gateway.withdraw(["a", "b"]) == expected


async def test_many_ids_are_withdrawn_in_several_calls():
    scripted = Scripted({"success": True})
    assert await scripted.gateway.withdraw([str(n) for n in range(1001)]) == (1001, 0)
    assert len(scripted.requests) == 3


async def test_withdrawing_nothing_asks_nothing():
    scripted = Scripted()
    assert await scripted.gateway.withdraw([]) == (0, 0)
    assert scripted.requests == []


# -- Account --------------------------------------------------------------------------------------------------------------

CREDITS = {
    "6": Credit(6),
    6: Credit(6),
    "0": Credit(0),
    "6.0": Credit(6),
    "no_limit": Credit(None),
    "not_available": Credit(0, available=False),
    "": Credit(0, available=False),
    "1e999999999": Credit(0, available=False),
    None: Credit(0, available=False),
}


@both_formats
@pytest.mark.parametrize(("value", "expected"), CREDITS.items())
async def test_credit_is_what_the_line_for_mms_says(value, expected, response_format):
    items = [{"type": "eco", "value": "99"}, {"type": "mms", "chars_limit": "40/1", "value": value}]
    assert await Scripted({"items": items}, response_format=response_format).gateway.credit() == expected


async def test_an_account_without_a_line_for_mms_can_send_none():
    assert await Scripted({"items": [{"type": "eco", "value": "99"}]}).gateway.credit() == Credit(0, available=False)


@both_formats
async def test_the_blacklist_is_read(response_format):
    items = [{"phone": "+48500600700", "added": "2026-11-20 12:00:00"}, {"phone": "?", "added": None}]
    page = await Scripted({"items": items}, response_format=response_format).gateway.blacklist()
    assert list(page.entries) == [(Phone(48500600700), datetime(2026, 11, 20, 11, tzinfo=UTC)), (None, None)]


@both_formats
async def test_an_error_explained_is_no_error(response_format):
    answer = {"error": {"code": 3004, "type": "SendError", "message": "MMS limit"}}
    said = await Scripted(answer, response_format=response_format).gateway.explain_error(3004)
    assert (said.code, said.message) == ("3004", "MMS limit")


async def test_an_error_whose_root_is_the_error_itself_is_read_from_xml():
    body = b"<?xml version='1.0'?><response><code>1012</code><type>InvalidToken</type><message>x</message></response>"
    with pytest.raises(Exception, match="1012: invalid token"):
        await Scripted(body, response_format="xml").gateway.credit()


async def test_an_unknown_code_asked_for_is_refused():
    with pytest.raises(RequestRefused, match="2002"):
        await Scripted({"error": {"code": 2002}}).gateway.explain_error(77)


# -- Parameters that only clients know ------------------------------------------------------------------------------------


class Picky:
    """A provider that refuses whatever its page on reports does not name, and shows ``pages`` pages."""

    def __init__(self, pages: int = 1, code: int = 1006) -> None:
        self.pages, self.code = pages, code
        self.asked: list[dict] = []
        self.gateway = SerwerSms(settings(), transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(orjson.loads(request.content))
        if self.asked[-1].keys() & {"type", "page", "limit", "order"}:
            return httpx.Response(200, json={"error": {"code": self.code, "type": "X", "message": "no"}})
        texts = {**REPORT, "id": "aaaa", "type": "full"}
        return httpx.Response(200, json={"paging": {"page": 1, "count": self.pages}, "items": [REPORT, texts]})


async def test_parameters_that_only_clients_know_are_left_out_after_a_refusal_and_ever_after():
    picky = Picky()
    for _ in range(2):
        page = await picky.gateway.reports(ids=["32039da8e9"], limit=500)
        assert [report.provider_id for report in page.reports] == ["32039da8e9"], "text messages are passed over here"
        assert page.passed_over == 0
    assert [sorted(asked) for asked in picky.asked] == [["id", "limit", "order", "page", "type"], ["id"], ["id"]]


async def test_without_page_numbers_a_second_page_is_a_reason_to_ask_for_less():
    with pytest.raises(InputError, match="ask for fewer numbers"):
        await Picky(pages=2).gateway.reports(phones=[Phone(48500600700)])


async def test_a_refusal_of_both_is_the_refusal():
    picky = Picky()
    picky.gateway = Scripted({"error": {"code": 1005, "type": "X", "message": "no"}}).gateway
    with pytest.raises(PermissionMissing):
        await picky.gateway.reports(ids=["a"])
    scripted = Scripted({"error": {"code": 1006, "type": "X", "message": "no"}})
    with pytest.raises(RequestRefused, match="1006"):
        await scripted.gateway.reports(ids=["a"])
    assert len(scripted.requests) == 2
    assert scripted.gateway.takes_pages, "nothing was learnt"
