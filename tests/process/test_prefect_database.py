"""The template of Prefect's database: made once, copied where a folder has no database, never over one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest

from posthorn.process import prefect_server
from posthorn.process.prefect_database import database_from_template, fold_log, make_template, template
from posthorn.process.prefect_server import SERVER_ENVIRONMENT
from tests.ledger.processes import until


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    return tmp_path / "venv"


def migrate(database: Path) -> None:
    """As Prefect does: the write-ahead log holds what the file does not hold yet."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('head')")
        connection.commit()


def version_in(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def test_a_new_folder_begins_with_a_copy_of_the_template(installation: Path, tmp_path: Path) -> None:
    assert make_template(migrate)
    assert not make_template(migrate), "it is made once"
    assert template().is_relative_to(installation)
    (home := tmp_path / "home").mkdir()
    database_from_template(home / "prefect.db")
    assert version_in(home / "prefect.db") == "head"
    assert stat.S_IMODE((home / "prefect.db").stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir() if not path.name.startswith("prefect.db")] == []


def test_a_database_that_is_there_stays(installation: Path, tmp_path: Path) -> None:
    make_template(migrate)
    (tmp_path / "prefect.db").write_bytes(b"somebody's history")
    database_from_template(tmp_path / "prefect.db")
    assert (tmp_path / "prefect.db").read_bytes() == b"somebody's history"


def test_without_a_template_the_server_makes_its_own(installation: Path, tmp_path: Path) -> None:
    database_from_template(tmp_path / "prefect.db")
    assert not (tmp_path / "prefect.db").exists()


def test_a_template_that_was_not_finished_is_none(installation: Path) -> None:
    def broken(database: Path) -> None:
        database.write_bytes(b"half")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        make_template(broken)
    assert not template().exists()


def test_the_log_of_a_server_that_was_killed_is_folded_in(tmp_path: Path) -> None:
    """What was deleted leaves the disk with it, and what was kept is kept."""
    used, left = tmp_path / "used.db", tmp_path / "left.db"
    migrate(used)
    with closing(sqlite3.connect(used)) as connection:
        connection.execute("CREATE TABLE answer (told TEXT)")
        connection.execute("INSERT INTO answer VALUES ('500600700')")
        connection.commit()
        connection.execute("DELETE FROM answer")
        connection.commit()
        shutil.copyfile(used, left)
        shutil.copyfile(f"{used}-wal", f"{left}-wal")  # as it is on the disk when its process is killed now
    assert b"500600700" in Path(f"{left}-wal").read_bytes()
    fold_log(left)
    log = Path(f"{left}-wal")
    assert not log.exists() or log.read_bytes() == b""
    assert version_in(left) == "head"


def test_a_server_that_stays_looks_at_its_queues_once_a_second_at_most() -> None:
    """Prefect cuts the fraction off: half a second is none, and its loop then spins on a whole core."""
    every = [value for name, value in SERVER_ENVIRONMENT.items() if name.endswith("_FLUSH_INTERVAL")]
    assert every
    assert all(value.isdecimal() and int(value) >= 1 for value in every)


def test_a_server_for_a_run_records_task_runs_five_times_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the fraction: without it every run would wait for the end of a second, or a core would burn."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:  # what the flows' tests have set
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_SERVER_LOGGING_LEVEL", "INFO")
    with prefect_server.starting_prefect_server(tmp_path) as server:
        server.await_health()
        until(lambda: "and flush every 0.2 seconds" in server.log.read_text())
