"""What people gave, and what is said to it; and `check` is a promise: what it lets pass can be sent."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from posthorn.cli import command
from posthorn.delivery.planning.check import examine
from posthorn.delivery.planning.load import load_wish
from posthorn.delivery.planning.plan import plan_file
from posthorn.errors import DeliveryChanged, InputError
from posthorn.models import Kind
from posthorn.settings import load_settings
from tests.cases.case import Case
from tests.cases.contents import MOMENTS, PICTURES, WORDS
from tests.cases.exports import EXPORTS
from tests.cases.lists import CODES, COLUMNS, NUMBERS

CASES = [*COLUMNS, *CODES, *NUMBERS, *PICTURES, *WORDS, *MOMENTS, *EXPORTS]
KEYS = {
    "column", "barcode_column", "rows", "valid", "invalid", "duplicate", "suppressed", "by_kind", "by_country", "reasons",
    "media", "warnings", "cost", "moment",
}  # fmt: skip
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")


@pytest.fixture
def _account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHORN_SERWERSMS__TOKEN", "token")
    monkeypatch.setenv("POSTHORN_SKYCORE__API_KEY", "key")


@pytest.mark.usefixtures("_account")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_is_said(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    group = "tickets" if case.is_event else "campaign"
    file = str(case.write(tmp_path))
    code = command([group, "check", file])
    said = capsys.readouterr()
    assert code == case.code, said
    for words in case.said:
        assert words in said.out + said.err
    assert not CONTROL.search(said.out + said.err)
    if code == 0:
        assert command([group, "check", file, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report.keys() >= KEYS
        assert report["rows"] == report["valid"] + report["invalid"] + report["duplicate"]
        assert sum(report["by_country"].values()) == report["valid"]
        assert case.valid in (None, report["valid"])


@pytest.mark.usefixtures("_account")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_check_is_a_promise(case: Case, tmp_path: Path) -> None:
    """The start of `send`, and the plan that the flow makes, each by itself, agree with what `check` says."""
    file, settings = case.write(tmp_path), load_settings()
    kind = Kind.EVENT if case.is_event else Kind.CAMPAIGN

    def begins() -> None:
        examine(load_wish(file, kind, settings))

    def plans() -> int:
        planned = plan_file(file, settings, kind=kind)
        return planned.input - planned.invalid - planned.duplicate

    if case.code == 0:
        begins()
        assert plans() > 0
        begins()  # and again, once it is planned
        assert case.valid in (None, plans())
        return
    for refuses in (begins, plans):
        with pytest.raises((InputError, DeliveryChanged)):
            refuses()


def test_there_are_enough_of_each() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
    assert len(EXPORTS) >= 20


@pytest.mark.usefixtures("_account")
def test_what_send_refuses_for_want_of_an_account_check_refuses_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(Case("plain").write(tmp_path))
    assert command(["campaign", "check", file]) == 0
    capsys.readouterr()
    monkeypatch.delenv("POSTHORN_SERWERSMS__TOKEN")
    assert command(["campaign", "check", file]) == 2
    said = capsys.readouterr()
    assert "1 valid" in said.out
    assert "POSTHORN_SERWERSMS__TOKEN" in said.err
