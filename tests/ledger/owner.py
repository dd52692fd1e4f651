"""A real process that uses a ledger and can be killed: ``python -m tests.ledger.owner URL what …``. Says how far it is."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from posthorn.ledger import claims, deliveries, planning
from posthorn.ledger.departures import Departures
from posthorn.ledger.store.engine import Ledger
from tests.ledger.ledgers import LATEST, Listed, claim_one, new_campaign


def main(url: str, what: str, *arguments: str) -> None:
    ledger = Ledger(url)
    _VERBS[what](ledger, *arguments)


def _hold(ledger: Ledger, key: str) -> None:
    """Hold a lock until killed."""
    _say("held" if ledger.locks.acquire(key) else "refused")
    _wait()


def _claim_one(ledger: Ledger, name: str, owner: str) -> None:
    """Claim a chunk as ``owner``, and do nothing more until killed."""
    ledger.locks.acquire(claims.owner_key(owner))
    campaign = deliveries.get(ledger, name)
    claim = claim_one(ledger, campaign, owner, 1, LATEST)
    assert claim is not None
    _say(f"{claim.chunk_id} {claim.epoch}")
    _wait()


def _hand_over_one_of_three(ledger: Ledger, name: str, owner: str, lock: str = "") -> None:
    """Claim three chunks as ``owner``, hand the first to a provider that is not there, and do nothing more until killed."""
    if lock != "without-lock":
        ledger.locks.acquire(claims.owner_key(owner))
    kept = Departures(ledger.uuid, owner)
    kept.begin()
    campaign = deliveries.get(ledger, name)
    found = [claim_one(ledger, campaign, owner, 1, LATEST) for _ in range(3)]
    assert found[0] is not None
    kept.note(found[0])
    _say(" ".join(str(claim.chunk_id) for claim in found if claim is not None))
    _wait()


def _claim_all(ledger: Ledger, name: str) -> None:
    """Claim whatever can be claimed."""
    campaign, owner = deliveries.get(ledger, name), f"owner-{os.getpid()}"
    _say("ready")
    sys.stdin.readline()
    found = []
    while (claim := claim_one(ledger, campaign, owner, 1, LATEST)) is not None:
        found.append(claim.chunk_id)
    _say(" ".join(map(str, found)))


def _plan(ledger: Ledger, name: str) -> None:
    """Plan for ever, until killed."""
    rows = Listed(10**6, batch=1_000)
    _say("planning")
    planning.plan(ledger, new_campaign(name, chunk_size=10), rows)


_VERBS: dict[str, Callable[..., None]] = {
    "hold": _hold,
    "claim-one": _claim_one,
    "hand-over-one-of-three": _hand_over_one_of_three,
    "claim-all": _claim_all,
    "plan": _plan,
}


def _say(line: str) -> None:
    print(line, flush=True)


def _wait() -> None:
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
