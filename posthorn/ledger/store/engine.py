"""The ledger's database: opening it safely, migrating it, and the two kinds of transaction the verbs use.

SQLite: WAL, ``synchronous=FULL``, writers begin with ``BEGIN IMMEDIATE`` (a transaction that first reads and then writes
would fail at once when another writes). Never on a network share. PostgreSQL: as it comes, ``synchronous_commit`` stays on;
both ends of each connection notice within seconds that the other one is gone.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url

from posthorn.errors import LedgerError
from posthorn.ledger.store import tables
from posthorn.ledger.store.failures import explained, shown
from posthorn.ledger.store.locks import FileLocks, Locks, PostgresLocks, is_readable
from posthorn.ledger.store.migrations import HEAD
from posthorn.settings import Settings, load_settings
from posthorn.statefolder import make_private

_BUSY_TIMEOUT_SECONDS = 30
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-32768",
    "wal_autocheckpoint=8000",  # pages: a million sends change the same ones again and again
)
_IN_ERROR = 3  # psycopg's TransactionStatus.INERROR, without importing psycopg for SQLite's sake
_LINK = {"idle": 5, "interval": 3, "count": 3}  # seconds, seconds, probes: a cut link is noticed after 14 s
_UNANSWERED_MS = 14_000  # for what was sent and not acknowledged, where the kernel would go on for a quarter of an hour
_CLIENT_SIDE: dict[str, int] = {
    "connect_timeout": 5,
    "keepalives": 1,
    **{f"keepalives_{name}": value for name, value in _LINK.items()},
    "tcp_user_timeout": _UNANSWERED_MS,
}
_SERVER_SIDE: dict[str, str] = {
    # The other end of the same link: the server ends a session it can no longer reach, and frees its locks.
    **{f"tcp_keepalives_{name}": str(value) for name, value in _LINK.items()},
    "tcp_user_timeout": str(_UNANSWERED_MS),
    # Neither bounds a statement that works: planning a million rows is one long COPY.
    "lock_timeout": f"{_BUSY_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": "60s",
}
_RESTED_SECONDS = 1.0
_SET_SERVER_SIDE = "SELECT " + ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SERVER_SIDE.items())


@contextmanager
def open_ledger(settings: Settings | None = None) -> Iterator[Ledger]:
    """The ledger that the settings name, open for the block; without any, those of the environment.

    Raises:
        LedgerError: the database cannot be reached, or is of a later version of Posthorn.
        SettingsError: the environment's settings are wrong.
    """
    ledger = Ledger((settings or load_settings()).database_url)
    try:
        yield ledger
    finally:
        ledger.close()


class Ledger:
    """An open ledger. Its verbs are the functions of the modules beside this one; this class only holds the database.

    ``read`` and ``write`` give a connection inside a transaction that commits at the end of the ``with`` block. Both may be
    used from several threads at once.

    Raises:
        LedgerError: the database cannot be reached, or is of a later version of Posthorn.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self._engine = _sqlite_engine(self._url) if self.is_sqlite else _postgres_engine(self._url)
        self._reading = self._engine.execution_options(posthorn_reading=True)
        self._group = threading.local()
        self.locks: Locks = FileLocks(_beside(self._url)) if self.is_sqlite else PostgresLocks(self._engine)
        try:
            _migrate(self)
            with self.read() as connection:
                self.uuid: str = connection.execute(sa.select(tables.identity.c.uuid)).scalar_one()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that will write; committed durably when the block (or the group it is in) ends well.

        In a group, an exception in the block undoes the block only.
        """
        grouped: Connection | None = getattr(self._group, "connection", None)
        if grouped is None:
            with self._noting_what_waits(), explained(self._engine), self._engine.begin() as connection:
                yield connection
        else:
            with explained(self._engine):
                _refuse_lost_transaction(grouped)
                with _savepoint(grouped):
                    yield grouped

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: it waits for no writer and keeps none waiting. In a group, it sees the group."""
        grouped: Connection | None = getattr(self._group, "connection", None)
        if grouped is None:
            with explained(self._engine), self._reading.begin() as connection:
                yield connection
        else:
            with explained(self._engine):
                yield grouped

    @contextmanager
    def group(self) -> Iterator[None]:
        """Every ``write`` of this thread inside the block becomes durable with one commit, at its end.

        A durable commit costs the disk about as much for eight verbs as for one. A group inside a group is a part of it, and
        is undone as a whole.
        """
        if getattr(self._group, "connection", None) is not None:
            with self.write():
                yield
            return
        with self.write() as connection:
            self._group.connection = connection
            try:
                yield
            finally:
                del self._group.connection

    def refuse_group(self) -> None:
        """For verbs whose transactions must be their own: each holds chunks in order, two of them in one would not.

        Raises:
            RuntimeError: this thread is in a group.
        """
        if getattr(self._group, "connection", None) is not None:
            raise RuntimeError("this verb needs transactions of its own; call it outside a group")

    def when_durable(self, then: Callable[[], None]) -> None:
        """Call ``then`` once what this thread has written is durable: now, or after the commit that it waits for."""
        waiting: list[Callable[[], None]] | None = getattr(self._group, "waiting", None)
        if waiting is None:
            then()
        else:
            waiting.append(then)

    @contextmanager
    def _noting_what_waits(self) -> Iterator[None]:
        """Have ``when_durable`` wait for the end of the block, which is a transaction."""
        waiting: list[Callable[[], None]] = []
        self._group.waiting = waiting
        try:
            yield
        finally:
            self._group.waiting = None
        for then in waiting:
            then()

    def close(self) -> None:
        """Give up every lock and connection."""
        self.locks.close()
        self._engine.dispose()


