"""The probe against the sandbox in five characters: every line of its table is right, and nothing is sent without leave."""

from __future__ import annotations

import asyncio
import re
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from posthorn.delivery.provider.probe import hold_words, probe, probed, recording
from posthorn.delivery.running.place import account_of
from posthorn.errors import CredentialsRefused, InputError
from posthorn.gateways import registry
from posthorn.gateways.probing import NEEDS_SEND_TO, NEEDS_TEST_NUMBER, ProbeOrder, Reliance
from posthorn.gateways.registry import by_name
from posthorn.gateways.serwersms.probe import picture
from posthorn.ledger import accounts
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Observation, Phone, Verdict
from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.settings import Settings, SkycoreSettings
from posthorn.views.provider import probe_table
from tests.conftest import sandbox_settings
from tests.gateways.toy.descriptor import TOY

OWN, ANOTHER = Phone(48500999888), Phone(48500777666)
SERWERSMS, SKYCORE = by_name("serwersms"), by_name("skycore")
CONFIRMED, OTHER, UNCLEAR = Verdict.CONFIRMED, Verdict.OTHER, Verdict.UNCLEAR

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=0) as sandbox:
        yield sandbox


@pytest.fixture
def box(shared: Sandbox) -> Sandbox:
    """The one sandbox of this file, as new."""
    shared.reset()
    return shared


async def nap(seconds: float) -> None:
    """A wait that takes no time; the sandbox's messages grow old meanwhile by themselves."""
    await asyncio.sleep(0)


async def told(settings: Settings, **order: Any) -> dict[str, Observation]:
    """What the probe tells, by what it relies on."""
    found = await probe(SERWERSMS, settings, wait=nap, report_seconds=20.0, **order)
    assert len({one.relies for one in found}) == len(found), "each line is one thing"
    return {one.relies: one for one in found}


def verdicts(found: dict[str, Observation]) -> dict[str, Verdict]:
    return {relies: one.verdict for relies, one in found.items()}


FREE = {
    "account/limits says how many MMS are left": CONFIRMED,
    "a title has at most 40 characters": CONFIRMED,
    "answers in XML say the same as those in JSON": CONFIRMED,
    "error/3103 explains a code": CONFIRMED,
    "a file comes in a multipart body": CONFIRMED,
    "a file comes as the field of a form": CONFIRMED,
    "a file comes as base64 text": CONFIRMED,
    "files from disk can be uploaded": CONFIRMED,
    "files/index shows what was uploaded": CONFIRMED,
    "a listed file has the size of what was uploaded": CONFIRMED,
    "files/view shows a file by its id": CONFIRMED,
    "dates are in the zone of the settings, and the clocks agree": CONFIRMED,
    "messages/reports of a window without messages is empty": CONFIRMED,
    "messages/reports takes type, page, limit and order": CONFIRMED,
    "messages/view says of an unknown id that there is none": CONFIRMED,
    "blacklist/index answers in pages": CONFIRMED,
    "files/delete deletes a file": CONFIRMED,
}
CHECKED = {
    "a send with test=true is answered with an id for each number": CONFIRMED,
    "so it is in the other format": CONFIRMED,
    "date is taken as 2026-11-30 09:00": CONFIRMED,
    "a title of 41 characters is refused": CONFIRMED,
    "a file that is not there is refused, though the send is only checked": CONFIRMED,
    "test=true sends nothing and costs nothing": CONFIRMED,
}
SENT = {
    "a message with a date is kept, listed as saved, and withdrawn": CONFIRMED,
    "what was withdrawn is not listed any more": CONFIRMED,
    "a real message is taken, and listed by number and time": CONFIRMED,
    "reports show the title as it was sent": CONFIRMED,
    "reports date a message when it was taken": CONFIRMED,
    "a report of its delivery comes": CONFIRMED,
}
BY_DEFAULT = {**FREE, **dict.fromkeys([*CHECKED, *SENT], UNCLEAR)}
TEST_ACCOUNT = {"files/index shows what was uploaded": OTHER}
REENCODES = {"a listed file has the size of what was uploaded": OTHER}
NO_MULTIPART = {"a file comes in a multipart body": OTHER}
HOUR_OFF = {"dates are in the zone of the settings, and the clocks agree": OTHER}


