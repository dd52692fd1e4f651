"""`campaign resend`: what failed goes out once more by the next run, and what was taken only if that is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posthorn.cli import command
from posthorn.delivery.deciding.resend import resend_all
from posthorn.delivery.planning.merge import Consent
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.running.run import open_lookup, open_run
from posthorn.delivery.settling.copies import find_second_copies
from posthorn.ledger import suppression
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import Kind, OptOut, Phone, Scope
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign

SEND = "messages/send_mms"
REASON = ("--why", "the picture was refused", "--by", "Ada")


@pytest.fixture
async def sale(box: Sandbox, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten numbers: the first was refused, the others are taken."""
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("POSTHORN_STATE_DIR", str(settings.state_dir))
    box.faults.replace([{"call": SEND, "at": [1], "fault": "item_error", "code": 3103}])
    file = write_campaign(tmp_path, numbers(10))
    assert counted(await deliver(file, settings)) == {"rejected": 1, "accepted": 9}
    return file


async def test_what_failed_goes_out_once_more_and_nothing_else(sale: Path, box: Sandbox, settings: Settings) -> None:
    assert command(["campaign", "resend", "sale", "--failed", *REASON]) == 0
    assert counted(status_of("sale", settings)) == {"pending": 1, "accepted": 9}
    assert counted(await deliver(sale, settings)) == {"accepted": 10}
    truth = box.truth()
    assert (truth["accepted"], truth["twice"]) == (10, 0)
    assert command(["campaign", "resend", "sale", "--failed", *REASON]) == 2
    assert status_of("sale", settings)["second_copies"] == 0


async def test_what_was_taken_is_sent_twice_only_where_that_is_said(
    sale: Path, box: Sandbox, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ("--phone", numbers(10)[0], "--phone", numbers(10)[5])
    assert command(["campaign", "resend", "sale", *named, *REASON]) == 2
    said = capsys.readouterr().err
    assert "1 of them were taken already, as accepted; nothing was changed. Add --although-taken" in said
    assert counted(status_of("sale", settings)) == {"rejected": 1, "accepted": 9}
    assert command(["campaign", "resend", "sale", *named, "--although-taken", "--json", *REASON]) == 0
    assert json.loads(capsys.readouterr().out)["resent"] == 2
    assert counted(await deliver(sale, settings)) == {"accepted": 10}
    truth = box.truth()
    assert (truth["accepted"], truth["twice"]) == (11, 1), "the one that Ada asked for, and no other"


async def test_the_copy_that_was_asked_for_is_no_second_copy(sale: Path, settings: Settings) -> None:
    command(["campaign", "resend", "sale", "--phone", numbers(10)[5], "--although-taken", *REASON])
    await deliver(sale, settings)
    async with open_lookup("sale", settings=settings) as run:
        assert await find_second_copies(run) == 0


REFUSED = {
    "a number that is none": (("--phone", "12"), "expected a number such as"),
    "a stranger": (("--phone", "+48700000000"), "+48 *** *** 000: no message that can be sent again of sale"),
    "neither": ((), "say which messages: --phone NUMBER (repeatable), or --failed"),
    "both": (("--failed", "--phone", "+48500000000"), "say which messages: --phone NUMBER (repeatable), or --failed"),
    "no reason": (("--failed", "--why", " "), "say why it is sent a second time"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_not_clear_is_refused_and_nothing_is_changed(
    case: str, sale: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    which, words = REFUSED[case]
    assert command(["campaign", "resend", "sale", *REASON, *which]) == 2
    assert words in capsys.readouterr().err
    assert counted(status_of("sale", settings)) == {"rejected": 1, "accepted": 9}


async def test_nobody_has_anything_sent_again_beside_a_run(
    sale: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_run("sale", settings=settings):
        assert command(["campaign", "resend", "sale", "--failed", *REASON]) == 3
    assert "already running" in (said := capsys.readouterr().err)
    assert "nothing was changed" in said
    assert counted(status_of("sale", settings)) == {"rejected": 1, "accepted": 9}


async def test_nobody_who_was_taken_out_or_opted_out_is_among_them_and_what_is_known_of_them_stays(
    sale: Path, box: Sandbox, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would not go out; and the message that did go out would be called cancelled, or suppressed."""
    out, opted_out = numbers(10)[8:]
    (tmp_path / "recipients.csv").write_text("\n".join(["phone", *numbers(10)[:8], opted_out]) + "\n", encoding="utf-8")
    plan_file(sale, settings, consent=Consent(accept_missing=True, by="Ada"))
    with open_ledger(settings) as ledger:
        suppression.add(ledger, [OptOut(Phone(int(opted_out)), Scope.MARKETING, "person", "")], by="Ada")
    for number, words in (
        (out, "It was cancelled, so nothing more goes there"),
        (opted_out, "That number must not be messaged"),
    ):
        assert command(["campaign", "resend", "sale", "--phone", number, "--although-taken", *REASON]) == 2
        assert words in capsys.readouterr().err
    assert resend_all(Kind.CAMPAIGN, "sale", by="Ada", why="another picture").resent == 8
    assert counted(await deliver(sale, settings)) == {"accepted": 10}
    assert (box.truth()["accepted"], box.truth()["twice"]) == (17, 7)


@pytest.mark.parametrize("way", ["--failed", "--phone"])
async def test_whose_row_has_left_the_list_is_not_sent_to_until_it_is_back(
    way: str, sale: Path, box: Sandbox, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was refused, so its row may leave without a word; that is no consent to a later send."""
    asked = ["campaign", "resend", "sale", way, *([numbers(10)[0]] if way == "--phone" else []), *REASON]
    box.faults.replace([])
    plan_file(write_campaign(tmp_path, numbers(10)[1:]), settings)
    assert command(asked) == 2
    if way == "--phone":
        assert "Its row has left the list, so nothing more goes there: put it back" in capsys.readouterr().err
    assert counted(await deliver(sale, settings))["rejected"] == 1
    plan_file(write_campaign(tmp_path, numbers(10)), settings)
    assert command(asked) == 0
    assert counted(await deliver(sale, settings)) == {"accepted": 10}
