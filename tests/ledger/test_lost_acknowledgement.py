"""PostgreSQL has committed, and the network loses the answer: nothing unheard is believed, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from posthorn.errors import LedgerError
from posthorn.ledger import claims, deliveries, sending
from posthorn.ledger.spool import Spool, import_spool, keep_answer
from posthorn.ledger.store.engine import Ledger
from tests.drills.lossy import LossyProxy, proxy_thread
from tests.ledger.ledgers import OWNER, another, answer, attempts, claimed, first_chunk, planned, states


class Lossy:
    """A ledger behind a proxy that loses the answer to the COMMIT that is named, counted from ``lose`` on."""

    def __init__(self, url: str) -> None:
        server = make_url(url)
        self._at = 0
        self.proxy = LossyProxy(server.host or "127.0.0.1", server.port or 5432, self._should_lose)
        self.open: Callable[[], Ledger] = lambda: Ledger(
            server.set(host="127.0.0.1", port=self.proxy.port).render_as_string(hide_password=False)
        )

    def lose(self, at: int = 1) -> None:
        self._at = at

    def _should_lose(self) -> bool:
        self._at -= 1
        return self._at == 0


@pytest.fixture
def lossy(postgres_url: str) -> Iterator[Lossy]:
    made = Lossy(postgres_url)
    with proxy_thread(made.proxy):
        yield made


@pytest.fixture
def ledger(lossy: Lossy) -> Iterator[Ledger]:
    opened = lossy.open()
    yield opened
    opened.close()


def test_a_claim_that_was_not_acknowledged_is_none_and_becomes_unknown(
    ledger: Ledger, lossy: Lossy, postgres_url: str
) -> None:
    campaign = planned(ledger)
    ledger.locks.acquire(claims.owner_key(OWNER))
    lossy.lose()
    with pytest.raises(LedgerError):
        claimed(ledger, campaign)
    assert lossy.proxy.lost == 1
    with another(postgres_url) as other:
        assert sending.in_flight(other, campaign) == 1, "it was committed all the same"
        assert sending.abandon_dead(other, campaign) == 0, "its process lives, and may still find out"
    ledger.locks.release(claims.owner_key(OWNER))
    with another(postgres_url) as other:
        assert sending.abandon_dead(other, campaign) == 1
        assert states(other, campaign) == {"pending": 20, "unknown": 10}
        assert attempts(other, first_chunk(ledger, campaign)) == ["abandoned"]


def test_an_answer_whose_commit_was_not_acknowledged_is_kept_once(
    ledger: Ledger, lossy: Lossy, postgres_url: str, tmp_path: Path
) -> None:
    campaign = planned(ledger)
    claim = claimed(ledger, campaign)
    spool = Spool(tmp_path / "spool", ledger, OWNER)
    lossy.lose()
    with pytest.raises(LedgerError):
        keep_answer(ledger, spool, claim, answer(claim))
    assert lossy.proxy.lost == 1
    spool.close()
    assert len(list(spool.folder.iterdir())) == 1, "what was not heard of stays in the spool"
    with another(postgres_url) as other:
        assert states(other, campaign) == {"pending": 20, "accepted": 10}
        assert import_spool(spool.folder, other) == 0, "the ledger had it"
        assert states(other, campaign) == {"pending": 20, "accepted": 10}
        assert attempts(other, claim.chunk_id) == ["answered"]
    assert list(spool.folder.iterdir()) == []


def test_a_plan_whose_commit_was_not_acknowledged_is_planned_once_whichever_it_was(
    ledger: Ledger, lossy: Lossy, postgres_url: str
) -> None:
    was_planned = []
    for at in range(1, 20):
        lossy.lose(at)
        try:
            planned(ledger, name=f"sale-{at}", first=at * 1_000)
        except LedgerError:
            with another(postgres_url) as other:
                there = deliveries.find(other, f"sale-{at}")
                was_planned.append(there is not None)
                campaign = there or planned(other, name=f"sale-{at}", first=at * 1_000)
                assert states(other, campaign) == {"pending": 30}
        else:
            break
    assert len(was_planned) == lossy.proxy.lost
    assert set(was_planned) == {False, True}, "the first commits only begin it, the last makes it count"
