"""The database's own errors as sentences for the operator: the ledger is named, no password and no phone number is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from posthorn.errors import LedgerError

_NUMBER = re.compile(r"\d{7,}")
_DEADLOCK = "40P01"  # PostgreSQL's code


class Conflict(LedgerError):
    """A value that must be unique is another row's already."""


def shown(url: URL) -> str:
    """The database URL as it may be shown: without the password, wherever it stands."""
    return url.set(query={}).render_as_string(hide_password=True)


class Deadlock(LedgerError):
    """Two transactions waited for each other, and PostgreSQL has undone this one: done again, it waits for the other."""


@contextmanager
def explained(engine: Engine) -> Iterator[None]:
    """Turn whatever the database or its driver raises into a ``LedgerError``.

    Only the first line of the driver's text is kept: the lines after it quote rows and statements. The cause is not
    chained, for the same reason.

    Raises:
        Conflict: a unique index spoke.
        Deadlock: another transaction waited for this one.
        LedgerError: anything else.
    """
    driver = engine.dialect.loaded_dbapi
    try:
        yield
    except (sa.exc.DBAPIError, sa.exc.TimeoutError, sa.exc.PendingRollbackError, driver.Error) as error:
        raise _kind(error, driver)(f"the ledger {shown(engine.url)} failed: {_first_line(error)}") from None


def _kind(error: Exception, driver: Any) -> type[LedgerError]:
    if isinstance(error, (sa.exc.IntegrityError, driver.IntegrityError)):
        return Conflict
    is_deadlock = getattr(getattr(error, "orig", None) or error, "sqlstate", None) == _DEADLOCK
    return Deadlock if is_deadlock else LedgerError


def _first_line(error: Exception) -> str:
    said = str(getattr(error, "orig", None) or error).strip()
    return _NUMBER.sub("***", said.splitlines()[0]) if said else type(error).__name__
