"""What the ledger's tests share: a planned campaign, answers, and the count that must always agree with the counters."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from posthorn.content.definition import CampaignContent, EventContent
from posthorn.ledger import claiming, deliveries, planning, totals
from posthorn.ledger.claims import Claim
from posthorn.ledger.costs import FREE, Limits
from posthorn.ledger.deliveries import Delivery, delivery_of
from posthorn.ledger.planning import NewDelivery
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.ledger.suppression import Watch
from posthorn.models import AllTaken, Answer, ChunkState, Media, MessageState, Phone, Receipt

FIRST_PHONE = 48_500_000_000
OWNER = "host.example-1-aaaaaaaaaaaa"
ZOMBIE = "host.example-2-bbbbbbbbbbbb"
LATEST = 10**9

ACCEPTED, UNKNOWN, PENDING, REJECTED = (
    MessageState.ACCEPTED,
    MessageState.UNKNOWN,
    MessageState.PENDING,
    MessageState.REJECTED,
)


class Listed:
    """Accepted rows, as an intake gives them; ``breaks_after`` raises in the middle, as a killed plan would end."""

    def __init__(self, count: int, *, first: int = 0, breaks_after: int | None = None, batch: int = 100) -> None:
        self.input, self.invalid, self.duplicate = count + 3, 2, 1
        self._rows = [(line, Phone(FIRST_PHONE + first + line)) for line in range(count)]
        self._breaks_after, self._batch = breaks_after, batch

    def __iter__(self) -> Iterator[Sequence[tuple[int, Phone]]]:
        for at in range(0, len(self._rows), self._batch):
            if self._breaks_after is not None and at >= self._breaks_after:
                raise InterruptedError("the plan was interrupted")
            yield self._rows[at : at + self._batch]


def new_campaign(name: str = "sale", *, chunk_size: int = 10, test: bool = False) -> NewDelivery:
    return NewDelivery(
        name=name,
        gateway="serwersms",
        content=CampaignContent(title="Autumn sale"),
        options={},
        chunk_size=chunk_size,
        test=test,
        media=[Media("poster.png", "poster.png", "image/png", "/poster.png", "ab" * 32, 7)],
    )


def event_content(**given: object) -> EventContent:
    """What an event's tickets are made of; keywords give what matters."""
    return EventContent.read({"mms_id": "77", "from": "60300", **given})


def delivery(**given: Any) -> Delivery:
    """A delivery that stands in no ledger; keywords give what matters."""
    usual: dict[str, Any] = {field.name: None for field in dataclasses.fields(Delivery)}
    usual.update(
        id=1, name="sale", test=False, gateway="serwersms", content=CampaignContent(title="Autumn sale"), options={}
    )
    return delivery_of(**{**usual, **given})


def planned(
    ledger: Ledger, count: int = 30, *, name: str = "sale", chunk_size: int = 10, test: bool = False, first: int = 0
) -> Delivery:
    """A campaign of ``count`` messages in chunks of ``chunk_size``."""
    campaign = planning.plan(ledger, new_campaign(name, chunk_size=chunk_size, test=test), Listed(count, first=first))
    assert campaign is not None
    return campaign


def claimed(ledger: Ledger, campaign: Delivery, owner: str = OWNER) -> Claim:
    claim = claim_one(ledger, campaign, owner)
    assert claim is not None
    return claim


def claim_one(
    ledger: Ledger,
    campaign: Delivery,
    owner: str = OWNER,
    first: int = 1,
    last: int = LATEST,
    watch: Watch | None = None,
    limits: Limits = FREE,
) -> Claim | None:
    """The next claim, as ``claiming.claim`` makes it; None if there is none left."""
    return next(iter(claiming.claim(ledger, campaign, owner, first, last, watch, limits)), None)


def first_chunk(ledger: Ledger, campaign: Delivery) -> int:
    """The id of its first chunk."""
    return _chunk(ledger, campaign, sa.func.min)


def last_chunk(ledger: Ledger, campaign: Delivery) -> int:
    """The id of its last chunk."""
    return _chunk(ledger, campaign, sa.func.max)


def _chunk(ledger: Ledger, campaign: Delivery, which: Callable[..., sa.Function[int]]) -> int:
    chunk = tables.chunk.c
    with ledger.read() as connection:
        return connection.execute(sa.select(which(chunk.id)).where(chunk.campaign_id == campaign.id)).scalar_one()


