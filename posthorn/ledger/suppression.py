"""Who must not be messaged: the list, and what planning and claiming ask of it. It never moves a message itself.

A number that was removed stays in the list as removed: opt-outs from before the removal no longer count, however often
they are told again. On PostgreSQL an opt-out waits for claims that are being committed, and a claim waits for opt-outs.
So a claim sees everybody who opted out before its commit began. SQLite has only one writer at a time anyway.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.ledger import settlements
from posthorn.ledger.deliveries import recount
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, rows, sql
from posthorn.models import OPT_OUT, OPT_OUT_SOURCES, Kind, MessageState, OptOut, Phone, Scope

_PER_TRANSACTION = 5_000
"""Few enough that a claim does not wait long."""

_PAGE = 5_000
_NUMBERS_PER_QUERY = 1_000
_LOCK = "1886352500, 1"
"""Of the two-number kind, which nothing else here uses."""

CLAIM_LOCK = f"pg_advisory_xact_lock_shared({_LOCK})"
"""What a claim on PostgreSQL selects before it reads the list: held until its commit."""

_ADD_LOCK = f"SELECT pg_advisory_xact_lock({_LOCK})"
_NUMBER = sql("UPDATE identity SET suppressions = suppressions + :count RETURNING suppressions")
_COLUMNS = ("phone", "scope", "source", "why", "by", "since", "number")
_INTO = f"INSERT INTO suppression ({', '.join(_COLUMNS)})"
_AGAIN = (
    " ON CONFLICT (phone, scope) DO UPDATE SET source = excluded.source, why = excluded.why, by = excluded.by,"
    " since = excluded.since, number = excluded.number, removed_at = NULL, removed_by = NULL, removed_why = NULL"
    " WHERE suppression.removed_at IS NOT NULL AND excluded.since > suppression.removed_at"
)
_ADD_EACH = sql(f"{_INTO} VALUES ({', '.join(f':{name}' for name in _COLUMNS)}){_AGAIN}")
_ADD_ARRAYS = sql(
    f"{_INTO} SELECT * FROM unnest(:phone ::bigint[], :scope ::smallint[], :source ::text[], :why ::text[],"
    f" :by ::text[], :since ::float8[], :number ::bigint[]){_AGAIN}"
)
"""One statement with arrays: on PostgreSQL a statement for each entry would keep claims waiting several times as long."""

NEWEST = "(SELECT suppressions FROM identity)"
"""The number of the newest entry; in a claim's transaction it tells whether there is anything new to read."""

_HELD = "SELECT phone, source FROM suppression WHERE {which} AND scope >= :scope AND removed_at IS NULL ORDER BY scope"
"""The widest scope comes last, and so gives the reason."""

_EVERYBODY = _HELD.format(which="number > 0")
_SINCE = "SELECT phone FROM suppression WHERE number > :number AND scope >= :scope AND removed_at IS NULL"
_AMONG_JSON = _HELD.format(which="phone IN (SELECT value FROM json_each(:phones))")
_AMONG_ARRAY = _HELD.format(which="phone = ANY(:phones::bigint[])")
_CODES = {source: f"{OPT_OUT}{source}" for source in OPT_OUT_SOURCES}
_SUPPRESS = sql(
    "UPDATE message SET state = :suppressed, error = :error, provider_id = NULL, epoch = NULL"
    " WHERE chunk_id = :chunk AND position = :position AND state = :pending"
)


@dataclass(frozen=True, slots=True)
class Suppression:
    """One entry of the list. Times are seconds since 1970; None: does not apply."""

    phone: Phone
    scope: Scope
    source: str
    why: str
    by: str
    since: float
    removed_at: float | None = None
    removed_by: str | None = None
    removed_why: str | None = None


def scope_for(kind: Kind, options: Mapping[str, Any]) -> Scope:
    """The lowest scope that a delivery respects: a campaign every one, an event ``all`` unless its file says otherwise."""
    return Scope.ALL if kind == Kind.EVENT and options.get("opt_outs") != "marketing" else Scope.MARKETING


def add(ledger: Ledger, opt_outs: Sequence[OptOut], *, by: str, now: float | None = None) -> int:
    """Put numbers on the list, durably; returns how many entries are new, or in force again.

    What is listed stays as it is. A removed entry is in force again only if the new opt-out came after the removal.

    Raises:
        RuntimeError: it is called in a group, whose claims the lock would wait for.
    """
    ledger.refuse_group()
    now = time.time() if now is None else now
    entries = list(_newest_of_each(opt_outs, by, now).values())
    return sum(_add(ledger, entries[at : at + _PER_TRANSACTION]) for at in range(0, len(entries), _PER_TRANSACTION))


