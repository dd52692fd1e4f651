"""A restored ledger at the command line: exit 4, the way on that the message names, and the same command again."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.commands import Desk, told
from tests.delivery.event_journey import write_event
from tests.delivery.journey import numbers, write_campaign


def test_a_restored_ledger_stops_the_command_and_the_named_command_lets_it_go_on(
    quick_desk: Desk, box_url: str, tmp_path: Path
) -> None:
    file = write_campaign(tmp_path, numbers(300))
    state, copy = tmp_path / ".posthorn", tmp_path / "copy"
    assert quick_desk.run("doctor").code in (0, 2)  # makes the ledger, empty
    shutil.copytree(state, copy)
    assert quick_desk.run("campaign", "send", str(file)).code == 0
    shutil.rmtree(state)
    shutil.copytree(copy, state)

    refused = quick_desk.run("campaign", "send", str(file))
    assert refused.code == 4
    assert "Nothing was sent. Run `posthorn campaign reconcile sale --pending`" in refused.out + refused.err
    assert "Traceback" not in refused.out + refused.err
    caught_up = quick_desk.run("campaign", "reconcile", "sale", "--pending", "--json")
    assert caught_up.code == 0, caught_up.err
    assert caught_up.json["totals"]["accepted"] == 300
    assert quick_desk.run("campaign", "send", str(file)).code == 0
    assert (told(box_url, "truth")["accepted"], told(box_url, "truth")["twice"]) == (300, 0)


def test_a_restored_ledger_stops_an_event_and_a_person_settles_what_was_claimed(
    quick_desk: Desk, box_url: str, tmp_path: Path
) -> None:
    file = write_event(tmp_path, [f"+1650253{number:04},T{number:05}" for number in range(12)])
    state, copy = tmp_path / ".posthorn", tmp_path / "copy"
    quick_desk.run("doctor")
    shutil.copytree(state, copy)
    assert quick_desk.run("tickets", "send", str(file)).code == 0
    shutil.rmtree(state)
    shutil.copytree(copy, state)

    refused = quick_desk.run("tickets", "send", str(file))
    assert refused.code == 4
    assert "`posthorn tickets reconcile gala --pending`" in refused.out + refused.err
    assert quick_desk.run("tickets", "reconcile", "gala").code == 2
    assert quick_desk.run("tickets", "reconcile", "gala", "--pending").code == 3
    codes = [f"T{number:05}" for number in range(12)]
    assert quick_desk.run("tickets", "resolve", "gala", *codes, "--sent", "--why", "asked").code == 0
    assert quick_desk.run("tickets", "send", str(file)).code == 0
    assert told(box_url, "truth")["skycore"]["accepted"] == 12


def test_the_doctor_says_where_the_marks_are_and_whether_they_can_be_kept(quick_desk: Desk, tmp_path: Path) -> None:
    well = {one["what"]: one for one in quick_desk.run("doctor", "--json").json["findings"]}["guard"]
    assert well["well"]
    assert str(tmp_path / ".local" / "state" / "posthorn" / "marks") in well["seen"]
    beside = quick_desk.run("doctor", "--json", POSTHORN_GUARD_DIR=str(tmp_path / ".posthorn" / "marks"))
    assert not {one["what"]: one for one in beside.json["findings"]}["guard"]["well"]
    (tmp_path / "file").touch()
    broken = quick_desk.run("doctor", "--json", POSTHORN_GUARD_DIR=str(tmp_path / "file"))
    assert "POSTHORN_GUARD_DIR" in {one["what"]: one for one in broken.json["findings"]}["guard"]["advice"]
