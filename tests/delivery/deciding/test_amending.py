"""`tickets cancel CODE`, `replace`, `resend --to`: by the sandbox's truth, and beside the list that still says otherwise."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from posthorn.cli import command
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.delivery.event_journey import attendees, send_event, ticket_settings, tickets_of, write_event
from tests.delivery.journey import counted, status_of

WHY = ("--why", "asked at the desk", "--by", "Ada")
NEW_NUMBER = "+16502539999"


@pytest.fixture
async def gala(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Three tickets that were taken."""
    settings = ticket_settings(box.url, tmp_path)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("POSTHORN_STATE_DIR", str(settings.state_dir))
    assert counted(await send_event(write_event(tmp_path, attendees(3)), settings)) == {"accepted": 3}
    return settings


def door(folder: Path) -> dict[str, tuple[str, str]]:
    assert command(["tickets", "export", "gala", "--csv", str(folder / "door.csv"), "--plain"]) == 0
    with (folder / "door.csv").open(encoding="utf-8", newline="") as file:
        return {row["code"]: (row["phone"], row["valid"]) for row in csv.DictReader(file)}


async def test_a_leaked_code_is_void_and_its_owner_gets_another_one(gala: Settings, box: Sandbox, tmp_path: Path) -> None:
    assert command(["tickets", "replace", "gala", "T00001", *WHY]) == 0
    assert counted(await send_event(tmp_path / "gala.toml", gala)) == {"accepted": 3}
    new = tickets_of(gala)[1].barcode
    assert door(tmp_path) == {
        "T00000": ("+16502530000", "yes"),
        new: ("+16502530001", "yes"),
        "T00002": ("+16502530002", "yes"),
        "T00001": ("+16502530001", "no"),
    }
    truth = box.truth()["skycore"]
    assert (truth["accepted"], truth["twice"]) == (4, 0), "the new code once, and no other again"


async def test_a_ticket_goes_to_another_number_and_its_file_still_merges(
    gala: Settings, box: Sandbox, tmp_path: Path
) -> None:
    assert command(["tickets", "resend", "gala", "T00001", "--to", NEW_NUMBER, *WHY]) == 0
    late = write_event(tmp_path, attendees(4))
    assert counted(await send_event(late, gala)) == {"accepted": 4}
    assert door(tmp_path)["T00001"] == (NEW_NUMBER, "yes")
    assert (box.truth()["skycore"]["accepted"], box.truth()["skycore"]["twice"]) == (5, 0)


async def test_who_is_taken_out_is_on_the_door_list_and_gets_nothing_more(gala: Settings, tmp_path: Path) -> None:
    assert command(["tickets", "cancel", "gala", "T00001", *WHY]) == 0
    assert door(tmp_path)["T00001"] == ("+16502530001", "no")
    assert command(["tickets", "resend", "gala", "T00001", *WHY]) == 2
    assert command(["tickets", "replace", "gala", "T00001", *WHY]) == 2
    assert counted(await send_event(tmp_path / "gala.toml", gala)) == {"accepted": 3}


REFUSED = {
    "a code of nobody": (("replace", "gala", "X"), "X: no ticket of gala; nothing was changed"),
    "to a number that is none": (("resend", "gala", "T00001", "--to", "12"), "expected a number such as"),
    "to its own number": (("resend", "gala", "T00001", "--to", "+16502530001"), "the ticket goes to +1 *** *** 001 already"),
    "to, without a code": (("resend", "gala", "--failed", "--to", NEW_NUMBER), "--to needs one code"),
    "nobody to take out": (("cancel", "gala", "T00001", "X"), "X: no ticket of gala; nothing was changed"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_not_clear_is_refused(
    case: str, gala: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, said = REFUSED[case]
    assert command(["tickets", *words, *WHY]) == 2
    assert said in capsys.readouterr().err
    assert counted(status_of("gala", gala)) == {"accepted": 3}
    assert set(door(tmp_path).values()) == {(f"+1650253000{number}", "yes") for number in range(3)}
