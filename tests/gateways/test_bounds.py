"""Answers are bounded: in bytes by what was asked, in memory by a small multiple of that, in time, in depth, in pages."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from posthorn.errors import OutcomeUnknown, RequestRefused, TryAgain
from posthorn.gateways.serwersms.client import SerwerSms
from posthorn.gateways.skycore.client import Skycore
from posthorn.models import Media, MessageState, MmsRequest, Phone
from posthorn.settings import SerwerSmsSettings, SkycoreSettings
from tests.gateways import skycore_scripted
from tests.gateways.raw_server import OK_HEAD, Conversation, RawServer
from tests.gateways.scripted import Scripted

PHONE = Phone(48500600700)
ONE = MmsRequest("Sale", [PHONE], ["f"])
MIB = 1024 * 1024
ROOT = Path(__file__).parents[2]


def serwersms(url: str, **more: Any) -> SerwerSms:
    return SerwerSms(SerwerSmsSettings(base_url=url, token="t", **{"timeout_seconds": 0.6, **more}))


def skycore(url: str, **more: Any) -> Skycore:
    return Skycore(SkycoreSettings(base_url=url, api_key="k", **{"timeout_seconds": 0.6, **more}))


CALLS: dict[str, tuple[Callable[..., Any], Callable[[Any], Any], type[Exception]]] = {
    "send": (serwersms, lambda one: one.send(ONE), OutcomeUnknown),
    "send_mms": (serwersms, lambda one: one.send_mms(title="Sale", phone=PHONE, file_id="f"), OutcomeUnknown),
    "reports": (serwersms, lambda one: one.reports(ids=["a"]), TryAgain),
    "view_message": (serwersms, lambda one: one.view_message("a"), TryAgain),
    "list_files": (serwersms, lambda one: one.list_files(), TryAgain),
    "upload": (serwersms, lambda one: one.upload(Media("https://example.com/a.png", "a.png", "image/png")), TryAgain),
    "credit": (serwersms, lambda one: one.credit(), TryAgain),
    "blacklist": (serwersms, lambda one: one.blacklist(), TryAgain),
    "withdraw": (serwersms, lambda one: one.withdraw(["a"]), TryAgain),
    "explain_error": (serwersms, lambda one: one.explain_error(1001), TryAgain),
    "preflight": (skycore, lambda one: one.preflight("35674", None), TryAgain),
    "a ticket": (skycore, lambda one: one.send(skycore_scripted.ticket()), OutcomeUnknown),
}


async def dripping(talk: Conversation) -> None:
    await talk.request()
    await talk.say(OK_HEAD + b"Content-Length: 100000\r\n\r\n")
    while True:
        await talk.say(b" ")
        await asyncio.sleep(0.05)


async def informing(talk: Conversation) -> None:
    await talk.request()
    while True:
        await talk.say(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.sleep(0.01)


async def flooding(talk: Conversation) -> None:
    await talk.request()
    await talk.say(OK_HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(100_000)) + b"\r\n{}")


async def pouring(talk: Conversation) -> None:
    await talk.request()
    await talk.say(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    while True:
        await talk.say(piece)


async def bombing(talk: Conversation) -> None:
    await talk.request()
    packed = gzip.compress(gzip.compress(b"\0" * 50 * MIB))
    await talk.say(OK_HEAD + b"Content-Encoding: gzip, gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("behave", [dripping, informing, flooding, pouring, bombing])
async def test_no_call_reads_on_without_end(behave: Callable[..., Any], call: str) -> None:
    opened, made, expected = CALLS[call]
    patience = {} if behave in (dripping, informing) else {"timeout_seconds": 30}
    async with RawServer(behave) as server:
        async with opened(server.url, **patience) as gateway:
            with pytest.raises(expected):
                await made(gateway)
        assert len(server.executed) == 1


def items(phones: list[Phone], title: str) -> list[dict[str, Any]]:
    """As wordy as the documented items get."""
    return [
        {
            "id": f"32039da{number:07}",
            "phone": f"+{phone}",
            "status": "queued",
            "queued": "2026-11-30 09:00:00",
            "parts": 1,
            "error_code": None,
            "error_message": "Incorrect number, or a number that is blocked by its operator",
            "text": title,
        }
        for number, phone in enumerate(phones)
    ]


@pytest.mark.parametrize("count", [1, 200, 100_000])
async def test_the_answer_to_the_largest_send_fits(count: int) -> None:
    phones = [Phone(48_500_000_000 + number) for number in range(count)]
    said = {"success": True, "queued": count, "unsent": 0, "items": items(phones, "😀" * 40)}
    wordy = json.dumps(said, indent=1).encode() if count <= 200 else orjson.dumps(said)
    answer = await Scripted(wordy).gateway.send(MmsRequest("Sale", phones, ["f"]))
    assert {receipt.state for receipt in answer.receipts} == {MessageState.ACCEPTED}


async def test_the_largest_page_of_reports_and_ten_thousand_files_fit() -> None:
    report = {
        "status": "delivered",
        "text": "😀" * 40,
        "reason": "",
        "queued": "2026-11-30 09:00:00",
        "attachments": [{"id": 1}],
    }
    page = [{"id": f"{number:010}", "phone": "+48500600700", **report} for number in range(10_000)]
    assert len((await Scripted({"items": page}).gateway.reports(ids=["a"])).reports) == 10_000
    file = {"name": "poster-with-a-long-name.png", "size": 344_241, "type": "mms", "date": "2026-11-30 09:00:00"}
    files = [{"id": str(number), **file} for number in range(10_000)]
    assert len(await Scripted({"items": files}).gateway.list_files()) == 10_000


async def test_pages_without_end_are_not_read_on() -> None:
    with pytest.raises(TryAgain, match="pages of reports"):
        await Scripted({"paging": {"page": 1, "count": 10**12}, "items": []}).gateway.reports(ids=["a"])


STRANGE = {
    "nested": b"[" * 1000 + b"]" * 1000,
    "nested objects": b'{"a":' * 1000 + b"1" + b"}" * 1000,
    "long digits": b'"' + b"9" * 100_000 + b'"',
    "a huge number": b"1" + b"0" * 18,
    "a huge fraction": b"1e300",
    "NUL": b'"\\u0000"',
    "long blanks": b'"' + b" " * 100_000 + b'"',
}


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("where", ["phone", "id", "error_code", "status"])
async def test_a_strange_value_in_an_item_leaves_its_recipient_unknown(where: str, strange: str) -> None:
    """Nested a thousand deep, a value cannot even be shown as text; a long id, or one with NUL, no ledger could hold."""
    item = {"id": "a", "phone": "+48500600700", "status": "unsent" if where == "error_code" else "queued", where: "STRANGE"}
    other = {"id": "b", "phone": "+48500600701", "status": "queued"}
    document = orjson.dumps({"success": True, "queued": 1, "unsent": 1, "items": [item, other]})
    gateway = Scripted(document.replace(b'"STRANGE"', STRANGE[strange])).gateway
    answer = await gateway.send(MmsRequest("Sale", [PHONE, Phone(PHONE + 1)], ["f"]))
    first, second = answer.receipts
    assert second.state == MessageState.ACCEPTED
    if (where, strange) == ("id", "a huge number"):
        assert first.provider_id == str(10**18), "it may be an id"
    else:
        assert first.state == MessageState.UNKNOWN
        assert first.provider_id in (None, "a")


async def test_ids_that_no_ledger_could_hold_are_no_ids() -> None:
    for bad in ("x" * 65, "a\0b", "a\nb"):
        both = [
            {"id": bad, "phone": "+48500600700", "status": "queued"},
            {"id": "b", "phone": "+48500600701", "status": "queued"},
        ]
        gateway = Scripted({"success": True, "queued": 2, "unsent": 0, "items": both}).gateway
        answer = await gateway.send(MmsRequest("Sale", [PHONE, Phone(PHONE + 1)], ["f"]))
        assert [receipt.provider_id for receipt in answer.receipts] == [None, "b"]
        assert answer.receipts[0].state == MessageState.UNKNOWN
        assert (await Scripted({"items": [{"id": bad, "status": "sent"}]}).gateway.reports(ids=["a"])).reports == []
        with pytest.raises(RequestRefused, match="stored no file"):
            await Scripted({"success": True, "id": bad}).gateway.add_file(url="https://example.com/a.png")
    long = skycore_scripted.response(STATUS="Success", MMSID="35674", TRACKINGID="M" * 65, TO="16501234123")
    with pytest.raises(OutcomeUnknown, match="without one TRACKINGID"):
        await skycore_scripted.Scripted(long).gateway.send(skycore_scripted.ticket())


async def test_words_with_nul_can_be_stored() -> None:
    told = {"id": "a", "status": "undelivered", "reason": "handset\0off", "text": "Sale\0"}
    (report,) = (await Scripted({"items": [told]}).gateway.reports(ids=["a"])).reports
    assert (report.reason, report.title) == ("handsetoff", "Sale")


# What a child process's memory grew by, in KiB, while it made one call to a server that pours hostile bytes.
GROWTH = """
import asyncio, resource, sys
from tests.gateways.test_bounds import CALLS