def rows(connection: Connection, statement: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
    """The rows of one of the few statements that every request needs, by the driver alone.

    SQLAlchemy's own way around a statement takes several times as long as SQLite takes for it.
    """
    found: list[tuple[Any, ...]] = execute(connection, statement, values).fetchall()
    return found


def change(connection: Connection, statement: str, values: Mapping[str, object]) -> int:
    """``rows`` for a statement that returns none: how many rows it changed."""
    changed: int = execute(connection, statement, values).rowcount
    return changed


@contextmanager
def pipelined(connection: Connection) -> Iterator[None]:
    """Send what the block executes in one go, the transaction's beginning included; nothing is known before its end.

    PostgreSQL only: SQLite has no way to go.
    """
    if connection.dialect.name == "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    try:
        with driver.pipeline():
            yield
    except BaseException as error:
        if not driver.pgconn.pipeline_status:
            raise
        # Its session ended in the middle: it is neither in the pipeline nor out of it, and would refuse a rollback.
        connection.invalidate()
        first = error.__context__
        raise (first if isinstance(first, connection.dialect.loaded_dbapi.Error) else error) from None


def execute(connection: Connection, statement: str, values: Mapping[str, object]) -> Any:
    """``rows`` and ``change`` in a ``pipelined`` block: the driver's cursor, to be asked after its end."""
    driver: Any = connection.connection.driver_connection
    return driver.execute(statement if connection.dialect.name == "sqlite" else _for_psycopg(statement), values)


@functools.cache
def _for_psycopg(statement: str) -> str:
    """``:name`` as ``%(name)s``; a cast (``::``) stays."""
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", statement.replace("%", "%%"))


@contextmanager
def _savepoint(connection: Connection) -> Iterator[None]:
    """What fails in the block undoes the block only; where even that fails, the whole transaction is undone."""
    driver: Any = connection.connection.driver_connection
    driver.execute("SAVEPOINT verb")
    try:
        yield
    except BaseException:
        try:
            driver.execute("ROLLBACK TO SAVEPOINT verb")
            driver.execute("RELEASE SAVEPOINT verb")
        except Exception:  # noqa: BLE001 - a full disk, a lost session: _refuse_lost_transaction says so at the commit
            with suppress(Exception):
                driver.rollback()
        raise
    driver.execute("RELEASE SAVEPOINT verb")


@functools.cache
def sql(statement: str) -> sa.TextClause:
    """The statement, parsed once: building one anew costs as much as carrying it out."""
    return sa.text(statement)


def shown_url(url: str) -> str:
    """The database URL as it may be shown: without the password."""
    return shown(make_url(url))


def ledger_place(url: str) -> str:
    """Where the ledger is, for people: the whole path of a file, or the URL without its password."""
    place = make_url(url)
    is_file = place.get_backend_name() == "sqlite" and place.database
    return str(Path(str(place.database)).absolute()) if is_file else shown(place)


_creating = threading.Lock()


def _create(path: Path) -> None:
    """Make the file, for its owner only; SQLite gives its -wal and -shm files the same mode.

    Never touch one that is there: SQLite's locks belong to the process, and closing any other descriptor of the file drops
    them all. Another process would then take the ledger for unused and remove the -wal that we write to.
    """
    with _creating:
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _beside(url: URL) -> Path:
    """The folder of a SQLite ledger's locks: beside the file itself, whatever link it is opened by, as its WAL is."""
    path = Path(str(url.database)).resolve()
    return path.with_name(f"{path.name}.locks")


def _sqlite_engine(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise LedgerError("the ledger must be a file: sqlite:///path/to/ledger.db")
    path = Path(url.database)
    try:
        make_private(path.parent)
        _create(path)
    except OSError as error:
        raise LedgerError(
            f"the ledger {path.absolute()} cannot be opened: {error.strerror or error}. POSTHORN_DATABASE_URL says where"
            " it is: make that folder writable, or name another file there"
        ) from error
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_SECONDS}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin by itself
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("posthorn_reading")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    event.listen(engine, "commit", _refuse_lost_transaction)
    return engine


def _postgres_engine(url: URL) -> Engine:
    own = {name: value for name, value in _CLIENT_SIDE.items() if name not in url.query}  # an operator's word wins
    # It warns of each further error that it meets beside the one that it raises, and names the server.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    engine = create_engine(url, pool_size=4, max_overflow=4, hide_parameters=True, connect_args=own)

    @event.listens_for(engine, "connect")
    def bound(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(_SET_SERVER_SIDE)
        cursor.close()
        connection.commit()  # a setting whose transaction is rolled back is undone

    @event.listens_for(engine, "checkin")
    def rested(_connection: object, record: Any) -> None:
        record.info["rested_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ask_first(connection: sa.engine.interfaces.DBAPIConnection, record: Any, _proxy: object) -> None:
        """What has rested may have been cut off; SQLAlchemy's own ``pool_pre_ping`` would ask before each transaction."""
        rested_at = record.info.pop("rested_at", None)
        if rested_at is None:
            return
        try:
            if time.monotonic() - rested_at >= _RESTED_SECONDS or is_readable(connection.fileno()):
                engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.InvalidatePoolError from error  # the pool opens another one, and trusts none of its age

    event.listen(engine, "commit", _refuse_lost_transaction)
    return engine


def _refuse_lost_transaction(connection: Connection) -> None:
    """Refuse to go on in a transaction that is none any more.

    A full disk makes SQLite roll all of it back, an error makes PostgreSQL do so at the commit, and neither driver says so
    then: a claim would be taken for durable that is not.
    """
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        is_lost = not driver.in_transaction
    else:
        is_lost = driver.info.transaction_status == _IN_ERROR
    if is_lost:
        raise LedgerError(f"the ledger {shown(connection.engine.url)} has rolled back a transaction; nothing of it was kept")


def _migrate(ledger: Ledger) -> None:
    """Bring the tables to ``HEAD``; one process at a time."""
    with ledger.read() as connection:
        if _version(connection) == HEAD:
            return
    with ledger.locks.hold("migration", wait_seconds=_BUSY_TIMEOUT_SECONDS) as held:
        if not held:
            raise LedgerError("another process has been migrating the ledger for a long time; look at it and start again")
        with ledger.write() as connection:
            if _version(connection) != HEAD:
                _upgrade(connection)


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    if version is not None and version > HEAD:
        raise LedgerError(
            f"the ledger is of a later Posthorn (its version is {version}, this one knows {HEAD}); upgrade Posthorn"
        )
    return version


def _upgrade(connection: Connection) -> None:
    from alembic import command  # a slow import, needed once per version only
    from alembic.config import Config

    config = Config()
    here = str(Path(__file__).with_name("migrations")).replace("%", "%%")  # the configuration takes % for a placeholder
    config.set_main_option("script_location", here)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.execute(sa.select(tables.identity.c.uuid)).first() is None:
        connection.execute(tables.identity.insert().values(id=1, uuid=uuid.uuid4().hex, created_at=time.time()))
