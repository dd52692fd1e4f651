"""Chunks of a dead process become unknown; of a living one, even a stopped one, never. The processes are real."""

from __future__ import annotations

import os
import signal

import pytest

from posthorn.ledger import claims, sending
from posthorn.ledger.store.engine import Ledger
from posthorn.models import ChunkState
from tests.ledger.ledgers import OWNER, PENDING, UNKNOWN, ZOMBIE, answer, attempts, chunk_state, claimed, planned, states
from tests.ledger.processes import owner, until


def test_the_chunk_of_a_killed_process_becomes_unknown(url: str, ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    with owner(url, "claim-one", "sale", ZOMBIE) as (child, said):
        chunk = int(said.split()[0])
        assert sending.abandon_dead(ledger, campaign) == 0, "its owner lives"
        child.kill()
        until(lambda: ledger.locks.is_free(claims.owner_key(ZOMBIE)))
    assert sending.abandon_dead(ledger, campaign) == 1
    assert states(ledger, campaign) == {"unknown": 10, "pending": 20}
    assert attempts(ledger, chunk) == ["abandoned"]
    assert sending.abandon_dead(ledger, campaign) == 0


def test_the_chunk_of_a_stopped_process_is_left_alone(url: str, ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    with owner(url, "claim-one", "sale", ZOMBIE) as (child, said):
        os.kill(child.pid, signal.SIGSTOP)
        try:
            with pytest.raises(AssertionError):  # not yet, and it may wake up and send at any time
                until(lambda: ledger.locks.is_free(claims.owner_key(ZOMBIE)), most=0.5)
            assert sending.abandon_dead(ledger, campaign) == 0
            assert chunk_state(ledger, int(said.split()[0])) == ChunkState.SENDING
        finally:
            os.kill(child.pid, signal.SIGCONT)


def test_only_the_dead_are_abandoned(url: str, ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    ledger.locks.acquire(claims.owner_key(OWNER))
    mine = claimed(ledger, campaign, OWNER)
    dead = claimed(ledger, campaign, ZOMBIE)
    assert sending.abandon_dead(ledger, campaign) == 1
    assert chunk_state(ledger, mine.chunk_id) == ChunkState.SENDING
    assert chunk_state(ledger, dead.chunk_id) == ChunkState.UNKNOWN
    assert states(ledger, campaign) == {"unknown": 10, "pending": 20}


def test_abandoning_touches_no_other_campaign(ledger: Ledger) -> None:
    first, second = planned(ledger, 10, name="first"), planned(ledger, 10, name="second", first=100)
    claimed(ledger, first, ZOMBIE)
    claimed(ledger, second, ZOMBIE)
    assert sending.abandon_dead(ledger, first) == 1
    assert states(ledger, first) == {"unknown": 10}
    assert states(ledger, second) == {"pending": 10}


def test_a_second_attempt_that_dies_leaves_the_settled_ones_alone(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    first = claimed(ledger, campaign)
    sending.record(ledger, first, answer(first, UNKNOWN, PENDING, PENDING))
    claimed(ledger, campaign, ZOMBIE)
    assert sending.abandon_dead(ledger, campaign) == 1
    assert states(ledger, campaign) == {"accepted": 7, "unknown": 3}
    assert attempts(ledger, first.chunk_id) == ["answered", "abandoned"]