async def main():
    opened, made, expected = CALLS[sys.argv[2]]
    more = {"response_format": sys.argv[3]} if opened.__name__ == "serwersms" else {}
    async with opened(sys.argv[1], timeout_seconds=120, **more) as gateway:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            await made(gateway)
        except expected as error:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

asyncio.run(main())
"""


def deflated(levels: int) -> bytes:
    body = b"\0" * 100 * MIB
    for _ in range(levels):
        body = zlib.compress(body)
    return body


async def poured(talk: Conversation, head: bytes, piece: bytes, total: int) -> None:
    await talk.request()
    with contextlib.suppress(ConnectionError):
        await talk.say(OK_HEAD + b"Content-Length: %d\r\n\r\n" % total + head)
        for _ in range((total - len(head)) // len(piece)):
            await talk.say(piece)


MEMORY = {
    "50 MB of blanks": (b"", b" " * MIB, 50 * MIB),
    "50 MB of empty objects": (b'{"items":[{}', b",{}" * 300_000, 50 * MIB),
    "50 MB of empty elements": (b"<xml>", b"<a/>" * 250_000, 50 * MIB),
}


@pytest.mark.parametrize("call", ["send", "reports", "list_files", "a ticket"])
@pytest.mark.parametrize("case", [*MEMORY, "nested encodings"])
async def test_the_memory_of_a_process_stays_small_whatever_is_answered(case: str, call: str) -> None:
    async def behave(talk: Conversation) -> None:
        if case != "nested encodings":
            await poured(talk, *MEMORY[case])
            return
        await talk.request()
        packed = deflated(3)
        await talk.say(
            OK_HEAD + b"Content-Encoding: deflate, deflate, deflate\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
        )

    shape = "xml" if "elements" in case else "json"
    async with RawServer(behave) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", GROWTH, server.url, call, shape, stdout=asyncio.subprocess.PIPE, cwd=ROOT
        )
        out, _ = await process.communicate()
    assert int(out) < 48 * 1024, "50 MB took 750 MB, and a nested encoding gigabytes"
