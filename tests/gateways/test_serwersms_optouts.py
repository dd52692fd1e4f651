"""Who must not be messaged, as SerwerSMS tells it: every page of the blacklist, and every answer that is a stop word."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest

from posthorn.content.stopwords import StopWords
from posthorn.errors import PermissionMissing
from posthorn.gateways.serwersms.client import SerwerSms
from posthorn.models import OptOut, Phone, Scope
from tests.gateways.scripted import settings

Reply = Callable[[str, dict[str, Any]], dict[str, Any]]
NOBODY: dict[str, Any] = {"items": []}


async def told(reply: Reply, since: datetime | None = None) -> tuple[list[OptOut], list[tuple[str, dict[str, Any]]]]:
    """What is told where the provider answers so, and what it was asked."""
    asked: list[tuple[str, dict[str, Any]]] = []

    async def handle(request: httpx.Request) -> httpx.Response:
        action, body = request.url.path.removeprefix("/").removesuffix(".json"), orjson.loads(await request.aread())
        asked.append((action, body))
        return httpx.Response(200, content=orjson.dumps(reply(action, body)))

    async with SerwerSms(settings(), transport=httpx.MockTransport(handle)) as gateway:
        pages = [page async for page in gateway.opt_outs(since=since, stop_words=StopWords("STOP,WYPISZ"))]
    return [one for page in pages for one in page], asked


def blacklist(*pages: list[str], **more: Any) -> Reply:
    def reply(action: str, body: dict[str, Any]) -> dict[str, Any]:
        if action != "blacklist/index":
            return NOBODY
        items = [{"phone": phone, "added": "2026-11-20 10:00:00"} for phone in pages[min(body["page"], len(pages)) - 1]]
        paging = {} if more.get("without_paging") else {"paging": {"page": body["page"], "count": len(pages)}}
        return {**paging, "items": items}

    return reply


def answers(*items: dict[str, Any]) -> Reply:
    return lambda action, _: {"items": list(items)} if action == "messages/recived" else NOBODY


@pytest.mark.parametrize("without_paging", [False, True])
async def test_every_page_of_the_blacklist_is_read(without_paging: bool) -> None:
    found, _ = await told(blacklist(["+48500600700"], ["500600701"], ["48500600702"], without_paging=without_paging))
    assert found == [OptOut(Phone(48500600700 + n), Scope.ALL, "blacklist", gateway="serwersms") for n in range(3)]


async def test_a_listing_that_only_repeats_itself_has_an_end() -> None:
    found, asked = await told(lambda action, _: {"paging": {"count": 999}, "items": [{"phone": "+48500600700"}]})
    assert found[0].phone == 48500600700
    assert len(asked) == 4, "two pages of each listing"


async def test_who_takes_no_page_number_is_asked_without_one() -> None:
    def reply(action: str, body: dict[str, Any]) -> dict[str, Any]:
        if "page" in body:
            return {"error": {"code": 1006, "type": "InvalidData", "message": "x"}}
        return {"items": [{"phone": "+48500600700"}]} if action == "blacklist/index" else NOBODY

    found, _ = await told(reply)
    assert [one.phone for one in found] == [48500600700]


async def test_answers_that_are_a_stop_word_opt_out_of_marketing() -> None:
    sent = {"recived": "2026-11-20 10:00:00", "phone": "+48500600700"}
    found, asked = await told(
        answers(
            {"id": 1, "text": "Wypisz!", **sent},
            {"id": 2, "text": "don't stop", **sent},
            {"id": 3, "text": "", "title": "STOP", "type": "mms", "recived": None, "phone": "500600701"},
            {"id": 4, "text": "STOP", "phone": "nobody"},
            {"id": 5, "text": None, "phone": "+48500600702"},
        ),
        since=datetime(2026, 11, 20, 8, tzinfo=UTC),
    )
    moment = datetime(2026, 11, 20, 9, tzinfo=UTC)
    assert found == [
        OptOut(Phone(48500600700), Scope.MARKETING, "reply", "Wypisz!", moment, "serwersms"),
        OptOut(Phone(48500600701), Scope.MARKETING, "reply", "STOP", None, "serwersms"),
    ]
    recived = next(body for action, body in asked if action == "messages/recived")
    assert recived["date_from"] == "2026-11-20 09:00:00"
    assert "read" not in recived, "it would hide the answers from everybody else"


async def test_nobody_in_either_listing_is_no_error() -> None:
    found, _ = await told(lambda _a, _b: {"error": {"code": 3330, "type": "X", "message": "none"}})
    assert found == []


async def test_what_may_not_be_read_is_said() -> None:
    with pytest.raises(PermissionMissing):
        await told(lambda action, _: NOBODY if action == "blacklist/index" else {"error": {"code": 1005}})


async def test_an_entry_without_a_number_is_passed_over_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    found, _ = await told(blacklist(["12", "+48500600700"]))
    assert [one.phone for one in found] == [48500600700]
    assert "no number that can be read" in caplog.text
