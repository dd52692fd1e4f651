"""What the ledger itself tells of opt-outs: messages that a provider refused because their number is blacklisted.

Also keeps when each provider was last asked who must not be messaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import OptOut, Phone, Scope

# CROSS JOIN keeps SQLite to that order: by each campaign, for the index of errors begins with it, or it reads every message.
# What was sent before an entry was removed is past, too.
_REFUSED = sql(
    "SELECT m.phone, max(coalesce(k.finished_at, k.claimed_at)) AS at FROM campaign c CROSS JOIN message m"
    " JOIN chunk k ON k.id = m.chunk_id"
    " WHERE c.gateway = :gateway AND NOT c.test AND m.campaign_id = c.id AND m.error IN :codes AND m.error IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM suppression s WHERE s.phone = m.phone"
    " AND s.scope = :all AND (s.removed_at IS NULL OR s.removed_at >= coalesce(k.finished_at, k.claimed_at)))"
    " GROUP BY m.phone"
).bindparams(sa.bindparam("codes", expanding=True))


def refused(ledger: Ledger, gateway: str, codes: Sequence[str]) -> list[OptOut]:
    """Numbers of which that gateway has said so by one of these codes, and that are not on the list for it yet."""
    if not codes:
        return []
    values = {"gateway": gateway, "codes": list(codes), "all": int(Scope.ALL)}
    with ledger.read() as connection:
        found = connection.execute(_REFUSED, values).all()
    return [
        OptOut(Phone(row.phone), Scope.ALL, "refusal", "", row.at and datetime.fromtimestamp(row.at, UTC), gateway)
        for row in found
    ]


def pulled_at(ledger: Ledger) -> dict[str, float]:
    """When the last pull that ended well began, by gateway (seconds)."""
    pull = tables.opt_out_pull.c
    with ledger.read() as connection:
        return {row.gateway: row.pulled_at for row in connection.execute(sa.select(pull.gateway, pull.pulled_at))}


def note_pulled(ledger: Ledger, gateway: str, at: float) -> None:
    """Note that a pull of all that a gateway tells began then, and has ended well."""
    pull = tables.opt_out_pull
    with ledger.write() as connection:
        moved = connection.execute(pull.update().where(pull.c.gateway == gateway).values(pulled_at=at)).rowcount
        if not moved:
            connection.execute(pull.insert().values(gateway=gateway, pulled_at=at))
