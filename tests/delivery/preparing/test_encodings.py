"""However an account takes its files, and whether it lists them or not: the same campaign is sent, once each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from posthorn.delivery.deliver import deliver_campaign
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing import upload, verify
from posthorn.delivery.running.run import open_run
from posthorn.errors import RequestRefused
from posthorn.ledger import accounts
from posthorn.ledger.store.engine import Ledger
from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.settings import Settings
from tests.conftest import sandbox_settings
from tests.delivery.journey import PNG, counted, numbers, status_of, write_campaign

ENCODINGS = ("multipart", "form", "base64")
OWN = "+48500999888"
UNLISTED = [{"call": "files/view", "fault": "error_code", "code": 4001}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=0, serwersms=SerwerSmsOptions(account="documented")) as sandbox:
        yield sandbox


@pytest.fixture
def box(shared: Sandbox) -> Sandbox:
    """The one sandbox of this file, as new."""
    shared.reset()
    return shared


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def sent(file: Path, settings: Settings) -> dict[str, int]:
    """Upload, verify and send it; how its messages stand. What stops it is raised."""
    campaign = plan_file(file, settings)
    async with open_run(campaign.name, settings=settings) as run:
        await upload.upload_media(run)
        await verify.verify_media(run)
        await deliver_campaign(run)
    return counted(status_of(campaign.name, settings))


def known(settings: Settings) -> dict[str, str]:
    ledger = Ledger(settings.database_url)
    try:
        from posthorn.gateways.registry import by_name  # noqa: PLC0415

        key = by_name("serwersms").account(settings).key
        return {subject: one.value for subject, one in accounts.findings(ledger, "serwersms", key).items()}
    finally:
        ledger.close()


def uploads(box: Sandbox) -> int:
    return box.truth()["requests"].get("files/add", 0)


@pytest.mark.parametrize("account", ["documented", "test", "reencodes"])
@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_the_same_campaign_is_sent_once_each(box: Sandbox, tmp_path: Path, encoding: str, account: str) -> None:
    box.serwersms.account.become({"upload": encoding, "account": account})
    settings = sandbox_settings(box.url, tmp_path)
    assert await sent(write_campaign(tmp_path, numbers(60)), settings) == {"accepted": 60}
    (message, *_) = box.serwersms.listed(None, None, 0, 1)
    (file_id,) = message["file_ids"]
    stored = box.serwersms.account.pictures[file_id]
    assert stored.content == PNG or account == "reencodes"
    assert (stored.content or b"").startswith(b"\x89PNG"), "a picture, not a text about one"
    assert box.truth()["twice"] == 0
    assert known(settings)["upload"] == encoding
    assert ("lists_files" in known(settings)) == (account != "test")


async def test_what_worked_is_tried_first_for_the_next_campaign(box: Sandbox, tmp_path: Path) -> None:
    box.serwersms.account.become({"upload": "base64"})
    settings = sandbox_settings(box.url, tmp_path)
    await sent(write_campaign(tmp_path, numbers(2), name="first"), settings)
    assert uploads(box) == len(ENCODINGS)
    file = write_campaign(tmp_path, numbers(2), name="second", title='"Other"')
    (tmp_path / "poster.png").write_bytes(PNG + b"\0")
    assert await sent(file, settings) == {"accepted": 2}
    assert uploads(box) == len(ENCODINGS) + 1


@pytest.mark.parametrize(
    ("account_takes", "setting", "words"),
    [
        ("form", "multipart", "as multipart: SerwerSMS error 2000"),
        ("form", "base64", "as base64: listed with 104 bytes instead of 77: that is its base64 text, not the picture"),
        ("base64", "form", "as form: SerwerSMS error 4002"),
        ("multipart", "base64", "as base64: SerwerSMS error 2000"),
    ],
)
async def test_the_wrong_setting_fails_in_one_clear_line(
    box: Sandbox, tmp_path: Path, account_takes: str, setting: str, words: str
) -> None:
    box.serwersms.account.become({"upload": account_takes})
    with pytest.raises(RequestRefused) as caught:
        await sent(write_campaign(tmp_path, numbers(2)), sandbox_settings(box.url, tmp_path, upload=setting))
    said = str(caught.value)
    assert said.startswith("poster.png: SerwerSMS does not understand the file (")
    assert words in said
    assert "set POSTHORN_SERWERSMS__UPLOAD=auto, or host it on a web server and name its URL in media" in said
    assert "\n" not in said
    assert (box.truth()["accepted"], box.serwersms.account.files) == (0, {}), "and what was garbled does not lie about"


async def test_a_file_refused_in_every_encoding_is_to_be_hosted(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": "files/add", "fault": "error_code", "code": 4002}])
    with pytest.raises(RequestRefused, match=r"as multipart: .*as form: .*as base64: .*Nothing was sent; host it"):
        await sent(write_campaign(tmp_path, numbers(2)), sandbox_settings(box.url, tmp_path))
    assert uploads(box) == len(ENCODINGS)


async def test_a_file_that_is_too_large_is_so_in_every_encoding(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": "files/add", "fault": "error_code", "code": 4000}])
    with pytest.raises(RequestRefused, match=r"poster\.png: SerwerSMS error 4000"):
        await sent(write_campaign(tmp_path, numbers(2)), sandbox_settings(box.url, tmp_path))
    assert uploads(box) == 1


async def test_a_provider_that_saves_pictures_anew_is_a_warning(
    box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box.serwersms.account.become({"account": "reencodes"})
    assert await sent(write_campaign(tmp_path, numbers(2)), sandbox_settings(box.url, tmp_path)) == {"accepted": 2}
    assert "the provider has saved it anew" in caplog.text


# -- The second door ------------------------------------------------------------------------------------------------------


async def test_an_account_that_never_listed_a_file_goes_on_with_a_warning_once_a_lag_is_over(
    box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.serwersms.account.become({"account": "test"})
    box.faults.replace(UNLISTED)
    settings = sandbox_settings(box.url, tmp_path)
    file = write_campaign(tmp_path, numbers(2))
    with pytest.raises(verify.NotListed, match=r"poster\.png: the provider does not list it"):
        await sent(file, settings)
    async with open_run("sale", settings=settings) as run:
        monkeypatch.setattr(verify, "LAG_SECONDS", 0.0)
        assert await verify.verify_media(run) == 1
        await deliver_campaign(run)
    assert counted(status_of("sale", settings)) == {"accepted": 2}
    assert "was never seen to list a file, as test accounts do not" in caplog.text


async def test_an_account_that_lists_files_does_not(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "LAG_SECONDS", 0.0)
    settings = sandbox_settings(box.url, tmp_path)
    await sent(write_campaign(tmp_path, numbers(2), name="first"), settings)
    box.serwersms.account.become({"account": "test"})
    box.faults.replace(UNLISTED)
    with pytest.raises(verify.NotListed, match='TEST_NUMBER to your own number, or verify = "trust"'):
        await sent(write_campaign(tmp_path, numbers(2), name="second", title='"Other"'), settings)
    assert box.truth()["accepted"] == 2


@pytest.mark.parametrize(
    "fault", [UNLISTED[0], {"call": "files/view", "fault": "status_before", "status": 500}], ids=["none there", "broken"]
)
async def test_the_operators_word_will_do(
    box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: dict[str, object]
) -> None:
    box.serwersms.account.become({"account": "test"})
    box.faults.replace([fault])
    file = write_campaign(tmp_path, numbers(2), verify='"trust"')
    assert await sent(file, sandbox_settings(box.url, tmp_path)) == {"accepted": 2}
    assert 'the campaign says verify = "trust"' in caplog.text


async def test_a_garbled_picture_is_not_sent_on_anybodys_word(box: Sandbox, tmp_path: Path) -> None:
    settings = sandbox_settings(box.url, tmp_path)
    campaign = plan_file(write_campaign(tmp_path, numbers(2), verify='"trust"'), settings)
    async with open_run(campaign.name, settings=settings) as run:
        await upload.upload_media(run)
        (stored,) = box.serwersms.account.files.values()
        stored.size = 104
        with pytest.raises(verify.NotListed, match="its base64 text, not the picture"):
            await verify.verify_media(run)


async def test_a_send_that_is_only_checked_proves_files_to_the_operators_own_number(
    box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box.serwersms.account.become({"account": "test"})
    box.faults.replace(UNLISTED)
    settings = sandbox_settings(box.url, tmp_path, test_number=OWN)
    assert await sent(write_campaign(tmp_path, numbers(2)), settings) == {"accepted": 2}
    assert box.truth()["send_requests"] == 2, "one of them with test=true"
    assert box.serwersms.counts(None).get(OWN) is None, "nothing went to it"
    assert "a send with test=true to +48 *** *** 888 took them" in caplog.text
    assert OWN not in caplog.text


async def test_a_checked_send_that_is_refused_stops_it(box: Sandbox, tmp_path: Path) -> None:
    box.serwersms.account.become({"account": "test"})
    settings = sandbox_settings(box.url, tmp_path, test_number=OWN)
    box.faults.replace([*UNLISTED, {"call": "messages/send_mms", "fault": "error_code", "code": 3109}])
    with pytest.raises(RequestRefused, match=r"poster\.png: no list shows it, and a send with test=true .*888 failed.*3109"):
        await sent(write_campaign(tmp_path, numbers(2)), settings)
    assert box.truth()["accepted"] == 0
