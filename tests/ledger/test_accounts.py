"""What is known of an account is kept by account and subject; the newest finding stands."""

from __future__ import annotations

import pytest

from posthorn.ledger import accounts
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Known


def keep(ledger: Ledger, account: str, value: str, subject: str = Known.UPLOAD, gateway: str = "serwersms") -> None:
    accounts.keep(ledger, gateway, account, subject, verdict="confirmed", value=value, seen="a look")


def test_the_newest_finding_stands(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(ledger, "a", "multipart")
    keep(ledger, "a", "form")
    keep(ledger, "a", "3600", Known.CLOCK)
    found = accounts.findings(ledger, "serwersms", "a")
    assert {subject: one.value for subject, one in found.items()} == {"upload": "form", "clock": "3600"}
    assert found["upload"].verdict == "confirmed"
    assert found["clock"].found_at >= found["upload"].found_at > 1_700_000_000


def test_accounts_and_gateways_are_told_apart(ledger: Ledger) -> None:
    keep(ledger, "a", "multipart")
    keep(ledger, "b", "form")
    keep(ledger, "a", "base64", gateway="other")
    assert accounts.findings(ledger, "serwersms", "b")["upload"].value == "form"
    assert accounts.findings(ledger, "serwersms", "a")["upload"].value == "multipart"
    assert accounts.findings(ledger, "serwersms", "c") == {}
