"""A person's word on messages of unknown outcome. It is kept with who and why, and settles all that it names or none."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.ledger import reconciling
from posthorn.ledger.deliveries import Delivery, hold_chunks, recount
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import MessageState, Phone

_PHONES_PER_QUERY = 500


def resolve(ledger: Ledger, campaign: Delivery, phones: Sequence[Phone], *, taken: bool, by: str, why: str) -> list[Phone]:
    """A person settles unknown messages: they were taken, or they were not and are pending again (cancelled, if it was).

    Returns the numbers that are no unknown message of the campaign. Where there is one, nothing is settled.
    """
    if taken:
        state, change = MessageState.ACCEPTED, "error = NULL"  # its epoch stays: a later lookup may still find its id
    else:
        state = MessageState.PENDING if campaign.cancelled_at is None else MessageState.CANCELLED
        change = "error = NULL, provider_id = NULL, epoch = NULL"
    with ledger.write() as connection:
        for chunk in sorted({row.chunk_id for row in _unknown_of(connection, campaign, phones)}):
            hold_chunks(connection, "id = :chunk", chunk=chunk)
        found = _unknown_of(connection, campaign, phones)  # as it is now that nobody else can change it
        strangers = sorted(set(phones) - {row.phone for row in found})
        if strangers:
            return strangers
        for row in found:
            where = {"chunk": row.chunk_id, "position": row.position}
            statement = f"UPDATE message SET state = :state, {change} WHERE chunk_id = :chunk AND position = :position"  # noqa: S608
            connection.execute(sql(statement), {**where, "state": int(state)})
            _keep_word(connection, campaign, row, state, by, why)
        for chunk in sorted({row.chunk_id for row in found}):
            recount(connection, "id = :chunk", chunk=chunk)
    return []


def unknown_phones(ledger: Ledger, campaign: Delivery) -> list[Phone]:
    """The number of every message of unknown outcome, in order."""
    return [row.phone for row in reconciling.evidence_of(ledger, campaign)]


def _unknown_of(connection: Connection, campaign: Delivery, phones: Sequence[Phone]) -> Sequence[Any]:
    """The unknown messages of the campaign to these numbers; also in a chunk whose rest is pending."""
    message = tables.message.c
    query = sa.select(message.chunk_id, message.position, message.phone).where(
        message.campaign_id == campaign.id, message.state == int(MessageState.UNKNOWN)
    )
    slices = [phones[at : at + _PHONES_PER_QUERY] for at in range(0, len(phones), _PHONES_PER_QUERY)]
    return [row for some in slices for row in connection.execute(query.where(message.phone.in_(some)))]


def _keep_word(connection: Connection, campaign: Delivery, row: Any, state: MessageState, by: str, why: str) -> None:
    connection.execute(
        tables.settlement.insert().values(
            campaign_id=campaign.id,
            chunk_id=row.chunk_id,
            position=row.position,
            settled_at=time.time(),
            decision="resolved",
            state=int(state),
            by=by,
            evidence=why,
        )
    )
