"""Opening a ledger brings it to today's shape, once, and refuses what it does not understand."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import posthorn.ledger.store.migrations
from posthorn.errors import LedgerError
from posthorn.ledger import deliveries, resolving, sending
from posthorn.ledger.resolving import EVERYTHING
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, shown_url
from posthorn.ledger.store.migrations import HEAD
from posthorn.models import MessageState
from tests.ledger.ledgers import another, answer, claimed, everything_adds_up, planned, states
from tests.ledger.test_tickets import gala, sent


def test_a_new_ledger_has_the_shape_that_the_tables_describe(empty_url: str) -> None:
    with another(empty_url) as ledger, ledger.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
        differences = [one for one in compare_metadata(context, tables.metadata) if "alembic_version" not in str(one)]
    assert differences == []


def test_comments_and_partial_indexes_are_as_described(empty_url: str) -> None:
    """What Alembic does not compare on every database."""
    with another(empty_url) as ledger, ledger.read() as connection:
        inspector = sa.inspect(connection)
        for table in tables.metadata.sorted_tables:
            found = {index["name"]: _condition(index, ledger) is not None for index in inspector.get_indexes(table.name)}
            expected = {index.name: index.dialect_kwargs["sqlite_where"] is not None for index in table.indexes}
            assert {name: found[name] for name in expected} == expected, table.name


def _condition(index: dict, ledger: Ledger) -> object:
    return index.get("dialect_options", {}).get("sqlite_where" if ledger.is_sqlite else "postgresql_where")


def test_the_head_that_is_written_down_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(posthorn.ledger.store.migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_a_ledger_is_migrated_once_and_keeps_its_name(empty_url: str) -> None:
    with another(empty_url) as first:
        planned(first, 10)
        name = first.uuid
    with another(empty_url) as second:
        assert second.uuid == name
        with second.read() as connection:
            assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all() == [HEAD]


def test_the_ids_of_attempts_that_were_replaced_before_are_remembered(empty_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(posthorn.ledger.store.migrations.__file__).parent))
    with another(empty_url) as ledger:
        event = gala(ledger, 3)
        sent(ledger, event, (MessageState.ACCEPTED, "x as y"), (MessageState.REJECTED, None), (MessageState.ACCEPTED, "z"))
        resolving.resend(ledger, event, EVERYTHING, resolving.RESENDABLE, by="ops", why="it was rejected as no id")
        with ledger.write() as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, "0003")
    with another(empty_url) as ledger, ledger.read() as connection:
        replaced = connection.execute(sa.select(tables.settlement.c.replaced_id).order_by(tables.settlement.c.id)).scalars()
        assert list(replaced) == ["x as y", None, "z"]


def test_a_delivery_of_the_old_shape_is_a_first_wave_that_was_sent_as_its_content_says(empty_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(posthorn.ledger.store.migrations.__file__).parent))
    old = {"title": "Autumn sale", "recipients": "ab" * 32, "send_at": "2026-11-30T08:00:00+00:00", "hold_minutes": None}
    with another(empty_url) as ledger:
        event = gala(ledger, 3)
        campaign = planned(ledger, 25)
        claim = claimed(ledger, campaign)
        sending.record(ledger, claim, answer(claim))
        with ledger.write() as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, "0008")
            for one, definition in (
                (campaign, old),
                (event, {"mms_id": "77", "from": "60300", "barcode": "generate", "attendees": "cd"}),
            ):
                update = sa.text("UPDATE campaign SET definition = :new WHERE id = :id")
                connection.execute(update, {"new": json.dumps(definition), "id": one.id})
            connection.execute(sa.text("UPDATE ticket SET fields = '{\"code\": \"A-1\"}' WHERE barcode = 'A-1'"))
    with another(empty_url) as ledger:
        everything_adds_up(ledger)
        with ledger.read() as connection:
            wave, attempt, ticket = tables.wave.c, tables.attempt.c, tables.ticket.c
            waves = connection.execute(sa.select(wave.campaign_id, wave.number, wave.messages).order_by(wave.campaign_id))
            assert waves.all() == [(event.id, 1, 3), (campaign.id, 1, 25)]
            sent_as = connection.execute(sa.select(attempt.title, attempt.send_at, attempt.hold_minutes)).all()
            assert sent_as == [("Autumn sale", datetime(2026, 11, 30, 8, tzinfo=UTC).timestamp(), None)]
            codes = connection.execute(sa.select(ticket.barcode, ticket.listed_code).order_by(ticket.barcode)).all()
            assert codes == [("A-0", ""), ("A-1", None), ("A-2", "")], "only A-1 stands in its row"
        assert deliveries.get(ledger, "gala").content.as_kept() == {"mms_id": "77", "from": "60300", "barcode": "generate"}
        assert "recipients" not in deliveries.get(ledger, "sale").content.as_kept()


def test_a_ledger_of_a_later_version_is_refused_and_left_alone(empty_url: str) -> None:
    with another(empty_url) as ledger, ledger.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerError, match=r"later Posthorn.*9999.*upgrade Posthorn"):
        Ledger(empty_url)


def test_eight_threads_may_open_a_new_ledger_at_once(empty_url: str) -> None:
    problems: list[BaseException] = []
    names: set[str] = set()

    def work() -> None:
        try:
            with another(empty_url) as ledger:
                names.add(ledger.uuid)
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(names) == 1


_OPEN = """
import sys
from posthorn.ledger.store.engine import Ledger
print("ready", flush=True)
sys.stdin.readline()
print(Ledger(sys.argv[1]).uuid)
"""


def test_four_processes_may_open_a_new_ledger_at_once(empty_url: str) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN, empty_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(4)
    ]
    told = [child.communicate("go\n", timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [0] * 4
    assert len(set(told)) == 1


def test_a_migration_killed_anywhere_is_done_by_the_next_to_open(empty_url: str) -> None:
    for hundredths in range(0, 40, 4):
        child = subprocess.Popen(
            [sys.executable, "-c", _OPEN, empty_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        with child:
            assert child.stdin is not None
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            child.stdin.write("go\n")
            child.stdin.flush()
            time.sleep(hundredths / 100)
            child.kill()
    with another(empty_url) as ledger:
        assert states(ledger, planned(ledger, 10)) == {"pending": 10}


def test_the_files_are_for_their_owner_only(sqlite_url: str, tmp_path: Path) -> None:
    with another(sqlite_url) as ledger:
        planned(ledger, 10)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600, "ledger.db.locks": 0o700}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_a_ledger_in_memory_is_refused() -> None:
    with pytest.raises(LedgerError, match="must be a file"):
        Ledger("sqlite:///:memory:")


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://user:s3cret@host/db", "postgresql+psycopg://user@host/db?password=s3cret&sslmode=require"]
)
def test_a_shown_url_holds_no_password(url: str) -> None:
    assert "s3cret" not in shown_url(url)
    assert "host/db" in shown_url(url)
