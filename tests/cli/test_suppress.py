"""`posthorn suppress`: what an operator puts on the list holds, is shown masked, and is written in full to a file only."""

from __future__ import annotations

import csv
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from posthorn.cli import command
from posthorn.delivery.planning.plan import plan_file
from posthorn.settings import load_settings
from tests.delivery.journey import numbers, status_of, write_campaign

ONE, OTHER = "+48500600700", "+48500600701"
MASKED = "+48 *** *** 700"


class Said(NamedTuple):
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSTHORN_SERWERSMS__BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("USER", "ann")
    monkeypatch.delenv("LOGNAME", raising=False)

    def run(*arguments: str) -> Said:
        code = command(["suppress", *arguments])
        return Said(code, *capsys.readouterr())

    return run


def test_whoever_is_added_is_left_out_of_the_next_campaign(run: Run, tmp_path: Path) -> None:
    said = run("add", "500 000 001", "+48500000002", "--why", "wrote to us")
    assert (said.code, said.out) == (0, "2 numbers added for marketing\n")
    plan_file(write_campaign(tmp_path, numbers(4)), load_settings())
    status = status_of("sale", load_settings())
    assert (status["totals"]["suppressed"], status["totals"]["pending"]) == (2, 2)


def test_adding_again_says_that_it_is_listed(run: Run) -> None:
    run("add", ONE)
    assert run("add", ONE, OTHER, "--json").json == {"given": 2, "new": 1, "scope": "marketing"}
    assert run("add", ONE).out == "0 numbers added for marketing; 1 were listed already\n"


def test_nothing_is_added_where_one_number_is_none(run: Run) -> None:
    said = run("add", ONE, "12")
    assert said.code == 2
    assert run("list", "--json").json["count"] == 0


def test_a_check_tells_the_whole_story(run: Run) -> None:
    run("add", ONE, "--why", "wrote to us")
    run("add", ONE, "--scope", "all", "--why", "phoned", "--by", "bob")
    run("remove", ONE, "--scope", "all", "--why", "meant marketing only")
    (told,) = run("check", ONE, "--json").json
    assert (told["phone"], told["suppressed"]) == (MASKED, ["marketing"])
    assert [(one["scope"], one["by"], one["why"], one["removed_why"]) for one in told["entries"]] == [
        ("all", "bob", "phoned", "meant marketing only"),
        ("marketing", "ann", "wrote to us", None),
    ]
    said = run("check", ONE, OTHER)
    assert "suppressed for marketing: tickets still go" in said.out
    assert "+48 *** *** 701: not suppressed" in said.out
    assert "removed" in said.out


def test_a_removal_needs_a_reason_and_somebody_to_remove(run: Run) -> None:
    run("add", ONE)
    assert run("remove", ONE).code == 2
    assert run("remove", ONE, "--why", " ").code == 2
    assert run("check", ONE, "--json").json[0]["suppressed"] == ["marketing"]
    said = run("remove", OTHER, "--why", "asked")
    assert (said.code, "is on the list for no scope" in said.err) == (2, True)


def test_erasing_leaves_nothing_and_says_so(run: Run) -> None:
    run("add", ONE)
    assert run("remove", ONE, "--erase", "--why", "asked to be forgotten").out == (
        f"{MASKED}: erased, 1 entries; messages that were suppressed stay so\n"
    )
    assert run("check", ONE, "--json").json == [{"phone": MASKED, "suppressed": [], "entries": []}]


def test_a_file_is_read_as_recipients_are_and_its_odd_rows_are_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text(
        "name,Telefon\nAnn,500 600 700\nBob,nobody\nEve,+48 22 123 45 67\nAnn,500600700\n", encoding="utf-8"
    )
    said = run("import", "out.csv", "--scope", "all", "--json")
    assert said.code == 3
    expected = {"rows": 4, "numbers": 2, "new": 2, "invalid": 1, "duplicate": 1, "scope": "all", "column": "Telefon"}
    assert said.json == {**expected, "rejects": "out.rejects.csv"}
    assert "1 rows hold no number and add nobody" in said.err
    assert "nobody" in (tmp_path / "out.rejects.csv").read_text(encoding="utf-8")
    again = run("import", "out.csv", "--scope", "all")
    assert again.out == "4 rows: 0 numbers added for all, 2 were listed already, 1 duplicate\n"


def test_an_import_that_names_no_column_says_what_to_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert run("import", "out.csv").code == 2


def test_an_export_holds_numbers_in_full_for_its_owner_only(run: Run, tmp_path: Path) -> None:
    run("add", ONE, "--why", "=wrote")
    run("add", OTHER, "--scope", "all")
    assert run("export").code == 2
    assert run("export", "--csv", "l.csv", "--jsonl", "l.jsonl").code == 0
    assert stat.S_IMODE((tmp_path / "l.csv").stat().st_mode) == 0o600
    rows = list(csv.DictReader((tmp_path / "l.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["phone"], row["scope"], row["source"]) for row in rows] == [
        ("48500600700", "marketing", "person"),
        ("48500600701", "all", "person"),
    ]
    assert not rows[0]["why"].startswith("=")
    first = json.loads((tmp_path / "l.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert (first["phone"], first["why"]) == (ONE, "=wrote")


@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
def test_no_file_is_called_by_a_dash(run: Run, tmp_path: Path, option: str) -> None:
    run("add", ONE, "--why", "she wrote to us")
    said = run("export", option, "-")
    assert (said.code, "/dev/stdout writes to the terminal or a pipe" in said.err) == (2, True), said.err
    assert not (tmp_path / "-").exists()


def test_an_export_can_be_imported_again(run: Run) -> None:
    run("add", ONE, OTHER)
    run("export", "--csv", "l.csv")
    assert run("import", "l.csv", "--json").json["new"] == 0


def test_the_list_is_shown_masked_and_counted(run: Run) -> None:
    assert run("list").out == "nobody is on the suppression list\n"
    run("add", ONE, OTHER)
    found = run("list", "--most", "1", "--json").json
    assert found["count"] == 2
    assert found["counted"] == [{"scope": "marketing", "source": "person", "numbers": 2}]
    said = run("list", "--most", "1")
    assert "the newest 1 of 2" in said.out
    assert "600700" not in said.out + json.dumps(found)
    assert run("list", "--source", "nobody").code == 2


def test_numbers_that_people_write_into_their_reasons_are_masked(run: Run) -> None:
    run("add", ONE, "--why", "called from 500600999")
    run("remove", ONE, "--why", "called from +48 500 600 998")
    said = run("check", ONE).out + run("check", ONE, "--json").out
    assert "called from ***" in said
    assert not [digits for digits in ("500600999", "500 600 998") if digits in said]


@pytest.mark.parametrize("arguments", [("add", ONE, "--scope", "sms"), ("add",), ("check", "x"), ("import", "none.csv")])
def test_what_cannot_be_done_is_refused_with_a_sentence(run: Run, arguments: tuple[str, ...]) -> None:
    said = run(*arguments)
    assert said.code == 2
    assert said.err
    assert "Traceback" not in said.err


def test_a_pull_without_credentials_names_what_to_do(run: Run) -> None:
    said = run("pull")
    assert (said.code, "posthorn doctor" in said.err) == (2, True)


def test_a_provider_that_cannot_be_asked_is_said_and_asks_for_a_person(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHORN_SERWERSMS__TOKEN", "t0ken")
    said = run("pull", "--json")
    assert (said.code, said.json["asked"], said.json["new"]) == (3, ["serwersms"], 0)
    assert "could not be asked: SerwerSMS" in said.err
