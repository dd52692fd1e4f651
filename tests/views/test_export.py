"""Exports hold everybody once, are for their owner only, mislead no spreadsheet, and never replace a file by half of one."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from posthorn.errors import DeliveryNotFound, InputError
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind
from posthorn.sandbox.server import Sandbox
from posthorn.views.export import export_csv, export_jsonl
from tests.conftest import sandbox_settings
from tests.delivery.journey import deliver, numbers, write_campaign

SEND = "messages/send_mms"
FORMULA = "=HYPERLINK(A1)"
CAMPAIGN = Kind.CAMPAIGN


@pytest.fixture
async def database(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """120 numbers: one refused, 50 unknown."""
    box.faults.replace(
        [{"call": SEND, "at": [1], "fault": "item_error", "code": 3103}, {"call": SEND, "at": [2], "fault": "reset_before"}]
    )
    settings = sandbox_settings(box.url, tmp_path, concurrency=1)
    await deliver(write_campaign(tmp_path, numbers(120)), settings)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    return settings.database_url


def tell(database: str, statement: str, **values: object) -> None:
    ledger = Ledger(database)
    with ledger.write() as connection:
        connection.execute(sa.text(statement), values)
    ledger.close()


def read_csv(path: Path) -> list[dict[str, str]]:
    """As a spreadsheet shows it: ``="00123"`` is the text in it."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [{name: shown(value) for name, value in row.items()} for row in csv.DictReader(file)]


def shown(cell: str) -> str:
    return cell[2:-1].replace('""', '"') if cell.startswith('="') else cell


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_everybody_is_in_the_csv_once_with_where_they_stand(database: str, tmp_path: Path) -> None:
    out = tmp_path / "sale.csv"
    assert export_csv(CAMPAIGN, "sale", out) == 120
    rows = read_csv(out)
    assert [row["phone"] for row in rows] == numbers(120)
    assert [int(row["line"]) for row in rows] == list(range(2, 122))
    assert Counter(row["state"] for row in rows) == {"accepted": 69, "unknown": 50, "rejected": 1}
    (refused,) = [row for row in rows if row["state"] == "rejected"]
    assert (refused["code"], refused["meaning"]) == ("3103", "invalid recipient number")
    ids = {row["provider_id"] for row in rows if row["state"] == "accepted"}
    assert len(ids - {""}) == 69
    assert all(datetime.fromisoformat(row["sent_at"]).utcoffset() == timedelta(0) for row in rows)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_the_lines_of_json_say_the_same(database: str, tmp_path: Path) -> None:
    assert export_jsonl(CAMPAIGN, "sale", tmp_path / "sale.jsonl") == 120
    assert export_csv(CAMPAIGN, "sale", tmp_path / "sale.csv") == 120
    lines, rows = read_jsonl(tmp_path / "sale.jsonl"), read_csv(tmp_path / "sale.csv")
    assert [line["phone"] for line in lines] == numbers(120)
    assert [{name: "" if value is None else str(value) for name, value in line.items()} for line in lines] == [
        dict(row) for row in rows
    ]
    assert stat.S_IMODE((tmp_path / "sale.jsonl").stat().st_mode) == 0o600


def test_what_a_spreadsheet_would_take_for_a_formula_is_defused_in_csv_alone(database: str, tmp_path: Path) -> None:
    tell(database, "UPDATE message SET provider_id = :formula, error = '+1|cmd' WHERE line = 2", formula=FORMULA)
    export_csv(CAMPAIGN, "sale", tmp_path / "sale.csv")
    export_jsonl(CAMPAIGN, "sale", tmp_path / "sale.jsonl")
    row, line = (tmp_path / "sale.csv").read_text("utf-8").splitlines()[1], read_jsonl(tmp_path / "sale.jsonl")[0]
    assert f'"=""{FORMULA}"""' in row, "a text, as which a spreadsheet shows it"
    assert '"=""+1|cmd"""' in row
    assert (line["provider_id"], line["code"]) == (FORMULA, "+1|cmd")


def test_what_was_never_sent_has_no_time_of_sending(database: str, tmp_path: Path) -> None:
    tell(database, "UPDATE message SET state = 0, provider_id = NULL WHERE line = 2")
    tell(database, "UPDATE message SET delivered_at = 1800000000 WHERE line = 3")
    export_csv(CAMPAIGN, "sale", tmp_path / "sale.csv")
    waits, delivered = read_csv(tmp_path / "sale.csv")[:2]
    assert (waits["state"], waits["sent_at"]) == ("pending", "")
    assert delivered["delivered_at"] == "2027-01-15T08:00:00Z"


EXPORTS = {"csv": export_csv, "jsonl": export_jsonl}


@pytest.mark.parametrize("kind", EXPORTS)
def test_an_earlier_file_is_replaced_by_a_whole_one_or_not_at_all(kind: str, database: str, tmp_path: Path) -> None:
    export: Callable[[Kind, str, Path], int] = EXPORTS[kind]
    folder = tmp_path / "exports"
    folder.mkdir()
    out = folder / "sale"
    out.write_text("an earlier one")
    with pytest.raises(DeliveryNotFound):
        export(CAMPAIGN, "another", out)
    assert out.read_text() == "an earlier one"
    assert export(CAMPAIGN, "sale", out) == 120
    whole = out.read_bytes()
    for erased in ("DELETE FROM message WHERE line > 100", "DELETE FROM message"):
        tell(database, erased)
        with pytest.raises(InputError, match="were erased"):
            export(CAMPAIGN, "sale", out)
    assert out.read_bytes() == whole
    assert [path.name for path in folder.iterdir()] == ["sale"], "nothing half written is left"
    with pytest.raises(InputError, match="cannot be written"):
        export(CAMPAIGN, "sale", tmp_path / "nowhere" / "sale")


@pytest.mark.parametrize("export", [export_csv, export_jsonl])
def test_a_link_stays_one_and_what_is_no_file_is_left_alone(
    export: Callable[[Kind, str, Path], int], database: str, tmp_path: Path
) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    assert export(CAMPAIGN, "sale", tmp_path / "link") == 120
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() != "old"
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(InputError, match="is not a file"):
            export(CAMPAIGN, "sale", tmp_path / name)
    assert (tmp_path / "pipe").is_fifo()


async def test_with_plain_each_value_is_as_it_is(database: str, tmp_path: Path) -> None:
    export_csv(CAMPAIGN, "sale", tmp_path / "sale.csv", plain=True)
    text = (tmp_path / "sale.csv").read_text("utf-8")
    assert text.startswith("line,phone,state,code,meaning,provider_id,sent_at,delivered_at\n2,+48500000000,")
    assert '="' not in text
    export_csv(CAMPAIGN, "sale", tmp_path / "sale.csv")
    assert (tmp_path / "sale.csv").read_bytes().startswith(b"\xef\xbb\xbfline,phone,")


async def test_a_campaign_is_no_event(database: str, tmp_path: Path) -> None:
    with pytest.raises(DeliveryNotFound, match="sale is a campaign, not an event"):
        export_csv(Kind.EVENT, "sale", tmp_path / "sale.csv")
