"""`posthorn list`: every delivery with what it cost and which share was delivered, for people and for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posthorn.cli import command
from posthorn.ledger import reporting, sending
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Answer, MessageState, Receipt, Report
from tests.ledger.ledgers import claimed, ids, planned


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("POSTHORN_DATABASE_URL", url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__PRICE_PER_MESSAGE", "0.07")
    monkeypatch.chdir(tmp_path)
    return Ledger(url)


def delivered(ledger: Ledger, name: str, *, first: int = 0) -> Delivery:
    """Ten messages: eight taken, of which six are delivered, one refused, one unknown."""
    campaign = planned(ledger, 10, name=name, first=first)
    claim = claimed(ledger, campaign)
    taken = [Receipt(MessageState.ACCEPTED, one) for one in ids(claim)[:8]]
    sending.record(
        ledger, claim, Answer([*taken, Receipt(MessageState.REJECTED, error="3103"), Receipt(MessageState.UNKNOWN)])
    )
    reporting.apply_reports(ledger, [Report(one, MessageState.DELIVERED, "delivered") for one in ids(claim)[:6]])
    return campaign


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert command(["list", *words]) == 0
    return capsys.readouterr().out


def test_the_list_has_counts_share_and_cost(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    delivered(ledger, "old")
    planned(ledger, 1500, name="new", first=100)
    new, old = json.loads(said(capsys, "--json"))
    assert (old["name"], old["kind"], old["state"], old["taken"]) == ("old", "campaign", "needs_attention", 8)
    assert (old["delivered_share"], old["cost"]) == (0.75, "0.56")
    assert (new["name"], new["state"], new["totals"]["pending"]) == ("new", "stopped", 1500)
    assert (new["delivered_share"], new["cost"], new["run_started_at"]) == (None, "0.00", None)
    table = said(capsys).splitlines()
    assert [cell.strip() for cell in table[4].split("│")[1:-1]][4:] == ["13", "0", "8", "1", "1", "75.0%", "0.56"]
    assert "(planned)" in table[3]
    assert "1,503" in table[3]


def test_the_list_can_be_narrowed_and_may_be_empty(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys) == "no campaign or event yet\n"
    assert json.loads(said(capsys, "--json")) == []
    delivered(ledger, "old")
    planned(ledger, 3, name="new", first=100)
    assert [one["name"] for one in json.loads(said(capsys, "--json", "--state", "stopped"))] == ["new"]
    assert said(capsys, "--kind", "event") == "no delivery is in that state, or of that kind\n"


def test_without_a_price_there_is_no_cost(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered(ledger, "old")
    monkeypatch.delenv("POSTHORN_SERWERSMS__PRICE_PER_MESSAGE")
    (one,) = json.loads(said(capsys, "--json"))
    assert one["cost"] is None
    assert "None" not in said(capsys)
