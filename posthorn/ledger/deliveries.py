"""Campaigns and events as the ledger holds them: finding them, and what their runs leave behind."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, TypeVar, overload

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.content.definition import CampaignContent, Content, EventContent, read_content
from posthorn.errors import DeliveryNotFound
from posthorn.ledger import settlements
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, change, sql
from posthorn.models import ChunkState, Kind, MessageState, WaitsFor


@dataclass(frozen=True, slots=True)
class Delivery:
    """A planned campaign or event. ``content`` is what it sends, ``options`` what may change between runs.

    ``revision`` rises with each change of the content. ``list_hash`` is the hash of its list as it was last read. Nothing
    is merged into a closed delivery: its rows are erased. ``waiting_until`` is the moment of a last look at what was sent
    again. ``goes_on_at`` is the moment from which its rest is sent by itself. Waves above ``open_wave`` are not claimed;
    None: all may be. ``halted_because``: what a person has to decide on first.
    """

    id: int
    name: str
    test: bool
    gateway: str
    content: Content
    options: dict[str, Any]
    rejects_file: str | None
    input: int
    invalid: int
    duplicate: int
    created_at: float
    run_started_at: float | None
    run_by: str | None
    stopped_because: str | None
    cancelled_at: float | None
    waiting_for: str | None = None
    waiting_until: float | None = None
    copies_sought_at: float | None = None
    revision: int = 1
    list_hash: str | None = None
    cleared_at: float | None = None
    closed_at: float | None = None
    goes_on_for: str | None = None
    goes_on_at: float | None = None
    open_wave: int | None = None
    halted_because: str | None = None

    @property
    def kind(self) -> Kind:
        """What it is."""
        return self.content.kind

    @property
    def lock_key(self) -> str:
        """The name of the lock that the process running it holds."""
        return lock_key(self.name, test=self.test)

    @property
    def lookup_key(self) -> str:
        """The second lock of a process that only looks after it: a lookup, or a person's word on its tickets."""
        return lookup_key(self.lock_key)


@dataclass(frozen=True, slots=True)
class PlannedCampaign(Delivery):
    """A campaign as it is planned."""

    content: CampaignContent

    @property
    def is_canary(self) -> bool:
        """Whether only its canary may be claimed now."""
        return bool(self.options.get("canary")) and self.open_wave == 1

    @property
    def named_moment(self) -> datetime | None:
        """The moment of dispatch that a request made now names, if any: a canary goes at once."""
        return None if self.is_canary else self.content.send_at


@dataclass(frozen=True, slots=True)
class PlannedEvent(Delivery):
    """An event as it is planned."""

    content: EventContent


def delivery_of(content: Content, **others: Any) -> Delivery:
    """The delivery with that content, of its kind; ``others`` are the other fields."""
    if isinstance(content, EventContent):
        return PlannedEvent(content=content, **others)
    return PlannedCampaign(content=content, **others)


_D = TypeVar("_D", bound=Delivery)


def lock_key(name: str, *, test: bool = False) -> str:
    """The name of the lock that makes one sender per delivery."""
    return f"{'test' if test else 'campaign'}-{name}"


def lookup_key(run_key: str) -> str:
    """The name of the second lock of a lookup, beside the delivery's own."""
    return f"lookup-{run_key}"


def is_run(ledger: Ledger, run_key: str) -> bool:
    """Whether a process holds that delivery to run or plan it. A lookup holds it too, and a second lock that says so."""
    return not ledger.locks.is_free(run_key) and ledger.locks.is_free(lookup_key(run_key))


def find(ledger: Ledger, name: str, *, test: bool = False) -> Delivery | None:
    """The planned campaign or event of that name, or None."""
    with ledger.read() as connection:
        return _find(connection, name, test=test)


@overload
def get(ledger: Ledger, name: str, *, test: bool = False, kind: Literal[Kind.CAMPAIGN]) -> PlannedCampaign: ...
@overload
def get(ledger: Ledger, name: str, *, test: bool = False, kind: Literal[Kind.EVENT]) -> PlannedEvent: ...
@overload
def get(ledger: Ledger, name: str, *, test: bool = False, kind: Kind | None = None) -> Delivery: ...
def get(ledger: Ledger, name: str, *, test: bool = False, kind: Kind | None = None) -> Delivery:
    """The planned campaign or event of that name, of that kind if one is given.

    Raises:
        DeliveryNotFound: there is none; the message lists the newest names there are.
    """
    with ledger.read() as connection:
        if (record := _find(connection, name, test=test)) is not None:
            if kind is not None and record.kind != kind:
                raise DeliveryNotFound(f"{name} is {record.kind.noun}, not {kind.noun}")
            return record
        names = connection.execute(
            sa.select(tables.campaign.c.name)
            .where(tables.campaign.c.planned_at.is_not(None), tables.campaign.c.test == test)
            .order_by(sa.desc("id"))
            .limit(5)
        ).scalars()
        known = ", ".join(names) or "none yet"
        other = None if test else _find(connection, name, test=True)
    if other is not None:
        raise DeliveryNotFound(f"{name} was only sent as a test; `posthorn campaign status {name} --test` shows that")
    raise DeliveryNotFound(f"no campaign or event named {name!r} in the ledger; the newest there: {known}")


