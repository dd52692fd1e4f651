"""Locks that the operating system or the database frees when their holder dies; never a time lease.

A paused process keeps its lock, so nobody takes its chunks for abandoned while it may still wake up and send.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import select
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from typing_extensions import override

from posthorn.errors import LedgerError
from posthorn.ledger.store.failures import explained
from posthorn.statefolder import make_private

_PATIENCE_SECONDS = 0.2  # a reader that asks whether a lock is free holds it for an instant
_PAUSE_SECONDS = 0.02
_NO_SOCKET = -1
# Reading pg_locks disturbs nobody, unlike taking a lock for an instant.
_ADVISORY = (
    "pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_LOCK_NUMBER = "((classid::bigint << 32) | objid::bigint)"


class Locks(Protocol):
    """Named locks, exclusive among all processes that use the ledger (and among holders within one process)."""

    def acquire(self, key: str) -> bool:
        """Take the lock; False when another holds it. It stays held until ``release`` or the end of this process.

        Raises:
            LedgerError: the lock can be neither taken nor refused: the disk or the database is away.
        """

    def release(self, key: str) -> None:
        """Give the lock back; harmless when it is not held."""

    def is_free(self, key: str) -> bool:
        """Whether nobody holds the lock."""

    def held(self, keys: Collection[str]) -> set[str]:
        """Those of the locks that somebody holds: ``is_free`` for many at once."""

    def still_held(self, key: str) -> bool:
        """Whether this process still holds the lock; False after the database dropped the session that held it."""

    def may_be_gone(self, key: str) -> bool:
        """Whether there is reason to ask ``still_held``, as far as can be told at once, without asking anybody."""

    def close(self) -> None:
        """Give back every lock."""

    @contextmanager
    def hold(self, key: str, wait_seconds: float = 0) -> Iterator[bool]:
        """Hold the lock for a block; yields whether it was got within ``wait_seconds``."""
        deadline = time.monotonic() + wait_seconds
        held = self.acquire(key)
        while not held and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
            held = self.acquire(key)
        try:
            yield held
        finally:
            if held:
                self.release(key)


class FileLocks(Locks):
    """``flock`` on a file per key, beside a SQLite ledger. One machine, local disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}
        self._mutex = Lock()

    @override
    def acquire(self, key: str) -> bool:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with self._mutex:
            if key in self._held:
                return False
            while (descriptor := self._try(key)) is None:
                if time.monotonic() > deadline:
                    return False
                time.sleep(_PAUSE_SECONDS)
            self._held[key] = descriptor
            return True

    @override
    def release(self, key: str) -> None:
        with self._mutex:
            descriptor = self._held.pop(key, None)
            if descriptor is not None:
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child may hold a copy of the descriptor
                os.close(descriptor)

    @override
    def is_free(self, key: str) -> bool:
        with self._mutex:
            if key in self._held or (descriptor := self._try(key)) is None:
                return False
            os.close(descriptor)
            return True

    @override
    def held(self, keys: Collection[str]) -> set[str]:
        try:
            names = {entry.name for entry in os.scandir(self._folder)}  # of most there has never been a lock, or is none
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise LedgerError(f"the folder of locks {self._folder} cannot be read: {error.strerror}") from error
        return {key for key in keys if f"{key}.lock" in names and not self.is_free(key)}

    @override
    def still_held(self, key: str) -> bool:
        return key in self._held

    @override
    def may_be_gone(self, key: str) -> bool:
        return key not in self._held

    @override
    def close(self) -> None:
        for key in list(self._held):
            self.release(key)

    def _try(self, key: str) -> int | None:
        try:
            make_private(self._folder)
            descriptor = os.open(self._folder / f"{key}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise LedgerError(f"the lock {self._folder / key}.lock cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor


class PostgresLocks(Locks):
    """Session advisory locks on one connection of their own. Not through a pooler that shares sessions.

    Once that connection fails, every lock is gone, and nothing is held until it is taken anew.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._session: Connection | None = None
        self._socket = _NO_SOCKET
        self._held: set[str] = set()
        self._mutex = Lock()

    @override
    def acquire(self, key: str) -> bool:
        with self._mutex:
            if key in self._held:
                return False
            got = bool(self._ask("SELECT pg_try_advisory_lock(:number)", key))
            if got:
                self._held.add(key)
            return got

    @override
    def release(self, key: str) -> None:
        with self._mutex:
            if key in self._held:
                self._held.discard(key)
                with suppress(LedgerError):  # the session is gone, and the lock with it
                    self._ask("SELECT pg_advisory_unlock(:number)", key)

    @override
    def is_free(self, key: str) -> bool:
        with self._mutex:
            return not self._ask(f"SELECT count(*) FROM {_ADVISORY} AND {_LOCK_NUMBER} = :number", key)

    @override
    def held(self, keys: Collection[str]) -> set[str]:
        with self._mutex:
            numbers: Any = self._ask(f"SELECT array_agg({_LOCK_NUMBER}) FROM {_ADVISORY}")
        taken = set(numbers or ())
        return {key for key in keys if _number(key) in taken}

    @override
    def still_held(self, key: str) -> bool:
        with self._mutex:
            with suppress(LedgerError):
                if key in self._held:
                    self._ask("SELECT :number", key)
            return key in self._held

    @override
    def may_be_gone(self, key: str) -> bool:
        """A session that the server ends says so before it is asked: then something waits to be read on its socket."""
        if key not in self._held:
            return True
        return is_readable(self._socket)

    @override
    def close(self) -> None:
        with self._mutex:
            if self._session is not None:
                with suppress(LedgerError):  # the server takes its time to notice a connection that is gone
                    self._ask("SELECT pg_advisory_unlock_all()")
            self._drop()

    def _ask(self, statement: str, key: str = "") -> object:
        """One statement on the session that holds the locks; it is never replaced while it is believed to hold any."""
        try:
            with explained(self._engine):
                if self._session is None:
                    self._session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                    driver: Any = self._session.connection.driver_connection
                    self._socket = driver.fileno()
                return self._session.execute(sa.text(statement), {"number": _number(key)}).scalar()
        except LedgerError:
            self._drop()
            raise

    def _drop(self) -> None:
        session, self._session = self._session, None
        self._socket = _NO_SOCKET
        self._held.clear()
        if session is not None:
            session.invalidate()  # ends the database session, and with it every lock
            session.close()


def _number(key: str) -> int:
    """A positive 63-bit number for an advisory lock: positive so that its two halves in pg_locks add up again."""
    return int.from_bytes(hashlib.sha256(f"posthorn:{key}".encode()).digest()[:8]) >> 1


def is_readable(socket: int) -> bool:
    """Whether something waits on the socket of an idle session: a server that ends it says so before it is asked."""
    poller = select.poll()
    try:
        poller.register(socket, select.POLLIN)
        return bool(poller.poll(0))
    except (OSError, ValueError):  # closed meanwhile
        return True
