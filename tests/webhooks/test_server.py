"""The receiver over real HTTP: lost tickets settled, news harmless when repeated, reordered or forged."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

from posthorn.delivery.settling.report import Pulled, pull_due_reports
from posthorn.models import MessageState
from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.skycore import SkycoreOptions
from posthorn.settings import Settings
from posthorn.webhooks import intake
from tests.conftest import sandbox_settings
from tests.delivery.event_journey import attendees, send_event, ticket_settings, tickets_of, write_event
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign
from tests.delivery.waiting import until
from tests.webhooks.receiver import SECRET, receiving

SEND = "sendMMSBarcode"


def receiver(settings: Settings) -> AbstractAsyncContextManager[str]:
    return receiving(settings.database_url)


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


async def test_news_by_the_route_of_another_gateway_moves_nothing(box: Sandbox, tmp_path: Path) -> None:
    settings = ticket_settings(box.url, tmp_path)
    await send_event(write_event(tmp_path, attendees(1)), settings)
    known = str(tickets_of(settings)[0].provider_id)
    async with receiver(settings) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.get(f"/{SECRET}/serwersms", params={"id": known, "state": "delivered"})
    assert answer.status_code == 200
    assert tickets_of(settings)[0].state == MessageState.ACCEPTED
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        parked = ledger.execute("SELECT gateway, contradicts FROM parked_report").fetchall()
    assert parked == [("serwersms", "another provider")]


async def test_news_that_comes_before_its_answer_waits_for_it(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "SWEEP_SECONDS", 0.0)
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
        expected = [MessageState.DELIVERED, MessageState.ACCEPTED]
        await until(lambda: [one.state for one in tickets_of(settings)] == expected)


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
            assert (await client.get(path)).status_code == 404


async def sent(box: Sandbox, folder: Path, count: int) -> tuple[Settings, list[str]]:
    """A campaign that was sent, and the ids of its messages, in order."""
    settings = sandbox_settings(box.url, folder)
    await deliver(write_campaign(folder, numbers(count)), settings)
    with sqlite3.connect(folder / "ledger.db") as ledger:
        return settings, [row[0] for row in ledger.execute("SELECT provider_id FROM message ORDER BY line")]


async def test_callbacks_move_messages_on_however_they_are_sent_and_never_back(box: Sandbox, tmp_path: Path) -> None:
    settings, ids = await sent(box, tmp_path, 4)
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=2)
    in_warsaw = f"{at.astimezone(ZoneInfo('Europe/Warsaw')):%Y-%m-%d %H:%M:%S}"
    async with receiver(settings) as url, httpx.AsyncClient(base_url=f"{url}/{SECRET}") as client:

        async def call(message_id: str, state: str, reason: str = "") -> int:
            given = {"id": message_id, "state": state, "date": in_warsaw, "reason": reason}
            return (await client.get("/serwersms", params=given)).status_code

        in_order = [(ids[0], "delivered"), (ids[0], "sent"), (ids[0], "undelivered"), (ids[1], " Undelivered ")]
        assert [await call(*one) for one in in_order] == [200] * 4
        form = {"id": ids[2], "state": "unsent", "reason": "number_is_blacklisted"}
        assert (await client.post("/serwersms", data=form)).status_code == 200
        assert [await call("f" * 10, "delivered"), await call("f" * 10, "delivered")] == [200, 200]
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        moved = ledger.execute("SELECT state, error, delivered_at FROM message ORDER BY line").fetchall()
        parked = ledger.execute("SELECT provider_id, state FROM parked_report").fetchall()
    assert moved == [
        (MessageState.DELIVERED, None, at.timestamp()),
        (MessageState.UNDELIVERED, None, None),
        (MessageState.REJECTED, "number_is_blacklisted", None),
        (MessageState.ACCEPTED, None, None),
    ]
    assert parked == [("f" * 10, MessageState.DELIVERED)]


async def test_a_word_that_reports_do_not_know_moves_nothing_and_has_the_provider_asked(
    box: Sandbox, tmp_path: Path
) -> None:
    settings, ids = await sent(box, tmp_path, 60)
    box.clock.advance(3600)

    def pull(after: float) -> Awaitable[Pulled]:
        return pull_due_reports(settings, lambda: time.time() + after)

    box.faults.replace([{"call": "messages/reports", "fault": "no_items", "times": 1}])
    assert ((await pull(3600)).requests, (await pull(3700)).requests) == (1, 0)
    async with receiver(settings) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.get(f"/{SECRET}/serwersms?id={ids[0]}&state=DELIVRD&date=&reason=")
        assert answer.status_code == 200
        assert (await client.get(f"/{SECRET}/serwersms?id=unheard&state=DELIVRD")).status_code == 200
    assert counted(status_of("sale", settings)) == {"accepted": 60}
    pulled = await pull(3700)
    assert (pulled.requests, pulled.moved, pulled.open) == (1, 50, 10), "of its chunk only"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/guess/serwersms?id=abc&state=delivered", b"", 404),
        ("GET", "/%FF/serwersms?id=abc&state=delivered", b"", 404),
        ("POST", "/guess/serwersms", b"id=abc&state=delivered", 404),
        ("GET", f"/{SECRET}/serwersms?state=delivered", b"", 400),
        ("GET", f"/{SECRET}/serwersms?id={'a' * 65}&state=delivered", b"", 400),
        ("GET", f"/{SECRET}/serwersms?id=a%00b&state=delivered", b"", 400),
        ("GET", f"/{SECRET}/serwersms?id=abc&state={'d' * 20_000}", b"", 400),
        ("POST", f"/{SECRET}/serwersms", b"id=abc&state=" + b"d" * 600_000, 413),
        ("HEAD", f"/{SECRET}/serwersms?id=abc&state=delivered", b"", 404),
    ],
)
async def test_what_is_no_callback_is_refused(method: str, path: str, body: bytes, status: int, tmp_path: Path) -> None:
    settings = ticket_settings("http://127.0.0.1:1", tmp_path)
    form = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
    async with receiver(settings) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.request(method, path, content=body, headers=form)).status_code == status
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        assert ledger.execute("SELECT count(*) FROM parked_report").fetchone() == (0,)


async def test_news_that_cannot_be_kept_is_not_acknowledged(box: Sandbox, tmp_path: Path) -> None:
    settings, ids = await sent(box, tmp_path, 1)
    async with receiver(settings) as url, httpx.AsyncClient(base_url=url) as client:
        with sqlite3.connect(tmp_path / "ledger.db") as ledger:
            ledger.execute("CREATE TRIGGER full BEFORE UPDATE ON message BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        news = f"/{SECRET}/serwersms?id={ids[0]}&state=delivered"
        assert (await client.get(news)).status_code == 503
        with sqlite3.connect(tmp_path / "ledger.db") as ledger:
            ledger.execute("DROP TRIGGER full")
        assert (await client.get(news)).status_code == 200
    assert counted(status_of("sale", settings)) == {"delivered": 1}


@pytest.mark.parametrize("name", ["xml", "XML"])
@pytest.mark.parametrize("file", [None, "postback.xml"])
async def test_a_multipart_form_is_read(name: str, file: str | None, box: Sandbox, tmp_path: Path) -> None:
    settings = ticket_settings(box.url, tmp_path)
    await send_event(write_event(tmp_path, attendees(1)), settings)
    (ticket,) = tickets_of(settings)
    body = postback(str(ticket.provider_id), "N102", "Message Sent/Delivered")
    async with receiver(settings) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.post(f"/{SECRET}/skycore", files={name: (file, body)})
        assert (answer.status_code, answer.text) == (200, "ok\n")
        empty = await client.post(f"/{SECRET}/skycore", files={"other": (file, body)})
        assert empty.status_code == 400
        large = await client.post(f"/{SECRET}/skycore", files={name: (file, body + b" " * 600_000)})
        assert large.status_code == 413
    assert counted(status_of("gala", settings)) == {"delivered": 1}


async def test_what_is_no_text_is_refused_and_what_is_not_there_gives_nothing_away(tmp_path: Path) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    async with receiver(ticket_settings("http://127.0.0.1:1", tmp_path)) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.post(f"/{SECRET}/serwersms", content=b"id=7&state=delivered&reason=\xb3", headers=form)
        assert answer.status_code == 400
        for method, path in [("GET", f"/{SECRET}/skycore"), ("PUT", f"/{SECRET}/serwersms"), ("GET", "/x/skycore")]:
            answer = await client.request(method, path)
            assert (answer.status_code, answer.headers.get("allow")) == (404, None)
