"""What a terminal shows of a run: read from the ledger now and then, whatever happens to the ledger meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from posthorn.cli.output import _counts
from posthorn.ledger.store.engine import Ledger
from tests.ledger.ledgers import planned


def test_a_ledger_that_cannot_be_read_for_a_while_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(b"this is no database\n" * 100)
    ended = threading.Event()
    counts = _counts(f"sqlite:///{file}", "sale", test=False, ended=ended, every=0.0)
    assert next(counts) == {}
    file.unlink()
    ledger = Ledger(f"sqlite:///{file}")
    planned(ledger, 10)
    ledger.close()
    assert next(counts)["pending"] == 10
    ended.set()
    assert next(counts)["pending"] == 10
    with pytest.raises(StopIteration):
        next(counts)
