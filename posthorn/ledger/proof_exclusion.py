"""Keeps proofs apart from recipients' messages: a proof's id belongs to no message, and its code is void.

While a proof's id is not known, nothing is concluded from rows that are listed for its number.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import Kind, Phone, ProofOutcome, mms_number

_VOID = sql(
    "INSERT INTO void_code (campaign_id, code, voided_at, by, why)"
    " SELECT c.id, p.code, p.claimed_at, p.by, 'a proof' FROM proof p JOIN campaign c ON c.name = p.name AND c.kind = p.kind"
    " WHERE p.name = :name AND p.code IS NOT NULL AND NOT c.test AND c.planned_at IS NOT NULL AND c.closed_at IS NULL"
    " ON CONFLICT DO NOTHING"
)


def void_within(connection: Connection, name: str) -> None:
    """Make the codes of an event's proofs void; called whenever it is planned or a proof of it ends."""
    connection.execute(_VOID, {"name": name})


def is_open() -> sa.ColumnElement[bool]:
    """Whether a proof may be listed under an id that nobody here knows."""
    proof = tables.proof.c
    in_doubt = proof.outcome.in_([ProofOutcome.SENDING.value, ProofOutcome.UNKNOWN.value])
    return sa.or_(in_doubt, sa.and_(proof.outcome == ProofOutcome.TAKEN.value, proof.provider_id.is_(None)))


def open_with(
    ledger: Ledger, gateway: str, phones: Sequence[Phone], since: float, title: str | None = None
) -> dict[Phone, list[tuple[float, float]]]:
    """Those of the numbers to which a proof of unknown outcome went since then, with when each was under way (seconds).

    Only those of that title, if one is given.
    """
    proof = tables.proof.c
    query = sa.select(proof.phone, proof.title, proof.claimed_at, sa.func.coalesce(proof.ended_at, time.time()))
    query = query.where(proof.gateway == gateway, proof.phone.in_(phones), proof.claimed_at >= since, is_open())
    found: defaultdict[Phone, list[tuple[float, float]]] = defaultdict(list)
    with ledger.read() as connection:
        for phone, own, begun, ended in connection.execute(query):
            if title is None or str(own).strip() == title:
                found[Phone(phone)].append((begun, ended))
    return dict(found)


def ids_among(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the provider's ids that belong to proofs."""
    proof = tables.proof.c
    return set(connection.execute(sa.select(proof.provider_id).where(proof.provider_id.in_(ids))).scalars())


def may_be_about_one(connection: Connection, phone: Phone, mms_id: str) -> bool:
    """Whether news of that number and stored MMS may be of a proof whose id is not known."""
    proof = tables.proof.c
    query = sa.select(proof.mms_id).where(proof.phone == phone, proof.mms_id.is_not(None), is_open())
    return any(mms_number(other) == mms_number(mms_id) for other in connection.execute(query).scalars())


def erase_within(connection: Connection, kind: Kind, name: str) -> None:
    """Delete the proofs of a delivery that is erased: each has a number."""
    proof = tables.proof
    connection.execute(proof.delete().where(proof.c.kind == int(kind), proof.c.name == name))


def erase_unplanned(ledger: Ledger, *, claimed_before: float) -> int:
    """Delete old proofs of files that were never planned; returns how many."""
    proof, campaign = tables.proof, tables.campaign.c
    is_planned = sa.exists().where(campaign.name == proof.c.name)
    with ledger.write() as connection:
        return connection.execute(proof.delete().where(proof.c.claimed_at < claimed_before, ~is_planned)).rowcount
