"""Planning: a campaign and all its recipients are written once.

An interrupted plan is not a campaign: the next plan of that name starts afresh.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import orjson
import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.content.definition import Content
from posthorn.content.waves import wave_sizes
from posthorn.errors import LedgerError
from posthorn.ledger import suppression
from posthorn.ledger.deliveries import Delivery, get
from posthorn.ledger.merging import Change, carry_out
from posthorn.ledger.proof_exclusion import void_within
from posthorn.ledger.sampling import Sampled
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import ChunkState, Media, MessageState, Phone, Scope

_ROWS_PER_TRANSACTION = 50_000  # large: a random index grows faster in few transactions; others still get their turn
_PLANNING_WAIT_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Row:
    """One accepted row of the operator's file. All but line and number belong to tickets only.

    ``is_generated``: the row has no code; ``barcode`` was generated for it.
    """

    line: int
    phone: Phone
    copy: int = 0
    barcode: str = ""
    fields: dict[str, str] | None = None
    is_generated: bool = False


class Rows(Protocol):
    """Batches of rows to plan, ``(line, phone)`` or ``Row``; the counts are complete once the iteration has ended."""

    @property
    def invalid(self) -> int:
        """Rows without a valid number."""

    @property
    def duplicate(self) -> int:
        """Rows whose number (or barcode) stood in an earlier row."""

    def __iter__(self) -> Iterator[Sequence[tuple[int, Phone]] | Sequence[Row]]:
        """Iterate once."""
        ...


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """What is to be planned. A sample of ``canary`` rows is the first wave; the rest follows in waves as ``ramp`` says."""

    name: str
    gateway: str
    content: Content
    options: dict[str, Any]
    chunk_size: int
    test: bool = False
    media: Sequence[Media] = ()
    rejects_file: str | None = None
    canary: int = 0
    ramp: Sequence[float] = (1.0,)
    list_hash: str | None = None


def plan(
    ledger: Ledger,
    new: NewDelivery,
    rows: Rows,
    check: Callable[[int], Change | None] | None = None,
    planned: Delivery | None = None,
) -> Delivery | None:
    """Write a campaign and every one of its recipients, once, or merge new rows into a planned one as its next wave.

    ``check`` is called with the campaign's id once the rows are written and before anybody sees them. If it raises or does
    not return, nothing is planned. The changes that it returns are made in the same commit. Only one plan runs at a time, so
    none can slip by. A test campaign replaces an earlier test of that name: it sends nothing, so nothing can be repeated.
    Returns None if no row was valid and nothing was planned before. The caller holds the campaign's lock.

    Raises:
        LedgerError: the name is planned already, or another plan has kept the ledger for ten minutes.
    """
    with ledger.locks.hold("planning", wait_seconds=_PLANNING_WAIT_SECONDS) as held:
        if not held:
            raise LedgerError("another process has been planning for ten minutes; look at it and start again")
        _sweep(ledger)
        campaign_id = _begin(ledger, new) if planned is None else planned.id
        is_first = planned is None
        waves = _stage_waves(ledger, campaign_id, new, rows, canary=new.canary if is_first else 0)
        if is_first and not waves:
            return None
        change = check(campaign_id) if check is not None else None
        if not ledger.locks.still_held("planning"):  # another plan may have swept what is staged
            raise LedgerError("the lock of this plan is lost; nothing was planned. Start again")
        with ledger.write() as connection:
            if change is not None:
                carry_out(connection, campaign_id, change)
            for staged in waves:
                _show(ledger, connection, campaign_id, staged)
            _update(connection, campaign_id, new, rows, planned, change)
            void_within(connection, new.name)
    return get(ledger, new.name, test=new.test)


def _update(
    connection: Connection,
    campaign_id: int,
    new: NewDelivery,
    rows: Rows,
    planned: Delivery | None,
    change: Change | None,
) -> None:
    """Enter what the list and the file say now. The input is everybody ever planned, plus what was rejected this time."""
    wave, campaign = tables.wave.c, tables.campaign
    ever = connection.execute(sa.select(sa.func.sum(wave.messages)).where(wave.campaign_id == campaign_id)).scalar_one()
    options = new.options if change is None or change.options is None else change.options
    values: dict[str, Any] = {"options": options}
    if planned is None:
        values |= {"planned_at": time.time(), "open_wave": 1 if new.canary else None}
    else:
        values["rejects_file"] = new.rejects_file
        if planned.content != new.content:
            values |= {"definition": new.content.as_kept(), "revision": campaign.c.revision + 1}
            _set_media(connection, campaign_id, new.media)
    connection.execute(
        campaign.update()
        .where(campaign.c.id == campaign_id)
        .values(
            input=ever + rows.invalid + rows.duplicate,
            invalid=rows.invalid,
            duplicate=rows.duplicate,
            list_hash=new.list_hash,
            **values,
        )
    )


def forget_unfinished(ledger: Ledger, *, begun_before: float) -> int:
    """Delete what is left of plans that began before that time and never finished; returns how many there were."""
    campaign = tables.campaign.c
    with ledger.locks.hold("planning") as held:
        if not held:  # one is under way: the next time
            return 0
        _sweep(ledger)
        with ledger.write() as connection:
            unfinished = sa.select(campaign.id).where(campaign.planned_at.is_(None), campaign.created_at < begun_before)
            ids = list(connection.execute(unfinished).scalars())
            for campaign_id in ids:
                _forget(connection, campaign_id)
    return len(ids)


def _begin(ledger: Ledger, new: NewDelivery) -> int:
    """Clear what an interrupted plan (or an earlier test) left under this name, and enter the campaign."""
    with ledger.write() as connection:
        same = sa.and_(tables.campaign.c.name == new.name, tables.campaign.c.test == new.test)
        old = connection.execute(sa.select(tables.campaign.c.id, tables.campaign.c.planned_at).where(same)).first()
        if old is not None:
            if old.planned_at is not None and not new.test:
                raise LedgerError(f"{new.name} is planned already")
            _forget(connection, old.id)
        inserted = connection.execute(
            tables.campaign.insert().values(
                kind=int(new.content.kind),
                name=new.name,
                test=new.test,
                gateway=new.gateway,
                definition=new.content.as_kept(),
                options=new.options,
                rejects_file=new.rejects_file,
                list_hash=new.list_hash,
                created_at=time.time(),
            )
        )
        campaign_id = cast(int, inserted.inserted_primary_key[0])  # type: ignore[index]
        _set_media(connection, campaign_id, new.media)
    return campaign_id


def _set_media(connection: Connection, campaign_id: int, items: Sequence[Media]) -> None:
    """Make these the campaign's media. The next upload finds out what the provider has of them."""
    connection.execute(tables.media.delete().where(tables.media.c.campaign_id == campaign_id))
    media = [
        {
            "campaign_id": campaign_id,
            "position": position,
            "source": item.source,
            "name": item.name,
            "content_type": item.content_type,
            "path": item.path,
            "sha256": item.sha256,
            "size": item.size,
        }
        for position, item in enumerate(items)
    ]
    if media:
        connection.execute(tables.media.insert(), media)


