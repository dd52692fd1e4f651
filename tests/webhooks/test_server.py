"""The receiver over real HTTP: lost tickets settled, news harmless when repeated, reordered or forged."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from posthorn.ledger.store import Ledger
from posthorn.models import MessageState
from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.skycore import SkycoreOptions
from posthorn.settings import Settings
from posthorn.webhooks.server import application
from tests.delivery.event_journey import attendees, send_event, ticket_settings, tickets_of, write_event
from tests.delivery.journey import counted, status_of

SECRET = "s3cret-that-nobody-can-guess"
SEND = "sendMMSBarcode"


@asynccontextmanager
async def receiver(settings: Settings) -> AsyncIterator[str]:
    ledger = Ledger(settings.database_url)
    runner = web.AppRunner(application(ledger, SECRET), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        ledger.close()


def postback(tracking_id: str, code: str, status: str, phone: str = "16502530000") -> bytes:
    return (
        f"<POSTBACK><CODE>{code}</CODE><STATUS>{status}</STATUS><MMSID>35674</MMSID><TO>{phone}</TO>"
        f"<TRACKINGID>{tracking_id}</TRACKINGID></POSTBACK>"
    ).encode()


@pytest.mark.parametrize("shape", ["new", "old"])
@pytest.mark.parametrize("sent_as", ["raw", "xml"])
async def test_a_late_postback_settles_the_ticket_whose_answer_was_lost(shape: str, sent_as: str, tmp_path: Path) -> None:
    settings = ticket_settings("http://127.0.0.1:1", tmp_path)
    async with receiver(settings) as url:
        options = SkycoreOptions(
            postback_url=f"{url}/{SECRET}/skycore", postback_shape=shape, postback_as=sent_as, postback_duplicates=0.5
        )
        async with Sandbox(speed=0, skycore=options) as box:
            settings = ticket_settings(box.url, tmp_path)
            box.faults.replace(
                [{"call": SEND, "at": [3], "fault": "reset_after"}, {"call": SEND, "at": [7], "fault": "empty"}]
            )
            assert counted(await send_event(write_event(tmp_path, attendees(20)), settings)) == {
                "accepted": 18,
                "unknown": 2,
            }
            box.clock.advance(3600)
            async with httpx.AsyncClient() as client:
                flushed = (await client.post(f"{box.url}/_sandbox/postbacks", json={"flush": True})).json()
            assert flushed["acknowledged"] >= 40
    assert counted(status_of("gala", settings)) == {"delivered": 20}
    assert box.truth()["skycore"]["twice"] == 0


async def test_news_is_harmless_repeated_reordered_and_forged(box: Sandbox, tmp_path: Path) -> None:
    settings = ticket_settings(box.url, tmp_path)
    await send_event(write_event(tmp_path, attendees(1)), settings)
    (ticket,) = tickets_of(settings)
    known = str(ticket.provider_id)
    async with receiver(settings) as url, httpx.AsyncClient(base_url=url) as client:
        for code, status in [
            ("N102", "Message Sent/Delivered"),
            ("N101", "Message Sent"),
            ("N102", "Message Sent/Delivered"),
            ("E102", "Message Sent/Expired"),
        ]:
            answer = await client.post(f"/{SECRET}/skycore", content=postback(known, code, status))
            assert answer.status_code == 200
        forged = await client.post(f"/{SECRET}/skycore", content=postback("MMS_999", "E101", "Message Failed"))
        assert forged.status_code == 200
    (ticket,) = tickets_of(settings)
    assert ticket.state == MessageState.DELIVERED, "a final state never goes back"
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        assert ledger.execute("SELECT provider_id FROM parked_report").fetchall() == [("MMS_999",)]


async def test_news_that_comes_before_its_answer_waits_for_it(box: Sandbox, tmp_path: Path) -> None:
    settings = ticket_settings(box.url, tmp_path)
    file = write_event(tmp_path, attendees(2))
    async with receiver(settings) as url, httpx.AsyncClient(base_url=url) as client:
        await send_event(file, settings)
        first, second = tickets_of(settings)
        with sqlite3.connect(tmp_path / "ledger.db") as ledger:  # as if the answer had not been recorded yet
            ledger.execute("UPDATE message SET provider_id = NULL, state = 0 WHERE line = 2")
        await client.post(f"/{SECRET}/skycore", content=postback(str(first.provider_id), "N102", "Message Sent/Delivered"))
        with sqlite3.connect(tmp_path / "ledger.db") as ledger:
            ledger.execute("UPDATE message SET provider_id = ?, state = 1 WHERE line = 2", (first.provider_id,))
        await client.post(f"/{SECRET}/skycore", content=postback(str(second.provider_id), "N101", "Message Sent"))
    assert [one.state for one in tickets_of(settings)] == [MessageState.DELIVERED, MessageState.ACCEPTED]


async def test_of_two_unknown_tickets_of_one_number_nobody_can_tell_which(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "fault": "reset_after", "at": [1, 2]}])
    settings = ticket_settings(box.url, tmp_path, concurrency=1)
    await send_event(write_event(tmp_path, ["+16502530000,A1", "+16502530000,A2"]), settings)
    async with receiver(settings) as url, httpx.AsyncClient(base_url=url) as client:
        assert (
            await client.post(f"/{SECRET}/skycore", content=postback("MMS_1", "N101", "Message Sent"))
        ).status_code == 200
    assert counted(status_of("gala", settings)) == {"unknown": 2}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/guess/skycore", postback("M", "N101", ""), 404),
        (f"/{SECRET}/other", postback("M", "N101", ""), 404),
        ("/", b"", 404),
        (f"/{SECRET}/skycore", b"<html>", 400),
        (f"/{SECRET}/skycore", b"<POSTBACK>" + b"x" * 10_000_000, 413),
    ],
)
async def test_what_is_no_postback_is_refused(path: str, body: bytes, status: int, tmp_path: Path) -> None:
    settings = ticket_settings("http://127.0.0.1:1", tmp_path)
    async with receiver(settings) as url, httpx.AsyncClient(base_url=url) as client:
        try:
            answered = (await client.post(path, content=body)).status_code
        except httpx.HTTPError:  # a server may hang up on ten megabytes before they are all written
            answered = 413
        assert answered == status
        if path.startswith(f"/{SECRET}/skycore"):
            assert (await client.get(path)).status_code == 405