def refreshed(ledger: Ledger, delivery: _D) -> _D:
    """The delivery as it is now.

    Raises:
        DeliveryNotFound: it is gone, or is of another kind now.
    """
    now = get(ledger, delivery.name, test=delivery.test, kind=delivery.kind)
    assert isinstance(now, type(delivery))
    return now


def all_records(ledger: Ledger, kind: Kind | None = None) -> list[Delivery]:
    """Every planned campaign and event, oldest first."""
    query = sa.select(tables.campaign).where(tables.campaign.c.planned_at.is_not(None)).order_by(tables.campaign.c.id)
    if kind is not None:
        query = query.where(tables.campaign.c.kind == int(kind))
    with ledger.read() as connection:
        return [_record(row) for row in connection.execute(query).mappings()]


def start_run(ledger: Ledger, delivery: Delivery, *, by: str) -> float:
    """Note who runs it and since when; returns that moment. The reason of an earlier stop is forgotten."""
    now = time.time()
    _update(ledger, delivery.id, run_started_at=now, run_ended_at=None, run_by=by, stopped_because=None)
    return now


def change_options(ledger: Ledger, delivery: Delivery, options: dict[str, Any]) -> None:
    """Replace what may change between runs."""
    _update(ledger, delivery.id, options=options)


def note_last_look(ledger: Ledger, delivery: Delivery, at: float | None) -> None:
    """Keep the moment (seconds) of the last look at what was sent again; None if none is to come."""
    _update(ledger, delivery.id, waiting_for=None if at is None else WaitsFor.LAST_LOOK, waiting_until=at)


def note_going_on(ledger: Ledger, delivery: Delivery, reason: str, at: float) -> None:
    """Keep the moment (seconds) at which the rest of it is sent by itself, and what it waits for until then."""
    _update(ledger, delivery.id, goes_on_for=reason, goes_on_at=at)


def looks_due(ledger: Ledger, before: float) -> list[Delivery]:
    """The campaigns whose last look is due before that time (seconds), the earliest first."""
    row = tables.campaign.c
    return _due(ledger, row.waiting_until, row.waiting_until < before)


def going_on(ledger: Ledger, before: float) -> list[Delivery]:
    """The deliveries of which the rest may be sent from a moment before that time (seconds), the earliest first.

    A delivery that was stopped or cancelled meanwhile does not go on by itself.
    """
    row = tables.campaign.c
    is_open = sa.and_(row.stopped_because.is_(None), row.cancelled_at.is_(None))
    return _due(ledger, row.goes_on_at, sa.and_(row.goes_on_at < before, is_open))


def note_sought(ledger: Ledger, delivery: Delivery, at: float) -> None:
    """Note when second copies were looked for."""
    _update(ledger, delivery.id, copies_sought_at=at)


def stop_run(ledger: Ledger, delivery: Delivery, *, because: str) -> None:
    """Make every process that sends for its run stop claiming. The first reason stays."""
    with ledger.write() as connection:
        connection.execute(
            tables.campaign.update()
            .where(tables.campaign.c.id == delivery.id, tables.campaign.c.stopped_because.is_(None))
            .values(stopped_because=because)
        )


def end_run(
    ledger: Ledger,
    delivery: Delivery,
    started_at: float,
    *,
    stopped_because: str | None = None,
    goes_on_for: str | None = None,
    goes_on_at: float | None = None,
) -> None:
    """Note that the run that started then is over: why it stopped early, or when and why it goes on by itself.

    A run that has taken over is not affected.
    """
    with ledger.write() as connection:
        connection.execute(
            tables.campaign.update()
            .where(tables.campaign.c.id == delivery.id, tables.campaign.c.run_started_at == started_at)
            .values(
                run_ended_at=time.time(),
                stopped_because=stopped_because,
                goes_on_for=goes_on_for,
                goes_on_at=goes_on_at,
            )
        )


