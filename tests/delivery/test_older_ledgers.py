"""A ledger whose content an older (or a later) version has written means the same, byte for byte, and stays approved."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from posthorn.content.definition import CampaignContent, EventContent
from posthorn.delivery.deciding.approval import content_of
from posthorn.delivery.planning.plan import plan_file
from posthorn.errors import DeliveryChanged, LedgerError
from posthorn.ledger import deliveries
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import Kind
from posthorn.settings import Settings
from tests.conftest import sandbox_settings
from tests.delivery.journey import write_campaign

NOBODY = "http://127.0.0.1:9"
PHONES = [f"+4850000000{number}" for number in (1, 2, 3)]
CAMPAIGNS: dict[str, dict[str, object]] = {
    "dated": {
        "title": '"Jesień 🍂"',
        "media": '["poster.png", "https://example.com/map.png"]',
        "send_at": "2099-11-30T09:00:00.250000+01:00",
        "approve": "true",
        "gateway": '"serwersms"',
    },
    "held": {"text": '"Zażółć"', "hold_minutes": 15, "approve": "true"},
    "plain": {"media": "[]"},
}
GALA = """name = "gala"
mms_id = 4711
from = "60300"
attendees = "attendees.csv"
campaign_ref = "9"
approve = true
ddm_title = "Hi"
ddm_text = "Your ticket"
ddm_timeout = 5
custom_subject = "For {first_name}"
custom_texts = { "1" = "Hello {first_name}" }
data = { NAME = "first_name" }
"""
JAZZ = 'name = "jazz"\nmms_id = "12"\nfrom = "60300"\nattendees = "attendees.csv"\nallow_code_reuse = true\n'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return sandbox_settings(NOBODY, tmp_path)


@pytest.fixture
def old(settings: Settings) -> sqlite3.Connection:
    """The older ledger, in the place of the settings' own."""
    path = Path(settings.database_url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript((Path(__file__).parent / "older_ledger.sql").read_text(encoding="utf-8"))
    return database


def files(folder: Path, phones: list[str] = PHONES) -> dict[str, tuple[Path, Kind]]:
    """The files of the older ledger's deliveries, as they were, by name."""
    rows = f"{PHONES[0]},A-1,Ann\n{PHONES[1]},A-2,Bo\n"
    (folder / "attendees.csv").write_text(f"phone,barcode_id,first_name\n{rows}", encoding="utf-8")
    found = {name: (write_campaign(folder, phones, name=name, **keys), Kind.CAMPAIGN) for name, keys in CAMPAIGNS.items()}
    for name, text in (("gala", GALA), ("jazz", JAZZ)):
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
        found[name] = (folder / f"{name}.toml", Kind.EVENT)
    return found


def kept(database: sqlite3.Connection) -> dict[str, str]:
    """The content of each delivery, as the ledger holds it."""
    return dict(database.execute("SELECT name, definition FROM campaign").fetchall())


def rewrite(database: sqlite3.Connection, name: str, content: dict[str, Any]) -> str:
    database.execute("UPDATE campaign SET definition = ? WHERE name = ?", [json.dumps(content), name])
    return json.dumps(content)


def hashes(settings: Settings, count: int | None = None) -> dict[str, str]:
    with open_ledger(settings) as ledger:
        return {one.name: content_of(one, count) for one in deliveries.all_records(ledger)}


def test_what_was_approved_is_what_the_ledger_holds_still(old: sqlite3.Connection, settings: Settings) -> None:
    approved = dict(old.execute("SELECT name, content FROM approval JOIN campaign c ON c.id = campaign_id").fetchall())
    assert len(approved) == 5
    assert hashes(settings) == approved
    with open_ledger(settings) as ledger:
        dated, gala = (deliveries.get(ledger, name).content for name in ("dated", "gala"))
    assert isinstance(dated, CampaignContent)
    assert (dated.title, dated.send_at) == ("Jesień 🍂", datetime(2099, 11, 30, 8, 0, 0, 250_000, UTC))
    assert isinstance(gala, EventContent)
    assert (gala.mms_id, gala.sender, gala.custom_texts) == ("4711", "60300", {"1": "Hello {first_name}"})


def test_the_same_files_change_nothing_and_new_rows_leave_the_content_as_it_is(
    old: sqlite3.Connection, settings: Settings, tmp_path: Path
) -> None:
    before, approved = kept(old), hashes(settings)
    for file, kind in files(tmp_path).values():
        plan_file(file, settings, kind=kind)
    assert hashes(settings) == approved
    new = "+48500000009"
    for name, (file, kind) in files(tmp_path, [*PHONES, new]).items():
        if kind is Kind.CAMPAIGN:
            plan_file(file, settings)
            assert hashes(settings, 3)[name] == approved[name], "who was asked about three has been asked about these"
    assert kept(old) == before
    assert {revision for (revision,) in old.execute("SELECT revision FROM campaign")} == {1}
    assert old.execute("SELECT count(*) FROM message").fetchone() == (13 + 3,)


def test_a_file_that_is_planned_now_is_kept_as_it_was_then(
    old: sqlite3.Connection, settings: Settings, tmp_path: Path
) -> None:
    fresh = sandbox_settings(NOBODY, tmp_path / "fresh")
    for file, kind in files(tmp_path).values():
        plan_file(file, fresh, kind=kind)
    database = sqlite3.connect(fresh.database_url.removeprefix("sqlite:///"))
    assert kept(database) == kept(old)


@pytest.mark.parametrize("name", ["plain", "jazz"])
def test_a_key_that_an_older_version_did_not_write_has_its_default(
    name: str, old: sqlite3.Connection, settings: Settings, tmp_path: Path
) -> None:
    needed = {"title", "text", "mms_id", "from"}
    text = rewrite(old, name, {key: value for key, value in json.loads(kept(old)[name]).items() if key in needed})
    old.execute("UPDATE chunk SET state = 2, pending = 0, accepted = 1")  # all has left: its content is frozen
    old.execute("UPDATE message SET state = 1")
    file, kind = files(tmp_path)[name]
    before = hashes(settings)[name]
    delivery = plan_file(file, settings, kind=kind)
    assert delivery.content.in_full().keys() > delivery.content.as_kept().keys()
    assert (kept(old)[name], hashes(settings)[name]) == (text, before)


def test_a_key_of_a_later_version_is_kept_until_the_file_replaces_the_content(
    old: sqlite3.Connection, settings: Settings, tmp_path: Path
) -> None:
    before = json.loads(kept(old)["plain"])
    text = rewrite(old, "plain", {**before, "urgency": {"level": 3}})
    file, _ = files(tmp_path)["plain"]
    with open_ledger(settings) as ledger:
        found = deliveries.get(ledger, "plain")
        assert json.dumps(found.content.as_kept()) == text
    assert hashes(settings)["plain"] != content_of_old(old), "what it says is part of what was approved"
    plan_file(file, settings)
    assert json.loads(kept(old)["plain"]) == before, "nothing has left: the file is the wish"
    rewrite(old, "plain", {**before, "urgency": {"level": 3}})
    old.execute("UPDATE chunk SET state = 2, pending = 0, accepted = 3 WHERE campaign_id = 3")
    old.execute("UPDATE message SET state = 1 WHERE campaign_id = 3")
    with pytest.raises(DeliveryChanged, match=r"urgency was .*, is now not set"):
        plan_file(file, settings)


def content_of_old(database: sqlite3.Connection) -> str:
    """The hash of the delivery named plain that was approved."""
    return str(database.execute("SELECT content FROM approval WHERE campaign_id = 3").fetchone()[0])


def test_content_that_cannot_be_read_is_refused_by_its_keys(old: sqlite3.Connection, settings: Settings) -> None:
    rewrite(old, "plain", {"text": "Zażółć", "send_at": "soon", "test": False})
    with open_ledger(settings) as ledger, pytest.raises(LedgerError) as refused:
        deliveries.get(ledger, "plain")
    assert "a campaign that cannot be read (title: Field required; send_at:" in str(refused.value)
    assert "Zażółć" not in str(refused.value)