@pytest.mark.parametrize(
    ("account", "differs", "encoding"),
    [
        ("documented", {}, "multipart"),
        ("test", TEST_ACCOUNT, "multipart"),
        ("reencodes", REENCODES, "multipart"),
        ("no-multipart", NO_MULTIPART, "form"),
    ],
)
async def test_each_character_is_told_line_by_line_and_nothing_is_sent(
    box: Sandbox, tmp_path: Path, account: str, differs: dict[str, Verdict], encoding: str
) -> None:
    box.serwersms.account.become({"account": account})
    found = await told(sandbox_settings(box.url, tmp_path))
    assert verdicts(found) == {**BY_DEFAULT, **differs}
    assert found["files from disk can be uploaded"].value == encoding
    assert {found[relies].seen for relies in CHECKED} == {NEEDS_TEST_NUMBER}
    assert {found[relies].seen for relies in SENT} == {NEEDS_SEND_TO}
    assert (box.truth()["send_requests"], box.truth()["accepted"]) == (0, 0)
    assert box.serwersms.account.files == {}, "what was uploaded is deleted again"


@pytest.mark.parametrize(("encoding", "garbled"), [("form", "base64"), ("base64", None), ("multipart", None)])
async def test_the_encoding_that_counts_is_found(box: Sandbox, tmp_path: Path, encoding: str, garbled: str | None) -> None:
    box.serwersms.account.become({"upload": encoding})
    found = await told(sandbox_settings(box.url, tmp_path))
    assert found["files from disk can be uploaded"].value == encoding
    ours = {
        "multipart": "a file comes in a multipart body",
        "form": "a file comes as the field of a form",
        "base64": "a file comes as base64 text",
    }
    assert {name: found[relies].verdict for name, relies in ours.items()} == {
        name: CONFIRMED if name == encoding else OTHER for name in ours
    }
    if garbled:
        assert "that is its base64 text, not the picture" in found[ours[garbled]].seen


async def test_an_hour_off_is_measured_and_whose_hour_it_is(tmp_path: Path) -> None:
    async with Sandbox(speed=0, skew_seconds=3600) as box:
        settings = sandbox_settings(box.url, tmp_path)
        found = await told(settings)
        clock = found["dates are in the zone of the settings, and the clocks agree"]
        assert verdicts(found) == {**BY_DEFAULT, **HOUR_OFF}
        assert 3595 <= float(clock.value) <= 3605
        assert "so is the Date of its answers: one of the clocks is off" in clock.seen
        ledger = Ledger(settings.database_url)
        try:
            assert 3595 <= account_of(ledger, SERWERSMS, settings).clock_offset_seconds <= 3605
        finally:
            ledger.close()


async def test_another_zone_is_told_from_a_wrong_clock(tmp_path: Path) -> None:
    async with Sandbox(speed=0, zone="Etc/GMT-3") as box:
        found = await told(sandbox_settings(box.url, tmp_path, timezone="Etc/GMT-1"))
        clock = found["dates are in the zone of the settings, and the clocks agree"]
        assert (clock.verdict, clock.value) == (OTHER, ""), "files may be dated otherwise than messages"
        assert re.fullmatch(r"its dates are 7,(200|199) s ahead of ours: another zone\? --send-to shows .*", clock.seen)


async def test_the_zone_of_messages_is_measured_by_a_message(tmp_path: Path) -> None:
    async with Sandbox(speed=0, zone="Etc/GMT-3") as box:
        settings = sandbox_settings(box.url, tmp_path, timezone="Etc/GMT-1")
        found = await told(settings, send_to=OWN)
        clock = found["reports date a message when it was taken"]
        assert (clock.verdict, abs(float(clock.value) - 7200) <= 5) == (OTHER, True)
        assert clock.seen.endswith("s ahead of ours: set POSTHORN_SERWERSMS__TIMEZONE to its zone")
        ledger = Ledger(settings.database_url)
        try:
            assert abs(account_of(ledger, SERWERSMS, settings).clock_offset_seconds - 7200) <= 5
        finally:
            ledger.close()


async def test_checked_sends_go_to_the_number_that_was_named_and_nowhere(box: Sandbox, tmp_path: Path) -> None:
    found = await told(sandbox_settings(box.url, tmp_path), test_number=OWN)
    assert verdicts(found) == {**BY_DEFAULT, **CHECKED}
    assert (box.truth()["send_requests"], box.truth()["accepted"]) == (5, 0)


async def test_what_our_own_client_forbids_is_asked_for_without_sending_it(box: Sandbox, tmp_path: Path) -> None:
    box.serwersms.account.options = replace(box.serwersms.account.options, title_limit=80)
    found = await told(sandbox_settings(box.url, tmp_path), test_number=OWN)
    assert (found["a title of 41 characters is refused"].verdict, box.truth()["accepted"]) == (OTHER, 0)


