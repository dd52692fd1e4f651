"""An empty Prefect database, made once for an installation, so that Prefect's first start in a new folder need not make one.

Its migrations take a dozen seconds. `make setup` runs them into a template, and a server of ours starts from a copy of it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path


def template() -> Path:
    """Where the template of this installation's Prefect is, or would be: each version has its own."""
    return Path(sys.prefix) / "share" / "posthorn" / f"prefect-{version('prefect')}.db"


def make_template(migrate: Callable[[Path], None]) -> bool:
    """Make the template unless there is one; says whether it had to be made. ``migrate`` makes a database at a path.

    Raises:
        OSError: the installation's folder cannot be written.
    """
    made = template()
    if made.exists():
        return False
    made.parent.mkdir(parents=True, exist_ok=True)
    made.parent.chmod(0o755)
    with tempfile.TemporaryDirectory(dir=made.parent) as folder:
        fresh = Path(folder) / "prefect.db"
        migrate(fresh)
        fold_log(fresh)  # all of it into the one file that is copied
        fresh.chmod(0o644)  # nothing is in it, and every account that may run this installation may start from it
        fresh.replace(made)
    return True


def database_from_template(database: Path) -> None:
    """Begin a database as a copy of the template, if there is none yet. Without a template the server makes its own.

    It gets its name only when it is whole. A server that finds it runs the migrations that it still lacks.
    """
    if database.exists() or not template().is_file():
        return
    with suppress(OSError), tempfile.TemporaryDirectory(dir=database.parent, prefix=".prefect-db-") as folder:
        copy = Path(folder) / database.name
        shutil.copyfile(template(), copy)
        copy.chmod(0o600)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        copy.replace(database)


def fold_log(database: Path) -> None:
    """Empty the write-ahead log into a database that no server uses: the log still holds the bytes of deleted rows.

    Raises:
        sqlite3.Error: it cannot be written, or is no database.
    """
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