def _forget(connection: Connection, campaign_id: int) -> None:
    chunks = sa.select(tables.chunk.c.id).where(tables.chunk.c.campaign_id == campaign_id)
    for table in (tables.message, tables.attempt, tables.ticket, tables.settlement, tables.taken_out, tables.absent):
        connection.execute(table.delete().where(table.c.chunk_id.in_(chunks)))
    connection.execute(tables.chunk.delete().where(tables.chunk.c.campaign_id == campaign_id))
    connection.execute(tables.campaign.delete().where(tables.campaign.c.id == campaign_id))


@dataclass(frozen=True, slots=True)
class _Staged:
    """Messages that are written but whose chunks are not yet: ``sizes`` of the chunks with ids from ``first`` on.

    ``suppressed`` is how many of each chunk must not be messaged.
    """

    first: int
    sizes: list[int]
    suppressed: list[int]


def _sweep(ledger: Ledger) -> None:
    """Delete what an interrupted plan left: messages above the newest chunk. The planning lock is held."""
    with ledger.write() as connection:
        newest = _newest_chunk(connection)
        for table in (tables.message, tables.ticket):
            connection.execute(table.delete().where(table.c.chunk_id > newest))


def _newest_chunk(connection: Connection) -> int:
    newest: int = connection.execute(sa.select(sa.func.coalesce(sa.func.max(tables.chunk.c.id), 0))).scalar_one()
    return newest


def _stage_waves(ledger: Ledger, campaign_id: int, new: NewDelivery, rows: Rows, *, canary: int) -> list[_Staged]:
    """Stage the rows as the waves in which they will go; empty waves are left out."""
    scope = suppression.scope_for(new.content.kind, new.options)
    if not canary:
        staged = _stage(ledger, campaign_id, new.chunk_size, rows, scope)
        return [staged] if staged.sizes else []
    sampled = Sampled(rows, canary, new.name)
    rest = _stage(ledger, campaign_id, new.chunk_size, sampled, scope)
    first = _stage(ledger, campaign_id, new.chunk_size, [sampled.sample], scope, rest.first + len(rest.sizes))
    return [one for one in (first, *_steps(rest, new.ramp)) if one.sizes]


def _steps(staged: _Staged, ramp: Sequence[float]) -> Iterator[_Staged]:
    at = 0
    for size in wave_sizes(len(staged.sizes), ramp):
        yield _Staged(staged.first + at, staged.sizes[at : at + size], staged.suppressed[at : at + size])
        at += size