def ids(claim: Claim) -> list[str]:
    return [f"id-{claim.chunk_id}-{position}-{claim.epoch}" for position in claim.positions]


def answer(claim: Claim, *states: MessageState) -> Answer:
    """An answer that takes every recipient, but for the last ones, whose states are given; shaped as a gateway's."""
    if not states:
        return Answer(AllTaken(ACCEPTED, ids(claim)), raw=b'{"items": []}')
    all_states = [ACCEPTED] * (len(claim.positions) - len(states)) + list(states)
    receipts = [
        Receipt(state, provider_id if state in (ACCEPTED, MessageState.SCHEDULED) else None)
        for state, provider_id in zip(all_states, ids(claim), strict=True)
    ]
    return Answer(receipts, anomalies=["one is not mentioned"] if UNKNOWN in states else [], raw=b'{"items": []}')


def states(ledger: Ledger, campaign: Delivery) -> dict[str, int]:
    """How many messages are in each state, counted from the messages themselves; the ledger's own counters must agree."""
    everything_adds_up(ledger)
    message = tables.message
    with ledger.read() as connection:
        counted = connection.execute(
            sa.select(message.c.state, sa.func.count()).where(message.c.campaign_id == campaign.id).group_by(message.c.state)
        ).all()
    return {MessageState(state).name.lower(): count for state, count in counted}


def everything_adds_up(ledger: Ledger) -> None:
    """Counters equal a real count, each chunk has the state that follows from it, and the totals equal the input."""
    assert counters_differ(ledger) == []
    for campaign in deliveries.all_records(ledger):
        told = totals.status(ledger, campaign)
        assert told["balanced"], told
    with ledger.read() as connection:
        bound = connection.execute(sa.select(tables.message.c.provider_id)).scalars().all()
    assert not [provider_id for provider_id, count in Counter(bound).items() if provider_id and count > 1]


def counters_differ(ledger: Ledger) -> list[str]:
    """The chunks whose counters are not what a count of their messages gives, or whose state does not follow from them."""
    message, chunk = tables.message, tables.chunk
    counted: dict[int, Counter[int]] = {}
    with ledger.read() as connection:
        for row in connection.execute(
            sa.select(message.c.chunk_id, message.c.state, sa.func.count()).group_by(message.c.chunk_id, message.c.state)
        ):
            counted.setdefault(row[0], Counter())[row[1]] = row[2]
        erased = sa.select(tables.campaign.c.id).where(tables.campaign.c.erased_at.is_not(None))  # its counts stay
        chunks = connection.execute(sa.select(chunk).where(chunk.c.campaign_id.not_in(erased))).mappings().all()
    problems = []
    for row in chunks:
        real = counted.pop(row["id"], Counter())
        if any(row[counter] != real[state] for state, counter in enumerate(tables.COUNTERS)):
            problems.append(f"chunk {row['id']} counts {[row[name] for name in tables.COUNTERS]}, its messages {dict(real)}")
        if row["state"] not in _states_for(row):
            problems.append(f"chunk {row['id']} is {ChunkState(row['state']).name} with {dict(real)}")
    return problems + [f"messages of chunk {chunk_id}, which does not exist" for chunk_id in counted]


def _states_for(row: sa.RowMapping) -> tuple[ChunkState, ...]:
    if row["pending"]:
        return ChunkState.PENDING, ChunkState.SENDING
    return (ChunkState.UNKNOWN if row["unknown"] else ChunkState.DONE,)


def chunk_state(ledger: Ledger, chunk_id: int) -> ChunkState:
    with ledger.read() as connection:
        return ChunkState(
            connection.execute(sa.select(tables.chunk.c.state).where(tables.chunk.c.id == chunk_id)).scalar_one()
        )


def attempts(ledger: Ledger, chunk_id: int) -> list[str]:
    """The outcomes of a chunk's attempts, in order."""
    attempt = tables.attempt.c
    with ledger.read() as connection:
        query = sa.select(attempt.outcome).where(attempt.chunk_id == chunk_id).order_by(attempt.epoch)
        return list(connection.execute(query).scalars())


@contextmanager
def another(url: str) -> Iterator[Ledger]:
    """The same ledger, opened once more."""
    opened = Ledger(url)
    try:
        yield opened
    finally:
        opened.close()
