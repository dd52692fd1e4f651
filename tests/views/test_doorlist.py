"""The door list: every code that may be shown, whose it is, and whether it lets them in; as it is, in any spreadsheet."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from posthorn.content.spreadsheet import as_cell, as_text
from posthorn.errors import InputError
from posthorn.ledger import deliveries, planning, tickets
from posthorn.ledger.planning import NewDelivery, Row
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind, Phone
from posthorn.views.export import export_csv, export_jsonl
from tests.ledger.ledgers import event_content

EVENT = Kind.EVENT


class Attendees:
    """Three rows as an intake gives them: with the number and the code as cells of their own, too."""

    invalid = duplicate = 0
    input = 3

    def __iter__(self):
        ann = {"name": "Ann " * 200, "mobile": "650 253 0000", "ticket": "00123", "state": "Ohio", "code": "VIP"}
        bo = {"name": "=cmd|calc", "mobile": "650 253 0001", "ticket": "2E5", "state": "", "code": "", "seat": "0012"}
        yield [
            Row(2, Phone(16502530000), 0, "00123", ann),
            Row(3, Phone(16502530001), 0, "2E5", bo),
            Row(4, Phone(16502530002), 0, "MAR1", {"name": "Łucja", "mobile": "+1 650 253 0002", "ticket": "MAR1"}),
        ]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("POSTHORN_DATABASE_URL", url)
    opened = Ledger(url)
    new = NewDelivery("gala", "skycore", event_content(), {}, chunk_size=1)
    assert planning.plan(opened, new, Attendees()) is not None
    return opened


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def void(ledger: Ledger, code: str, line: int | None, why: str) -> None:
    event = deliveries.get(ledger, "gala")
    place = next((one.place for one in tickets.all_tickets(ledger, event) if one.line == line), (None, None))
    row = {"campaign_id": event.id, "code": code, "chunk_id": place[0], "position": place[1]}
    with ledger.write() as connection:
        connection.execute(tables.void_code.insert().values(**row, voided_at=1.0, by="Ada", why=why))


def test_own_columns_stand_beside_ours_and_none_is_lost_or_cut(ledger: Ledger, tmp_path: Path) -> None:
    out = tmp_path / "door.csv"
    assert export_csv(EVENT, "gala", out) == 3
    assert out.stat().st_mode & 0o777 == 0o600
    ann, bo, lucja = cells(out)
    assert list(ann) == [
        "line", "name", "state (list)", "code (list)", "seat", "phone", "code", "valid", "state", "note",
    ]  # fmt: skip
    assert (ann["name"], ann["state (list)"], ann["state"], ann["code (list)"]) == ("Ann " * 200, "Ohio", "pending", "VIP")
    assert (bo["name"], bo["seat"], lucja["seat"], lucja["name"]) == ("'=cmd|calc", '="0012"', "", "Łucja")
    assert [one["valid"] for one in (ann, bo, lucja)] == ["yes"] * 3


def test_codes_and_numbers_are_text_in_a_spreadsheet_and_themselves_for_programs(ledger: Ledger, tmp_path: Path) -> None:
    export_csv(EVENT, "gala", tmp_path / "door.csv")
    export_csv(EVENT, "gala", tmp_path / "plain.csv", plain=True)
    export_jsonl(EVENT, "gala", tmp_path / "door.jsonl")
    sheet, plain = cells(tmp_path / "door.csv"), cells(tmp_path / "plain.csv")
    lines = [json.loads(line) for line in (tmp_path / "door.jsonl").read_text("utf-8").splitlines()]
    assert [row["code"] for row in sheet] == ['="00123"', '="2E5"', '="MAR1"']
    assert sheet[0]["phone"] == '="+16502530000"'
    assert (tmp_path / "door.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    for rows in (plain, lines):
        assert [row["code"] for row in rows] == ["00123", "2E5", "MAR1"]
        assert [row["phone"] for row in rows] == ["+16502530000", "+16502530001", "+16502530002"]
        assert rows[1]["name"] == "=cmd|calc"
    assert (tmp_path / "plain.csv").read_bytes().startswith(b"line,")


def test_what_is_void_or_cancelled_is_listed_and_lets_nobody_in(ledger: Ledger, tmp_path: Path) -> None:
    void(ledger, "LEAKED", 2, "it was posted")
    void(ledger, "PROOF-1", None, "a proof")
    event = deliveries.get(ledger, "gala")
    place = next(one.place for one in tickets.all_tickets(ledger, event) if one.line == 3)
    row = {"chunk_id": place[0], "position": place[1], "campaign_id": event.id, "taken_at": 1.0, "by": "Ada", "why": "-"}
    with ledger.write() as connection:
        connection.execute(tables.taken_out.insert().values(**row))
    assert export_csv(EVENT, "gala", tmp_path / "door.csv", plain=True) == 5
    rows = cells(tmp_path / "door.csv")
    assert [(row["code"], row["valid"], row["state"], row["note"]) for row in rows] == [
        ("00123", "yes", "pending", ""),
        ("2E5", "no", "pending", "cancelled: do not let in"),
        ("MAR1", "yes", "pending", ""),
        ("LEAKED", "no", "void", "void: do not let in (it was posted)"),
        ("PROOF-1", "no", "void", "void: do not let in (a proof)"),
    ]
    assert (rows[3]["phone"], rows[3]["seat"], rows[4]["phone"]) == ("+16502530000", "", "")


def test_a_column_that_shows_the_old_code_or_number_is_left_out(ledger: Ledger, tmp_path: Path) -> None:
    """The list's own cells still say what was replaced: at the door that would be taken for the valid one."""
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE ticket SET listed_code = barcode, barcode = 'NEW' WHERE barcode = '00123'"))
        connection.execute(sa.text("UPDATE ticket SET listed_phone = 16502530001 WHERE barcode = '2E5'"))
        connection.execute(sa.text("UPDATE message SET phone = 48500600700 WHERE line = 3"))
    export_csv(EVENT, "gala", tmp_path / "door.csv", plain=True)
    text = (tmp_path / "door.csv").read_text("utf-8")
    assert "00123" not in text
    assert "650 253 0001" not in text
    assert [row["code"] for row in cells(tmp_path / "door.csv")] == ["NEW", "2E5", "MAR1"]