def cancel(ledger: Ledger, delivery: Delivery) -> int:
    """Stop it for good: nothing more is claimed, and what is pending is cancelled. Returns how many messages that were.

    Chunks in flight are left alone; their answers are recorded as always. A message that had left before, and was only to be
    sent again, is what it was: somebody has it.
    """
    with ledger.write() as connection:
        connection.execute(
            tables.campaign.update()
            .where(tables.campaign.c.id == delivery.id)
            .values(
                cancelled_at=sa.func.coalesce(tables.campaign.c.cancelled_at, time.time()), goes_on_for=None, goes_on_at=None
            )
        )
        hold_chunks(connection, "campaign_id = :campaign", campaign=delivery.id)
        still_open = "campaign_id = :campaign AND state = :open"
        values: dict[str, Any] = {"campaign": delivery.id, "open": int(ChunkState.PENDING)}
        for state in (MessageState.PENDING, MessageState.CANCELLED):  # also what an older version called cancelled
            for chunk in settlements.restore_all(connection, delivery.id, state, "it was cancelled", by="cancel"):
                recount(connection, "id = :chunk", chunk=chunk)
        moved = connection.execute(
            sql(
                "UPDATE message SET state = :cancelled WHERE state = :pending"
                f" AND chunk_id IN (SELECT id FROM chunk WHERE {still_open})"
            ),
            {**values, "cancelled": MessageState.CANCELLED, "pending": MessageState.PENDING},
        ).rowcount
        recount(connection, still_open, **values)
    return moved


_COUNTED = {name: f"count(*) FILTER (WHERE message.state = {int(MessageState[name.upper()])})" for name in tables.COUNTERS}
_FOLLOWS = (
    f"CASE WHEN :keeps_sending AND chunk.state = {ChunkState.SENDING} THEN {ChunkState.SENDING}"
    f" WHEN {_COUNTED['pending']} > 0 THEN {ChunkState.PENDING}"
    f" WHEN {_COUNTED['unknown']} > 0 THEN {ChunkState.UNKNOWN} ELSE {ChunkState.DONE} END"
)
_RECOUNT = (
    f"UPDATE chunk SET ({', '.join(tables.COUNTERS)}, state) ="
    f" (SELECT {', '.join(_COUNTED.values())}, {_FOLLOWS} FROM message WHERE message.chunk_id = chunk.id)"
)


_CANCEL_TAKEN_OUT = (
    f"UPDATE message SET state = {MessageState.CANCELLED} WHERE state = {MessageState.PENDING}"
    " AND (chunk_id, position) IN (SELECT chunk_id, position FROM taken_out WHERE chunk_id IN (SELECT id FROM chunk"
    f" WHERE {{where}} AND NOT (:keeps_sending AND state = {ChunkState.SENDING})))"
)


def hold_chunks(connection: Connection, where: str, **values: object) -> list[int]:
    """The ids of the chunks that ``where`` picks, kept from every other writer until the transaction ends.

    Every verb that moves messages holds their chunks first, in the order of their ids. So two of them cannot wait for each
    other, and each counts what the other has committed. SQLite has only one writer at a time anyway.
    """
    lock = "" if connection.dialect.name == "sqlite" else " FOR UPDATE"
    return list(connection.execute(sql(f"SELECT id FROM chunk WHERE {where} ORDER BY id{lock}"), values).scalars())


def recount(connection: Connection, where: str, *, ends_sending: bool = False, **values: object) -> None:
    """Count the messages of the chunks that ``where`` picks anew, and give the chunks the state that follows.

    Messages that were taken out are cancelled first, if nothing is in flight: every way back to pending ends here.

    The chunks are held already. A chunk that is being sent keeps that state, because its pending messages are in flight,
    unless its sending ends here.
    """
    values["keeps_sending"] = not ends_sending
    change(connection, _CANCEL_TAKEN_OUT.format(where=where), values)
    change(connection, f"{_RECOUNT} WHERE {where}", values)


def _find(connection: Connection, name: str, *, test: bool) -> Delivery | None:
    row = (
        connection.execute(
            sa.select(tables.campaign).where(
                tables.campaign.c.name == name,
                tables.campaign.c.test == test,
                tables.campaign.c.planned_at.is_not(None),
            )
        )
        .mappings()
        .first()
    )
    return None if row is None else _record(row)


def _due(ledger: Ledger, moment: sa.Column[float], is_due: sa.ColumnElement[bool]) -> list[Delivery]:
    query = sa.select(tables.campaign).where(is_due, tables.campaign.c.planned_at.is_not(None)).order_by(moment)
    with ledger.read() as connection:
        return [_record(row) for row in connection.execute(query).mappings()]


def _record(row: sa.RowMapping) -> Delivery:
    values = {field.name: row[field.name] for field in fields(Delivery) if field.name != "content"}
    return delivery_of(read_content(Kind(row["kind"]), row["definition"]), **values)


def _update(ledger: Ledger, campaign_id: int, **values: object) -> None:
    with ledger.write() as connection:
        connection.execute(tables.campaign.update().where(tables.campaign.c.id == campaign_id).values(**values))