def add_unknown(ledger: Ledger, opt_outs: Sequence[OptOut], *, by: str, now: float | None = None) -> int:
    """``add`` only those that are not on the list, so that reading a whole blacklist again holds nobody up."""
    listed = tables.suppression.c
    query = sa.select(listed.phone, listed.scope).where(listed.removed_at.is_(None))
    held: set[tuple[int, int]] = set()
    with ledger.read() as connection:
        for at in range(0, len(opt_outs), _NUMBERS_PER_QUERY):
            phones = {one.phone for one in opt_outs[at : at + _NUMBERS_PER_QUERY]}
            held |= {(row.phone, row.scope) for row in connection.execute(query.where(listed.phone.in_(phones)))}
    return add(ledger, [one for one in opt_outs if (one.phone, one.scope) not in held], by=by, now=now)


def _newest_of_each(opt_outs: Sequence[OptOut], by: str, now: float) -> dict[tuple[int, int], tuple[Any, ...]]:
    found: dict[tuple[int, int], tuple[Any, ...]] = {}
    for one in opt_outs:
        since = now if one.happened_at is None else min(now, one.happened_at.timestamp())
        key = (int(one.phone), int(one.scope))
        if key not in found or found[key][-1] < since:
            found[key] = (*key, one.source, one.why, one.gateway or by, since)
    return found


def _add(ledger: Ledger, entries: Sequence[tuple[Any, ...]]) -> int:
    with ledger.write() as connection:
        hold_list(connection)
        last = connection.execute(_NUMBER, {"count": len(entries)}).scalar_one()
        numbered = [(*entry, number) for number, entry in enumerate(entries, last - len(entries) + 1)]
        if ledger.is_sqlite:
            each = [dict(zip(_COLUMNS, entry, strict=True)) for entry in numbered]
            return connection.execute(_ADD_EACH, each).rowcount
        arrays = {name: list(column) for name, column in zip(_COLUMNS, zip(*numbered, strict=True), strict=True)}
        return connection.execute(_ADD_ARRAYS, arrays).rowcount


def hold_list(connection: Connection) -> None:
    """Wait for the claims that are being committed, and keep others waiting until this commit. SQLite does so by itself.

    So entries are numbered in the order of their commits: a reader who has read up to one has missed none before it.
    """
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql(_ADD_LOCK)


def remove(ledger: Ledger, phone: Phone, scopes: Sequence[Scope], *, by: str, why: str) -> list[Suppression]:
    """End entries of a number; returns those that were in force. Messages that are suppressed already stay so."""
    listed = tables.suppression
    with ledger.write() as connection:
        held = [one for one in _of(connection, phone) if one.removed_at is None and one.scope in scopes]
        if held:
            connection.execute(
                listed.update()
                .where(listed.c.phone == phone, listed.c.scope.in_([one.scope for one in held]))
                .values(removed_at=time.time(), removed_by=by, removed_why=why)
            )
            connection.execute(_NUMBER, {"count": 1})
    return held


def erase(ledger: Ledger, phone: Phone) -> int:
    """Delete all that the list knows of a number, removed or not; how many entries that were."""
    with ledger.write() as connection:
        connection.execute(_NUMBER, {"count": 1})
        return connection.execute(tables.suppression.delete().where(tables.suppression.c.phone == phone)).rowcount


def of(ledger: Ledger, phone: Phone) -> list[Suppression]:
    """What the list knows of a number, removed entries included; the widest scope first."""
    with ledger.read() as connection:
        return _of(connection, phone)


def _of(connection: Connection, phone: Phone) -> list[Suppression]:
    listed = tables.suppression
    query = sa.select(listed).where(listed.c.phone == phone).order_by(listed.c.scope.desc())
    return [_entry(row) for row in connection.execute(query)]


def _entry(row: sa.Row[Any]) -> Suppression:
    return Suppression(
        Phone(row.phone),
        Scope(row.scope),
        row.source,
        row.why,
        row.by,
        row.since,
        row.removed_at,
        row.removed_by,
        row.removed_why,
    )


def entries(ledger: Ledger) -> Iterator[Suppression]:
    """Every entry in force, in the order of the numbers; read in pages, so nobody is kept waiting."""
    listed = tables.suppression
    key = sa.tuple_(listed.c.phone, listed.c.scope)
    query = sa.select(listed).where(listed.c.removed_at.is_(None)).order_by(listed.c.phone, listed.c.scope).limit(_PAGE)
    last = (0, -1)
    while True:
        with ledger.read() as connection:
            page = [_entry(row) for row in connection.execute(query.where(key > sa.tuple_(*map(sa.literal, last))))]
        yield from page
        if len(page) < _PAGE:
            return
        last = (page[-1].phone, int(page[-1].scope))


