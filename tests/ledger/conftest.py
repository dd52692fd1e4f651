"""Every ledger test runs on SQLite and on PostgreSQL, each in a ledger of its own that is gone afterwards."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from posthorn.ledger.store.engine import Ledger

POSTGRES_URL = "POSTHORN_TEST_POSTGRES_URL"
_numbers = itertools.count(1)


def _server_url() -> str:
    url = os.environ.get(POSTGRES_URL)
    if not url:
        said = f"{POSTGRES_URL} is not set: nothing was tested on PostgreSQL"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _tell(server: str, statement: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)


def _database_url(server: str, database: str) -> str:
    return make_url(server).set(drivername="postgresql+psycopg", database=database).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[tuple[str, str]]:
    """The server's URL, and a database there that holds an empty ledger: copying it is faster than migrating each time."""
    server, template = _server_url(), f"posthorn_test_{secrets.token_hex(5)}"  # others may use the server now
    _tell(server, f"CREATE DATABASE {template}")
    Ledger(_database_url(server, template)).close()
    yield server, template
    _tell(server, f"DROP DATABASE {template} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_template: tuple[str, str]) -> Iterator[str]:
    """A PostgreSQL ledger of the test's own."""
    server, template = postgres_template
    database = f"{template}_{next(_numbers)}"
    _tell(server, f"CREATE DATABASE {database} TEMPLATE {template}")
    yield _database_url(server, database)
    _tell(server, f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture
def empty_postgres_url(postgres_template: tuple[str, str]) -> Iterator[str]:
    """An empty PostgreSQL database of the test's own."""
    server, template = postgres_template
    database = f"{template}_{next(_numbers)}"
    _tell(server, f"CREATE DATABASE {database}")
    yield _database_url(server, database)
    _tell(server, f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite ledger of the test's own."""
    return f"sqlite:///{tmp_path / 'state' / 'ledger.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """A ledger's URL, on each database in turn."""
    found: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database in which no ledger has ever been opened."""
    found: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "empty_postgres_url")
    return found


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """An open ledger."""
    opened = Ledger(url)
    yield opened
    opened.close()


@pytest.fixture
def postgres_ledger(postgres_url: str) -> Iterator[Ledger]:
    """An open ledger on PostgreSQL, for what SQLite's one writer at a time makes impossible."""
    opened = Ledger(postgres_url)
    yield opened
    opened.close()
