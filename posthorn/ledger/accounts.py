"""What is known of an account at a provider: how it takes files, whether it lists them, what a probe has proven of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, sql

_KEEP = """
    INSERT INTO account_finding (gateway, account, subject, verdict, value, seen, found_at)
    VALUES (:gateway, :account, :subject, :verdict, :value, :seen, :found_at)
    ON CONFLICT (gateway, account, subject) DO UPDATE
    SET verdict = excluded.verdict, value = excluded.value, seen = excluded.seen, found_at = excluded.found_at
"""  # in one statement: two processes may find out the same at once


@dataclass(frozen=True, slots=True)
class AccountFinding:
    """One thing that was found out. ``verdict`` is confirmed, other or unclear; ``value`` is what the program uses."""

    subject: str
    verdict: str
    value: str
    seen: str
    found_at: float


def findings(ledger: Ledger, gateway: str, account: str) -> dict[str, AccountFinding]:
    """All that is known of the account, by subject."""
    table = tables.account_finding
    query = sa.select(table).where(table.c.gateway == gateway, table.c.account == account).order_by(table.c.subject)
    with ledger.read() as connection:
        return {
            row.subject: AccountFinding(row.subject, row.verdict, row.value, row.seen, row.found_at)
            for row in connection.execute(query)
        }


def keep(ledger: Ledger, gateway: str, account: str, subject: str, *, verdict: str, value: str, seen: str) -> None:
    """Remember what was found out now; it replaces what was known before."""
    key = {"gateway": gateway, "account": account, "subject": subject}
    found = {"verdict": verdict, "value": value, "seen": seen, "found_at": time.time()}
    with ledger.write() as connection:
        connection.execute(sql(_KEEP), {**key, **found})
