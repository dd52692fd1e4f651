"""`posthorn files` and `posthorn account`: what a user can do by hand at the provider, in this process against a sandbox."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from posthorn.cli import command
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.running.run import open_run
from posthorn.models import StoredFile
from posthorn.sandbox.server import Sandbox
from posthorn.settings import load_settings
from posthorn.views.provider import files_table
from tests.delivery.journey import PNG, numbers, write_campaign

LISTED = [f"+48500600{number:03}" for number in range(120)]


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    """A sandbox in a thread of its own: the commands have loops of theirs."""
    loop, box = asyncio.new_event_loop(), Sandbox(speed=0)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(box.start(), loop).result(30)
        yield box
        asyncio.run_coroutine_threadsafe(box.stop(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def box(running: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sandbox:
    running.reset()
    for name, value in running.serwersms.variables(running.url).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "poster.png").write_bytes(PNG)
    return running


@pytest.fixture
def posthorn(box: Sandbox, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        code = command(words)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_file_is_added_listed_viewed_and_deleted(posthorn, box) -> None:
    code, out, err = posthorn("files", "add", "poster.png", "--name", "autumn.png")
    file_id = out.strip()
    assert (code, err) == (0, "poster.png: listed\n")
    code, out, _ = posthorn("files", "list", "--json")
    (entry,) = json.loads(out)
    assert (code, entry["id"], entry["name"], entry["size"], entry["type"]) == (0, file_id, "autumn.png", len(PNG), "mms")
    assert file_id in posthorn("files", "list")[1]
    assert posthorn("files", "view", file_id)[0] == 0
    assert posthorn("files", "delete", file_id)[0] == 2, "no terminal to ask at"
    assert posthorn("files", "delete", file_id, "--yes")[::2] == (0, "deleted 1 of 1\n")
    assert posthorn("files", "list")[1] == "no files; a test account lists none, whatever it holds\n"
    code, _, err = posthorn("files", "view", file_id)
    assert (code, "has no file of that id and type; see `posthorn files list`" in err) == (2, True)
    code, _, err = posthorn("files", "delete", file_id, "--yes")
    assert (code, err.splitlines()[-1]) == (2, f"posthorn: ID: not there, or not deleted: {file_id}")


def test_a_file_by_url_and_one_for_voice(posthorn, box) -> None:
    code, out, _ = posthorn("files", "add", "https://example.com/map.png", "--json")
    assert (code, json.loads(out)["seen"]) == (0, "listed")
    code, out, _ = posthorn("files", "add", "https://example.com/hello.wav", "--type", "voice")
    assert code == 0
    assert [one["id"] for one in json.loads(posthorn("files", "list", "--type", "voice", "--json")[1])] == [out.strip()]
    code, _, err = posthorn("files", "add", "hello.wav", "--type", "voice")
    assert (code, "voice files are taken by URL only" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("files", "add", "nowhere.png"), "nowhere.png"),
        (("files", "add", "notes.exe"), "notes.exe"),
        (("files", "list", "--type", "video"), "--type: expected one of mms, voice"),
        (("files", "list", "--gateway", "skycore"), "--gateway: expected one that keeps files: serwersms"),
        (("account", "limits", "--gateway", "pigeon"), "--gateway: expected one that tells of its account: serwersms"),
        (("account", "explain", "9999"), "CODE: 9999: not a known code or reason"),
        (("account", "blacklist", "12"), "PHONE: too short"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(posthorn, box, words: tuple[str, ...], said: str) -> None:
    code, out, err = posthorn(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_campaign_that_still_needs_a_file_is_named_before_it_is_deleted(posthorn, box, tmp_path: Path) -> None:
    async def planned() -> None:
        settings = load_settings()
        async with open_run(plan_file(write_campaign(tmp_path, numbers(2)), settings).name, settings=settings) as run:
            await upload_media(run)

    asyncio.run(planned())
    (file_id,) = box.serwersms.account.files
    code, _, err = posthorn("files", "delete", file_id, "--yes")
    assert code == 0
    assert err.startswith("sale still needs one of them")


def test_limits_are_what_the_account_may_still_send(posthorn, box) -> None:
    box.serwersms.set_credit(1234, None)
    code, out, _ = posthorn("account", "limits")
    assert code == 0
    assert "1,234" in out
    mms = next(one for one in json.loads(posthorn("account", "limits", "--json")[1]) if one["type"] == "mms")
    assert mms == {"type": "mms", "length": "40/1", "available": True, "left": 1234}


def test_the_blacklist_is_masked_on_the_screen_and_whole_in_a_private_file(posthorn, box, tmp_path: Path) -> None:
    assert posthorn("account", "blacklist")[1] == "nobody is on the blacklist\n"
    for phone in LISTED:
        box.serwersms.account.block(phone)
    code, out, err = posthorn("account", "blacklist", "--out", "all.csv")
    assert code == 0
    assert not any(phone[1:] in out + err for phone in LISTED)
    assert "and 70 more" in out
    rows = (tmp_path / "all.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [phone[1:] for phone in LISTED], "over two pages"
    assert stat.S_IMODE((tmp_path / "all.csv").stat().st_mode) == 0o600
    assert json.loads(posthorn("account", "blacklist", "--json")[1])["count"] == len(LISTED)
    assert posthorn("account", "blacklist", "500 600 007")[1] == "+48 *** *** 007: on the blacklist\n"
    assert posthorn("account", "blacklist", "500600999")[1] == "+48 *** *** 999: not on the blacklist\n"


def test_a_code_is_explained_in_our_words_and_in_the_providers(posthorn, box, monkeypatch: pytest.MonkeyPatch) -> None:
    assert posthorn("account", "explain", "3103")[1] == (
        "serwersms 3103: invalid recipient number (the provider: SendError: Incorrect number)\n"
    )
    assert posthorn("account", "explain", "E713")[1].startswith("skycore E713: ")
    assert "on the blacklist" in posthorn("account", "explain", "number_is_blacklisted")[1]
    monkeypatch.delenv("POSTHORN_SERWERSMS__TOKEN")
    assert posthorn("account", "explain", "3103")[1] == "serwersms 3103: invalid recipient number\n"


def test_an_id_that_looks_like_a_number_is_shown_as_it_is() -> None:
    shown = files_table(
        [StoredFile("12345e6789", "a.png", 1234, "mms", "2026-11-30 09:00:00"), StoredFile("1", "", None, "", "")]
    )
    assert "12345e6789" in shown
    assert "1,234" in shown


# -- Probe ----------------------------------------------------------------------------------------------------------------


def test_a_probe_sends_nothing_shows_a_table_and_doctor_knows_it_after(posthorn, box, tmp_path: Path) -> None:
    code, out, err = posthorn("account", "probe", "--save", "exchange.jsonl")
    assert (code, err) == (0, "the exchange, without secrets and numbers: exchange.jsonl\n")
    assert "files/index shows what was uploaded" in out
    assert "cannot tell without --test-number" in " ".join(out.split())
    assert box.truth()["send_requests"] == 0
    assert "sandbox-token" not in (tmp_path / "exchange.jsonl").read_text()
    shown = json.loads(posthorn("doctor", "--json")[1])["findings"]
    known = {one["what"]: one for one in shown if one["what"].startswith("SerwerSMS: ")}
    assert known["SerwerSMS: upload"]["seen"].startswith("confirmed: as multipart (20")
    assert known["SerwerSMS: file_clock"]["well"]


def test_an_account_that_was_never_probed_is_named_with_the_command(posthorn, box) -> None:
    shown = json.loads(posthorn("doctor", "--json")[1])["findings"]
    (never,) = [one for one in shown if one["what"] == "SerwerSMS account"]
    assert (never["well"], never["advice"]) == (True, "posthorn account probe --gateway serwersms")


def test_what_is_other_than_we_rely_on_is_exit_code_3(posthorn, box) -> None:
    box.serwersms.account.become({"account": "reencodes"})
    code, out, _ = posthorn("account", "probe", "--json")
    assert code == 3
    (other,) = [one for one in json.loads(out) if one["verdict"] == "other"]
    assert (other["gateway"], other["subject"]) == ("serwersms", "file_size")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--send-to", "+48500600700"),
            "--yes: there is no terminal to ask at; --send-to sends real messages",
        ),
        (("--send-to", "12", "--yes"), "PHONE: too short"),
        (("--gateway", "pigeon"), "--gateway: expected one that can be probed: serwersms, skycore"),
        (("--gateway", "skycore"), "POSTHORN_SKYCORE__API_KEY"),
    ],
)
def test_a_probe_that_cannot_be_is_one_sentence(posthorn, box, words: tuple[str, ...], said: str) -> None:
    code, out, err = posthorn("account", "probe", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert box.truth()["requests"] == {}


def test_a_probe_without_credentials_names_the_variables(posthorn, box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTHORN_SERWERSMS__TOKEN")
    code, _, err = posthorn("account", "probe")
    assert code == 2
    assert "POSTHORN_SERWERSMS__TOKEN" in err
    assert "POSTHORN_SKYCORE__API_KEY" in err