def test_an_earlier_list_is_replaced_by_a_whole_one_or_not_at_all(ledger: Ledger, tmp_path: Path) -> None:
    out = tmp_path / "door.csv"
    export_csv(EVENT, "gala", out)
    whole = out.read_bytes()
    void(ledger, "PROOF-1", None, "a proof")
    with ledger.write() as connection:
        connection.execute(sa.text("DELETE FROM message WHERE line = 4"))
    with pytest.raises(InputError, match="were erased"):
        export_csv(EVENT, "gala", out)
    assert out.read_bytes() == whole
    with pytest.raises(InputError, match="cannot be written"):
        export_csv(EVENT, "gala", tmp_path / "nowhere" / "door.csv")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("00123", '="00123"'),
        ("+48 500 600 700", '="+48 500 600 700"'),
        ("1234567890123456", '="1234567890123456"'),
        ("12E5", '="12E5"'),
        ("12", "12"),
        ("3.50", "3.50"),
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("a;=1", "a;'=1"),
        ("", ""),
    ],
)
def test_a_spreadsheet_shows_what_the_list_has(value: str, cell: str) -> None:
    assert as_cell(value) == cell


@pytest.mark.parametrize(
    ("value", "cell"), [('a"&cmd()&"', '="a""&cmd()&"""'), ("a\nb", '="a b"'), ("", ""), ("MAR1", '="MAR1"')]
)
def test_a_code_cannot_end_the_text_that_it_is(value: str, cell: str) -> None:
    assert as_text(value) == cell