async def test_an_account_that_ignores_test_is_seen_to_send(box: Sandbox, tmp_path: Path) -> None:
    box.serwersms.account.options = replace(box.serwersms.account.options, ignores_test=True)
    found = await told(sandbox_settings(box.url, tmp_path), test_number=OWN)
    assert found["test=true sends nothing and costs nothing"].verdict is OTHER
    assert set(box.serwersms.counts(None)) == {f"+{OWN}"}, "to nobody else"


async def test_one_message_is_held_and_withdrawn_and_one_is_delivered(box: Sandbox, tmp_path: Path) -> None:
    box.clock.set_speed(30.0)
    settings = sandbox_settings(box.url, tmp_path)
    steps: list[str] = []

    async def wait(seconds: float) -> None:
        box.clock.advance(seconds)
        await asyncio.sleep(0)

    found = await probe(SERWERSMS, settings, wait=wait, say=steps.append, send_to=OWN, report_seconds=120.0)
    assert verdicts({one.relies: one for one in found}) == {**BY_DEFAULT, **SENT}
    truth = box.serwersms.truth()
    assert (truth["accepted"], truth["withdrawn"]) == (2, 1)
    assert set(box.serwersms.counts(None)) == {f"+{OWN}"}
    assert [step.partition(",")[0] for step in steps][:2] == [
        "sending one message to be held for 30 minutes",
        "sending one real message",
    ]
    ledger = Ledger(settings.database_url)
    try:
        assert hold_words(ledger, SERWERSMS, settings)[0]
    finally:
        ledger.close()


