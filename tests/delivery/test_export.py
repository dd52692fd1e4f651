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

from posthorn.delivery.export import export_csv, export_jsonl
from posthorn.errors import DeliveryNotFound, InputError
from posthorn.ledger.store.engine import Ledger
from posthorn.sandbox.server import Sandbox
from tests.conftest import sandbox_settings
from tests.delivery.event_journey import send_event, ticket_settings, write_event
from tests.delivery.journey import deliver, numbers, write_campaign

SEND = "messages/send_mms"
FORMULA = "=HYPERLINK(A1)"


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
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_everybody_is_in_the_csv_once_with_where_they_stand(database: str, tmp_path: Path) -> None:
    out = tmp_path / "sale.csv"
    assert export_csv("sale", out) == 120
    rows = read_csv(out)
    assert [row["phone"] for row in rows] == [number.removeprefix("+") for number in numbers(120)]
    assert [int(row["line"]) for row in rows] == list(range(2, 122))
    assert Counter(row["state"] for row in rows) == {"accepted": 69, "unknown": 50, "rejected": 1}
    (refused,) = [row for row in rows if row["state"] == "rejected"]
    assert (refused["code"], refused["meaning"]) == ("3103", "invalid recipient number")
    ids = {row["provider_id"] for row in rows if row["state"] == "accepted"}
    assert len(ids - {""}) == 69
    assert all(datetime.fromisoformat(row["sent_at"]).utcoffset() == timedelta(0) for row in rows)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_the_lines_of_json_say_the_same(database: str, tmp_path: Path) -> None:
    assert export_jsonl("sale", tmp_path / "sale.jsonl") == 120
    assert export_csv("sale", tmp_path / "sale.csv") == 120
    lines, rows = read_jsonl(tmp_path / "sale.jsonl"), read_csv(tmp_path / "sale.csv")
    assert [line["phone"] for line in lines] == numbers(120)
    assert [{name: "" if value is None else str(value) for name, value in line.items()} for line in lines] == [
        {**row, "phone": f"+{row['phone']}"} for row in rows
    ]
    assert stat.S_IMODE((tmp_path / "sale.jsonl").stat().st_mode) == 0o600


def test_what_a_spreadsheet_would_take_for_a_formula_is_defused_in_csv_alone(database: str, tmp_path: Path) -> None:
    tell(database, "UPDATE message SET provider_id = :formula, error = '+1|cmd' WHERE line = 2", formula=FORMULA)
    export_csv("sale", tmp_path / "sale.csv")
    export_jsonl("sale", tmp_path / "sale.jsonl")
    row, line = read_csv(tmp_path / "sale.csv")[0], read_jsonl(tmp_path / "sale.jsonl")[0]
    assert (row["provider_id"], row["code"]) == (f"'{FORMULA}", "'+1|cmd")
    assert (line["provider_id"], line["code"]) == (FORMULA, "+1|cmd")


def test_what_was_never_sent_has_no_time_of_sending(database: str, tmp_path: Path) -> None:
    tell(database, "UPDATE message SET state = 0, provider_id = NULL WHERE line = 2")
    tell(database, "UPDATE message SET delivered_at = 1800000000 WHERE line = 3")
    export_csv("sale", tmp_path / "sale.csv")
    waits, delivered = read_csv(tmp_path / "sale.csv")[:2]
    assert (waits["state"], waits["sent_at"]) == ("pending", "")
    assert delivered["delivered_at"] == "2027-01-15T08:00:00Z"


EXPORTS = {"csv": export_csv, "jsonl": export_jsonl}


@pytest.mark.parametrize("kind", EXPORTS)
def test_an_earlier_file_is_replaced_by_a_whole_one_or_not_at_all(kind: str, database: str, tmp_path: Path) -> None:
    export: Callable[[str, Path], int] = EXPORTS[kind]
    folder = tmp_path / "exports"
    folder.mkdir()
    out = folder / "sale"
    out.write_text("an earlier one")
    with pytest.raises(DeliveryNotFound):
        export("another", out)
    assert out.read_text() == "an earlier one"
    assert export("sale", out) == 120
    whole = out.read_bytes()
    for erased in ("DELETE FROM message WHERE line > 100", "DELETE FROM message"):
        tell(database, erased)
        with pytest.raises(InputError, match="were erased"):
            export("sale", out)
    assert out.read_bytes() == whole
    assert [path.name for path in folder.iterdir()] == ["sale"], "nothing half written is left"
    with pytest.raises(InputError, match="cannot be written"):
        export("sale", tmp_path / "nowhere" / "sale")


@pytest.mark.parametrize("export", [export_csv, export_jsonl])
def test_a_link_stays_one_and_what_is_no_file_is_left_alone(
    export: Callable[[str, Path], int], database: str, tmp_path: Path
) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    assert export("sale", tmp_path / "link") == 120
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() != "old"
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(InputError, match="is no file"):
            export("sale", tmp_path / name)
    assert (tmp_path / "pipe").is_fifo()


async def test_a_code_that_a_spreadsheet_would_calculate_is_defused(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ticket_settings(box.url, tmp_path)
    await send_event(write_event(tmp_path, ["+16502530000,-1-2", "+16502530001,A-1"]), settings)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    assert export_csv("gala", tmp_path / "gala.csv") == 2
    assert [row["barcode"] for row in read_csv(tmp_path / "gala.csv")] == ["'-1-2", "A-1"]
    assert export_jsonl("gala", tmp_path / "gala.jsonl") == 2
    assert [row["barcode"] for row in read_jsonl(tmp_path / "gala.jsonl")] == ["-1-2", "A-1"]
