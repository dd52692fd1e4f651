"""Proofs in the ledger: claimed once, recorded once, nobody's message; erased with their delivery."""

from __future__ import annotations

from decimal import Decimal

import pytest
import sqlalchemy as sa

from posthorn.ledger import claims, copies, costs, deliveries, erasing, proof_exclusion, proofs, tickets
from posthorn.ledger.costs import FREE, Cap, CapReached, Limits
from posthorn.ledger.proofs import NewProof
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind, Phone, ProofOutcome
from posthorn.prices import Tariff
from tests.ledger.ledgers import planned

MINE = Phone(48600100200)


def of(name: str, kind: Kind = Kind.CAMPAIGN, **more: str) -> NewProof:
    return NewProof(kind, name, "serwersms", MINE, "Ada", **more)


def outcomes(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        return list(connection.execute(sa.select(tables.proof.c.outcome).order_by(tables.proof.c.id)).scalars())


def test_a_proof_stands_until_it_is_recorded_and_is_open_until_its_id_is_known(ledger: Ledger) -> None:
    claimed = proofs.claim(ledger, of("sale", title="Sale"), "me", FREE)
    assert proofs.stands(ledger, claimed)
    assert list(proof_exclusion.open_with(ledger, "serwersms", [MINE], 0.0)) == [MINE]
    assert list(proof_exclusion.open_with(ledger, "serwersms", [MINE], 0.0, "Other")) == []
    proofs.record(ledger, claimed, ProofOutcome.TAKEN)
    assert list(proof_exclusion.open_with(ledger, "serwersms", [MINE], 0.0, "Sale")) == [MINE], "taken, but under no id"
    proofs.record(ledger, claimed, ProofOutcome.REFUSED)
    assert (outcomes(ledger), proofs.stands(ledger, claimed)) == (["taken"], False)
    named = proofs.claim(ledger, of("sale", title="Sale"), "me", FREE)
    proofs.record(ledger, named, ProofOutcome.TAKEN, provider_id="p-1")
    with ledger.read() as connection:
        assert proof_exclusion.ids_among(connection, ["p-1", "p-2"]) == {"p-1"}


def test_only_a_dead_process_leaves_its_proof_unknown_and_its_late_answer_still_counts(ledger: Ledger) -> None:
    alive = proofs.claim(ledger, of("sale"), "alive", FREE)
    dead = proofs.claim(ledger, of("sale"), "dead", FREE)
    with ledger.locks.hold(claims.owner_key("alive")) as held:
        assert held
        assert proofs.abandon_dead(ledger) == 1
        assert outcomes(ledger) == ["sending", "unknown"]
    proofs.record(ledger, dead, ProofOutcome.TAKEN, provider_id="late")
    proofs.record(ledger, alive, ProofOutcome.NOT_TAKEN)
    assert outcomes(ledger) == ["not_taken", "taken"]


def test_a_proof_under_way_is_no_second_copy(ledger: Ledger) -> None:
    campaign = planned(ledger)
    proofs.claim(ledger, of("another", title=campaign.content.title), "me", FREE)
    assert list(copies.open_elsewhere(ledger, campaign, [MINE])) == [MINE]


def test_what_was_not_taken_costs_nothing_and_all_else_does(ledger: Ledger) -> None:
    tariff = Tariff.of(Decimal("0.1"), {})
    cap = Cap("day 2026-11-27", 200_000, "the day's cap", since=0.0, until=4e9)
    limits = Limits(caps=(cap,), tariff=tariff)
    with pytest.raises(CapReached):
        proofs.claim(ledger, of("sale"), "me", limits)
    assert (outcomes(ledger), costs.count_anew(ledger, cap, {"serwersms": tariff})) == ([], 0)
    first = proofs.claim(ledger, of("sale"), "me", limits)
    proofs.claim(ledger, of("sale"), "me", limits)
    with pytest.raises(CapReached):
        proofs.claim(ledger, of("sale"), "me", limits)
    proofs.record(ledger, first, ProofOutcome.NOT_TAKEN)
    assert costs.count_anew(ledger, cap, {"serwersms": tariff}) == 100_000


def test_it_is_erased_with_its_delivery_or_after_a_while(ledger: Ledger) -> None:
    campaign = planned(ledger)
    proofs.claim(ledger, of(campaign.name), "me", FREE)
    proofs.claim(ledger, of("never"), "me", FREE)
    assert proof_exclusion.erase_unplanned(ledger, claimed_before=1.0) == 0
    assert proof_exclusion.erase_unplanned(ledger, claimed_before=4e9) == 1
    assert outcomes(ledger) == ["sending"]
    erasing.erase(ledger, campaign)
    assert outcomes(ledger) == []
    assert tickets.void_codes(ledger, deliveries.get(ledger, campaign.name)) == []