async def test_a_held_message_whose_answer_is_lost_is_withdrawn_all_the_same(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": "messages/send_mms", "at": [1], "fault": "close_after"}])
    found = await told(sandbox_settings(box.url, tmp_path), send_to=OWN)
    held = found["a message with a date is kept, listed as saved, and withdrawn"]
    assert (held.verdict, held.seen.rpartition("; ")[2]) == (UNCLEAR, "it had been taken, and was withdrawn")
    assert (box.serwersms.truth()["withdrawn"], box.serwersms.truth()["scheduled"]) == (1, 0)


async def test_who_stops_waiting_for_a_held_message_gets_none(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": "messages/reports", "fault": "page_empty"}])  # so that it waits for the message to show
    waiting = asyncio.Event()

    async def wait(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    probing = asyncio.create_task(probe(SERWERSMS, sandbox_settings(box.url, tmp_path), wait=wait, send_to=OWN))
    await waiting.wait()
    probing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probing
    truth = box.serwersms.truth()
    assert (truth["accepted"], truth["withdrawn"], truth["scheduled"]) == (1, 1, 0)
    assert box.serwersms.account.files == {}


async def test_it_is_the_same_in_xml(box: Sandbox, tmp_path: Path) -> None:
    settings = sandbox_settings(box.url, tmp_path, response_format="xml")
    assert verdicts(await told(settings, test_number=OWN)) == {**BY_DEFAULT, **CHECKED}


async def test_what_could_not_be_told_leaves_what_was_known(box: Sandbox, tmp_path: Path) -> None:
    settings = sandbox_settings(box.url, tmp_path)
    ledger = Ledger(settings.database_url)
    key = SERWERSMS.account(settings).key
    try:
        accounts.keep(ledger, "serwersms", key, "hold", verdict="confirmed", value="yes", seen="earlier")
        await told(settings)
        known = accounts.findings(ledger, "serwersms", key)
    finally:
        ledger.close()
    assert known["hold"].seen == "earlier"
    assert (known["upload"].value, known["lists_files"].value, known["file_clock"].value) == ("multipart", "yes", "0")
    assert "test_free" not in known


async def test_refused_credentials_are_an_error_not_a_table(box: Sandbox, tmp_path: Path) -> None:
    settings = sandbox_settings(box.url, tmp_path)
    settings.serwersms.token = type(settings.serwersms.token)("wrong")
    with pytest.raises(CredentialsRefused):
        await told(settings)


@pytest.mark.parametrize("call", ["files/add", "files/index", "messages/reports", "messages/view", "blacklist/index"])
@pytest.mark.parametrize("fault", [{"fault": "status_before", "status": 500}, {"fault": "error_code", "code": 1005}])
async def test_a_call_that_fails_is_a_line_and_the_rest_goes_on(
    box: Sandbox, tmp_path: Path, call: str, fault: dict[str, Any]
) -> None:
    box.faults.replace([{"call": call, **fault}])
    found = await told(sandbox_settings(box.url, tmp_path))
    assert set(found) == set(BY_DEFAULT)
    assert CONFIRMED in set(verdicts(found).values())
    assert verdicts(found) != BY_DEFAULT


async def test_skycore_is_asked_what_costs_nothing(box: Sandbox, tmp_path: Path) -> None:
    settings = sandbox_settings(box.url, tmp_path)
    settings.skycore = SkycoreSettings(base_url=f"{box.url}/API/wxml/1.3/index.php", api_key="sandbox-key")
    found = {one.subject: one.verdict for one in await probe(SKYCORE, settings)}
    assert found == {
        "post": CONFIRMED,
        "raw": CONFIRMED,
        "get": UNCLEAR,
        "templates": CONFIRMED,
        "campaigns": CONFIRMED,
        "barcode": UNCLEAR,
        "repeated_code": UNCLEAR,
    }
    assert box.truth()["send_requests"] == 0


# -- A third gateway ------------------------------------------------------------------------------------------------------


async def test_a_third_gateway_has_a_probe_by_its_descriptor_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def observed(_: Settings, order: ProbeOrder) -> AsyncIterator[Observation]:
        yield Reliance("hold", "it keeps messages back", "its page").judged(order.send_to == OWN, "seen", "yes")

    toy = replace(TOY, probe=observed)
    monkeypatch.setattr(registry, "GATEWAYS", (*registry.GATEWAYS, toy))
    monkeypatch.setenv("TOY_TOKEN", "t")
    settings = sandbox_settings("http://127.0.0.1:1", tmp_path)
    assert toy in probed(None, settings)
    assert [one.verdict for one in await probe(toy, settings, send_to=OWN)] == [CONFIRMED]
    ledger = Ledger(settings.database_url)
    try:
        assert hold_words(ledger, toy, settings)[0]
        assert not hold_words(ledger, SERWERSMS, settings)[0]
    finally:
        ledger.close()


# -- The saved exchange ---------------------------------------------------------------------------------------------------

SECRET, PASSWORD = "sandbox-token", "p4ss&word żółć"


@pytest.mark.parametrize("login", [False, True])
async def test_a_saved_exchange_holds_no_number_and_no_secret(tmp_path: Path, login: bool) -> None:
    options = SerwerSmsOptions(username="webapi_ops", password=PASSWORD)
    async with Sandbox(speed=0, serwersms=options) as box:
        for phone in ("+48500600700", "+48512345678"):
            box.serwersms.account.block(phone)
        box.serwersms.account.add_file("faktura 500 600 700.png", 5, "mms")
        settings = sandbox_settings(box.url, tmp_path)
        if login:
            settings.serwersms.token = None
            settings.serwersms.username = "webapi_ops"
            settings.serwersms.password = type(SkycoreSettings(api_key="x").api_key)(PASSWORD)
        path = tmp_path / "exchange.jsonl"
        with recording([SERWERSMS, SKYCORE], settings, path) as tap:
            await told(settings, test_number=OWN, send_to=ANOTHER, tap=tap)
    text = path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert text.count("\n") > 25
    assert "messages/send_mms" in text
    assert "2001-01-01 01:00:00" in text, "dates stay"
    for digits in ("500999888", "500777666", "500600700", "512345678", "500 600 700"):
        assert digits not in text
    for secret in (SECRET, PASSWORD, "webapi_ops", "p4ss", "Bearer"):
        assert secret not in text
    assert not re.search(r"\d{7}", text)


async def test_a_file_that_cannot_be_written_is_found_before_anything_is_asked(box: Sandbox, tmp_path: Path) -> None:
    settings = sandbox_settings(box.url, tmp_path)
    with pytest.raises(InputError, match="cannot be written"), recording([SERWERSMS], settings, tmp_path / "no" / "x"):
        raise AssertionError
    assert box.truth()["requests"] == {}


async def test_the_table_fits_a_terminal_and_escapes_what_the_provider_says() -> None:
    table = probe_table([Observation("x", "a thing", "a page", OTHER, "\x1b[2J said")])
    assert "\x1b" not in table
    assert max(map(len, table.splitlines())) < 170


async def test_the_picture_is_one() -> None:
    from io import BytesIO  # noqa: PLC0415

    from PIL import Image  # noqa: PLC0415

    with Image.open(BytesIO(picture())) as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (32, 32))