def _stage(
    ledger: Ledger,
    campaign_id: int,
    chunk_size: int,
    rows: Iterable[Sequence[Any]],
    scope: Scope,
    first: int | None = None,
) -> _Staged:
    """Write the rows as messages of chunks of ``chunk_size`` that do not exist yet, so that nobody sees them.

    Recipients whose opt-outs this scope respects are suppressed from the beginning.
    """
    out = suppression.codes(ledger, scope)
    if first is None:
        with ledger.read() as connection:
            first = _newest_chunk(connection) + 1
    sizes: list[int] = []
    suppressed: list[int] = []
    for batch in _whole_chunks(rows, chunk_size):
        chunks = [batch[at : at + chunk_size] for at in range(0, len(batch), chunk_size)]
        with ledger.write() as connection:
            _write_messages(ledger, connection, campaign_id, first + len(sizes), chunks, out)
        sizes += map(len, chunks)
        suppressed += [sum(map(out.__contains__, _phones(rows))) if out else 0 for rows in chunks]
    return _Staged(first, sizes, suppressed)


def _phones(rows: Sequence[Any]) -> list[int]:
    return [row.phone for row in rows] if isinstance(rows[0], Row) else [phone for _, phone in rows]


def _show(ledger: Ledger, connection: Connection, campaign_id: int, staged: _Staged) -> None:
    """Make what was staged the delivery's next wave, in the caller's transaction."""
    wave, now = tables.wave.c, time.time()
    numbers = sa.select(sa.func.coalesce(sa.func.max(wave.number), 0)).where(wave.campaign_id == campaign_id)
    number = connection.execute(numbers).scalar_one() + 1
    connection.execute(
        tables.wave.insert().values(campaign_id=campaign_id, number=number, planned_at=now, messages=sum(staged.sizes))
    )
    states = {False: int(ChunkState.PENDING), True: int(ChunkState.DONE)}  # one of nobody has nothing to do
    chunks = (
        (chunk, campaign_id, states[out == size], size - out, out, number)
        for chunk, (size, out) in enumerate(zip(staged.sizes, staged.suppressed, strict=True), staged.first)
    )
    _insert(ledger, connection, "chunk (id, campaign_id, state, pending, suppressed, wave)", chunks)


def _whole_chunks(rows: Iterable[Sequence[Any]], size: int) -> Iterator[list[Any]]:
    """The rows in lists as long as one transaction should write; each but the last holds a whole number of chunks."""
    wanted = max(size, _ROWS_PER_TRANSACTION // size * size)
    gathered: list[Any] = []
    for batch in rows:
        gathered.extend(batch)
        while len(gathered) >= wanted:
            yield gathered[:wanted]
            gathered = gathered[wanted:]
    if gathered:
        yield gathered


def _write_messages(
    ledger: Ledger, connection: Connection, campaign_id: int, first: int, chunks: list[list[Any]], out: Mapping[int, str]
) -> None:
    """Write the messages (and tickets) of the chunks with ids from ``first``; the numbers in ``out`` suppressed."""
    numbered = list(enumerate(chunks, first))
    if not isinstance(chunks[0][0], Row):
        messages = (
            (chunk, position, campaign_id, phone, 0, line, 0)
            for chunk, rows in numbered
            for position, (line, phone) in enumerate(rows)
        )
    else:
        messages = (
            (chunk, position, campaign_id, row.phone, row.copy, row.line, 0)
            for chunk, rows in numbered
            for position, row in enumerate(rows)
        )
        tickets = (
            (chunk, position, campaign_id, row.barcode, _json(row.fields), "" if row.is_generated else None)
            for chunk, rows in numbered
            for position, row in enumerate(rows)
        )
        _insert(ledger, connection, "ticket (chunk_id, position, campaign_id, barcode, fields, listed_code)", tickets)
    columns = "chunk_id, position, campaign_id, phone, copy, line, state"
    if out:
        _insert(ledger, connection, f"message ({columns}, error)", _with_codes(messages, out))
    else:
        _insert(ledger, connection, f"message ({columns})", messages)


def _with_codes(messages: Iterable[tuple[int, ...]], out: Mapping[int, str]) -> Iterator[tuple[Any, ...]]:
    """The messages as they begin: pending, or suppressed with why."""
    code_of, suppressed, pending = out.get, int(MessageState.SUPPRESSED), (None,)
    for message in messages:
        code = code_of(message[3])
        yield message + pending if code is None else (*message[:-1], suppressed, code)


def _json(fields: dict[str, str] | None) -> str:
    return orjson.dumps(fields or {}).decode()


def _insert(ledger: Ledger, connection: Connection, into: str, values: Iterable[tuple[Any, ...]]) -> None:
    """Insert many rows by the database's fastest way; ``into`` is ``table (columns)``, written in this module only."""
    if ledger.is_sqlite:
        marks = ", ".join("?" * (into.count(",") + 1))
        connection.exec_driver_sql(f"INSERT INTO {into} VALUES ({marks})", list(values))
        return
    cursor: Any = connection.connection.cursor()  # psycopg's own, for COPY
    with cursor, cursor.copy(f"COPY {into} FROM STDIN") as copy:
        for row in values:
            copy.write_row(row)