def newest(ledger: Ledger, most: int, *, source: str | None = None) -> list[Suppression]:
    """The entries in force, the newest first, at most this many."""
    listed = tables.suppression
    query = sa.select(listed).where(listed.c.removed_at.is_(None))
    if source is not None:
        query = query.where(listed.c.source == source)
    with ledger.read() as connection:
        return [_entry(row) for row in connection.execute(query.order_by(listed.c.since.desc(), listed.c.phone).limit(most))]


def newest_word(ledger: Ledger) -> int:
    """The number of the last change of the list: as long as it is the same, so is the list."""
    with ledger.read() as connection:
        number: int = connection.execute(sql(f"SELECT {NEWEST}")).scalar_one()
    return number


def counted(ledger: Ledger) -> dict[tuple[Scope, str], int]:
    """How many entries are in force, by scope and source."""
    listed = tables.suppression.c
    query = sa.select(listed.scope, listed.source, sa.func.count()).where(listed.removed_at.is_(None))
    with ledger.read() as connection:
        found = connection.execute(query.group_by(listed.scope, listed.source).order_by(listed.scope, listed.source))
        return {(Scope(scope), source): count for scope, source, count in found}


def codes(ledger: Ledger, scope: Scope) -> dict[int, str]:
    """Every number that must not get messages that respect ``scope``, with the code that its message will carry."""
    with ledger.read() as connection:
        return {phone: _CODES[source] for phone, source in rows(connection, _EVERYBODY, {"scope": int(scope)})}


class Watch:
    """The numbers that one process knows to be on the list: read once in full, then only what is new. About 100 bytes each.

    It may hold numbers that were removed since, so a hit here is checked in the list itself.
    """

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._scope: Scope | None = None
        self._number = 0

    @property
    def newest(self) -> int:
        """The number of the list's newest entry, as the last claim has seen it."""
        return self._number

    def finds(self, connection: Connection, phones: Sequence[int], scope: Scope, newest: int) -> bool:
        """Whether one of the numbers may be on the list in this transaction; ``newest`` numbers its newest entry."""
        if scope != self._scope:
            self._known, self._scope, self._number = set(), scope, 0
        if newest > self._number:
            found = rows(connection, _SINCE, {"number": self._number, "scope": int(scope)})
            self._known.update(phone for (phone,) in found)
            self._number = newest
        return not self._known.isdisjoint(phones)


def among(connection: Connection, phones: Sequence[int], scope: Scope) -> dict[int, str]:
    """Those of the numbers that must not get messages that respect ``scope``, with the code that each message will carry."""
    if connection.dialect.name == "sqlite":
        found = rows(connection, _AMONG_JSON, {"phones": orjson.dumps(phones).decode(), "scope": int(scope)})
    else:
        found = rows(connection, _AMONG_ARRAY, {"phones": list(phones), "scope": int(scope)})
    return {phone: _CODES[source] for phone, source in found}


def leave_out(
    connection: Connection, scope: Scope, chunk: int, positions: Sequence[int], phones: Sequence[Phone]
) -> tuple[tuple[int, ...], tuple[Phone, ...]]:
    """Suppress a chunk's pending messages that must not go; returns the positions and numbers of the others."""
    return suppress(connection, chunk, positions, phones, among(connection, phones, scope))


def suppress(
    connection: Connection, chunk: int, positions: Sequence[int], phones: Sequence[Phone], out: Mapping[int, str]
) -> tuple[tuple[int, ...], tuple[Phone, ...]]:
    """Suppress a chunk's pending messages to those in ``out``, each with its code; the others' positions and numbers.

    A message that had left before, and was only to be sent again, is again what it was.
    """
    told = [(position, phone) for position, phone in zip(positions, phones, strict=True) if phone in out]
    if not told:  # removed from the list just now
        return tuple(positions), tuple(phones)
    restored: set[int] = set()
    for code in sorted({out[phone] for _, phone in told}):
        restored |= settlements.restore(connection, chunk, [one for one, phone in told if out[phone] == code], code)
    values = {"chunk": chunk, "pending": int(MessageState.PENDING), "suppressed": int(MessageState.SUPPRESSED)}
    if never := [(position, phone) for position, phone in told if position not in restored]:
        connection.execute(_SUPPRESS, [{**values, "position": position, "error": out[phone]} for position, phone in never])
    recount(connection, "id = :chunk", chunk=chunk)
    left = [(position, phone) for position, phone in zip(positions, phones, strict=True) if phone not in out]
    return tuple(position for position, _ in left), tuple(phone for _, phone in left)
