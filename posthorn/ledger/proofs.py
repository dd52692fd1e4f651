"""Proofs: real messages to an operator's own number. They are no recipient's, so no total and no repeat check has them.

A proof is claimed and committed before its request leaves, as every message is. The provider's id is bound to it. While its
outcome is not known, no listed row of its number counts as a recipient's message: see ``proof_exclusion``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from posthorn.errors import LedgerError
from posthorn.ledger import suppression
from posthorn.ledger.claims import owner_key
from posthorn.ledger.costs import Limits, reserve
from posthorn.ledger.proof_exclusion import void_within
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.ledger.suppression import CLAIM_LOCK
from posthorn.models import Kind, Phone, ProofOutcome, Scope


@dataclass(frozen=True, slots=True)
class NewProof:
    """What is to be sent to whom. A campaign's proof has a title, a ticket's a stored MMS and a code of its own."""

    kind: Kind
    name: str
    gateway: str
    phone: Phone
    by: str
    title: str | None = None
    mms_id: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class ProofClaim:
    """One proof that this process may send, once."""

    id: int
    owner: str
    new: NewProof


class Suppressed(LedgerError):
    """The number must not be messaged; nothing was claimed."""


def suppressed(ledger: Ledger, phones: Sequence[Phone]) -> set[int]:
    """Those of the numbers that must get nothing at all, not even a proof."""
    with ledger.read() as connection:
        return set(suppression.among(connection, phones, Scope.ALL))


def claim(ledger: Ledger, new: NewProof, owner: str, limits: Limits) -> ProofClaim:
    """Enter a proof before its request leaves, and reserve its cost. Its code is void from now on.

    Raises:
        Suppressed: its number must get nothing.
        CapReached: its cost would exceed a cap.
    """
    with ledger.write() as connection:
        if not ledger.is_sqlite:
            connection.exec_driver_sql(f"SELECT {CLAIM_LOCK}")
        if suppression.among(connection, [new.phone], Scope.ALL):
            raise Suppressed("the number is on the suppression list")
        if limits.caps and limits.tariff is not None:
            reserve(connection, limits.caps, limits.tariff.total([new.phone]))
        values = {"claimed_at": time.time(), "owner": owner, "outcome": ProofOutcome.SENDING.value}
        content = {"title": new.title, "mms_id": new.mms_id, "code": new.code, "by": new.by}
        of = {"kind": int(new.kind), "name": new.name, "gateway": new.gateway, "phone": int(new.phone)}
        entered = connection.execute(tables.proof.insert().values(**of, **content, **values)).inserted_primary_key
        assert entered is not None
        void_within(connection, new.name)
    return ProofClaim(entered[0], owner, new)


def stands(ledger: Ledger, claimed: ProofClaim) -> bool:
    """Whether this process may still send the proof."""
    proof = tables.proof.c
    query = sa.select(proof.id).where(
        proof.id == claimed.id, proof.owner == claimed.owner, proof.outcome == ProofOutcome.SENDING.value
    )
    with ledger.read() as connection:
        return connection.execute(query).first() is not None


def record(
    ledger: Ledger,
    claimed: ProofClaim,
    outcome: ProofOutcome,
    *,
    provider_id: str | None = None,
    error: str | None = None,
    problem: str | None = None,
) -> None:
    """Record what became of a proof. A late answer still counts, even if the proof was already called unknown."""
    proof = tables.proof
    is_open = proof.c.outcome.in_([ProofOutcome.SENDING.value, ProofOutcome.UNKNOWN.value])
    said = {"outcome": outcome.value, "provider_id": provider_id, "error": error, "problem": problem}
    with ledger.write() as connection:
        connection.execute(
            proof.update()
            .where(proof.c.id == claimed.id, proof.c.owner == claimed.owner, is_open)
            .values(ended_at=time.time(), **said)
        )
        void_within(connection, claimed.new.name)


@dataclass(frozen=True, slots=True)
class KeptProof:
    """A proof as the ledger keeps it; ``claimed_at`` in seconds since 1970."""

    name: str
    outcome: ProofOutcome
    claimed_at: float
    provider_id: str | None
    code: str | None


def to(ledger: Ledger, phone: Phone) -> list[KeptProof]:
    """Every proof to that number, oldest first."""
    proof = tables.proof.c
    query = sa.select(proof.name, proof.outcome, proof.claimed_at, proof.provider_id, proof.code)
    with ledger.read() as connection:
        rows = connection.execute(query.where(proof.phone == phone).order_by(proof.id)).all()
    return [KeptProof(row.name, ProofOutcome(row.outcome), row.claimed_at, row.provider_id, row.code) for row in rows]


def abandon_dead(ledger: Ledger) -> int:
    """Make every proof unknown whose process died in the middle of its request; returns how many. None is sent again."""
    proof = tables.proof
    is_sending = proof.c.outcome == ProofOutcome.SENDING.value
    with ledger.read() as connection:
        owners = connection.execute(sa.select(proof.c.owner).distinct().where(is_sending)).scalars().all()
    count = 0
    for owner in owners:
        if ledger.locks.is_free(owner_key(owner)):
            with ledger.write() as connection:
                count += connection.execute(
                    proof.update()
                    .where(proof.c.owner == owner, is_sending)
                    .values(outcome=ProofOutcome.UNKNOWN.value, ended_at=time.time(), problem="the sending process died")
                ).rowcount
    return count
