"""What is written of an answer: each message of a claim moves as its receipt says, and the attempt is closed.

Every write is a compare-and-set: it names the claim's epoch, and happens only while that claim is the current one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import orjson
import sqlalchemy as sa
from sqlalchemy import Connection

from posthorn.errors import Evidence, GatewayError
from posthorn.ledger import states
from posthorn.ledger.claims import Claim, ClaimLost
from posthorn.ledger.copies import Copy, keep_within
from posthorn.ledger.deliveries import recount
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, change, execute, pipelined
from posthorn.models import ID_BOUND, UNREPORTED_STATES, AllTaken, Answer, ChunkState, MessageState, Receipt

_RAW_KEPT_BYTES = 65_536
_IN_FLIGHT = states.UNSETTLED
UNCLAIMED_SINCE = f"{ChunkState.PENDING}, {ChunkState.SENDING}, {ChunkState.UNKNOWN}"
"""States in which a claim's answer is still welcome. PENDING: decided to be sent again, and not claimed for it yet."""
_IDS_PER_QUERY = 1_000
_STILL_CURRENT = (
    "UPDATE chunk SET finished_at = :now WHERE id = :id AND epoch = :epoch AND owner = :owner AND state IN ({states})"
    " AND NOT EXISTS (SELECT 1 FROM attempt WHERE chunk_id = :id AND epoch = :epoch AND outcome = 'answered')"
)
_IDS_ONLY = {
    is_sqlite: f"UPDATE message SET state = :state, provider_id = {its_id}, error = NULL, epoch = NULL"
    f" WHERE chunk_id = :chunk AND position BETWEEN :first AND :last AND state IN ({_IN_FLIGHT})"
    for is_sqlite, its_id in (
        (True, "json_extract(:ids, '$[' || (position - :first) || ']')"),
        (False, "(:ids::text[])[position - :first + 1]"),
    )
}
_CLOSE = (
    "UPDATE attempt SET ended_at = :now, outcome = :outcome, code = :code, status = :status, trace = :trace,"
    " problem = :problem, raw = :raw WHERE chunk_id = :chunk AND epoch = :epoch"
)
_MOVE = (
    "UPDATE message SET state = (:states::smallint[])[position - :first + 1],"
    " provider_id = (:ids::text[])[position - :first + 1], error = (:errors::text[])[position - :first + 1],"
    " epoch = (:epochs::int[])[position - :first + 1]"
    f" WHERE chunk_id = :chunk AND position = ANY(:positions::int[]) AND state IN ({_IN_FLIGHT})"
)
"""By position and not by a join: PostgreSQL takes the few messages of a chunk for one, and would compare all with all."""
_IDS_PER_STATEMENT = 500
"""Both databases walk an array of texts from its start for each element, so short arrays are quicker."""
_LATE = "the answer came after the claim was over; what was taken by it may have been taken twice"
_logger = logging.getLogger(__name__)


def require_current_claim(connection: Connection, claimed: Claim, states: str) -> None:
    """The compare-and-set of every write after a claim."""
    values = {"now": time.time(), "id": claimed.chunk_id, "epoch": claimed.epoch, "owner": claimed.owner}
    with pipelined(connection):
        moved = execute(connection, _STILL_CURRENT.format(states=states), values)
    if moved.rowcount != 1:
        raise ClaimLost(f"the claim of chunk {claimed.chunk_id}, epoch {claimed.epoch}, is over; its outcome stands already")


def move_messages(ledger: Ledger, connection: Connection, claimed: Claim, receipts: Sequence[Receipt]) -> None:
    """Move every message of a claim, as its receipt says."""
    if ids := _ids_only(claimed, receipts):
        state = int(receipts[0].state)
        for first in range(0, len(ids), _IDS_PER_STATEMENT):
            some = ids[first : first + _IDS_PER_STATEMENT]
            listed = orjson.dumps(some).decode() if ledger.is_sqlite else some
            values = {"ids": listed, "first": first, "last": first + len(some) - 1}
            change(connection, _IDS_ONLY[ledger.is_sqlite], {**values, "chunk": claimed.chunk_id, "state": state})
    else:
        _move_each(ledger, connection, claimed, receipts)
    recount(connection, "id = :chunk", ends_sending=True, chunk=claimed.chunk_id)


def _ids_only(claimed: Claim, receipts: Sequence[Receipt]) -> list[str | None]:
    """The ids in the usual case: a whole chunk taken in one state, each message under an id. Empty in any other case."""
    if claimed.positions != tuple(range(len(receipts))) or receipts[0].state not in UNREPORTED_STATES:
        return []
    if isinstance(receipts, AllTaken):
        return list(receipts.ids)
    state = receipts[0].state
    ids = [receipt.provider_id for receipt in receipts if receipt.state == state and receipt.error is None]
    return ids if len(ids) == len(receipts) and None not in ids else []


def _move_each(ledger: Ledger, connection: Connection, claimed: Claim, receipts: Sequence[Receipt]) -> None:
    """Move the claim's messages, each as its receipt says."""
    moves = {
        position: (
            int(receipt.state),
            receipt.provider_id,
            receipt.error,
            claimed.epoch if _needs_lookup(receipt) else None,
        )
        for position, receipt in zip(claimed.positions, receipts, strict=True)
    }
    if ledger.is_sqlite:
        connection.exec_driver_sql(
            "UPDATE message SET state = ?, provider_id = ?, error = ?, epoch = ?"
            f" WHERE chunk_id = ? AND position = ? AND state IN ({_IN_FLIGHT})",
            [(*move, claimed.chunk_id, position) for position, move in moves.items()],
        )
        return
    first, last = min(moves), max(moves)
    none = (None, None, None, None)
    states, ids, errors, epochs = (
        list(column) for column in zip(*(moves.get(position, none) for position in range(first, last + 1)), strict=True)
    )
    values = {"states": states, "ids": ids, "errors": errors, "epochs": epochs, "positions": list(moves)}
    change(connection, _MOVE, {**values, "chunk": claimed.chunk_id, "first": first})


def _needs_lookup(receipt: Receipt) -> bool:
    """Whether the provider must be asked again: unknown, or taken without an id that reports could name."""
    if receipt.state in UNREPORTED_STATES:
        return receipt.provider_id is None
    return receipt.state == MessageState.UNKNOWN


def is_clean(answer: Answer) -> bool:
    """Whether the answer says everything about everyone. Then its text need not be kept."""
    return not answer.anomalies and MessageState.UNKNOWN not in answer.states


def without_bound_ids(ledger: Ledger, claimed: Claim, receipts: Sequence[Receipt]) -> list[Receipt]:
    """The receipts; those whose provider id another message (or another receipt) has already become unknown."""
    ids = [receipt.provider_id for receipt in receipts if receipt.provider_id]
    message = tables.message.c
    query = sa.select(message.provider_id, message.chunk_id, message.position)
    bound: set[str | None] = set()
    with ledger.read() as connection:
        for at in range(0, len(ids), _IDS_PER_QUERY):
            for row in connection.execute(query.where(message.provider_id.in_(ids[at : at + _IDS_PER_QUERY]))):
                if row.chunk_id != claimed.chunk_id or row.position not in claimed.positions:
                    bound.add(row.provider_id)
    free = []
    for receipt in receipts:
        is_bound = receipt.provider_id is not None and receipt.provider_id in bound
        free.append(Receipt(MessageState.UNKNOWN, error=ID_BOUND) if is_bound else receipt)
        bound |= {receipt.provider_id} - {None}
    return free


def keep_late(ledger: Ledger, claimed: Claim, answer: Answer) -> None:
    """Keep an answer that came after its claim was over, unless it is the one that was recorded."""
    attempt = tables.attempt.c
    of_claim = sa.and_(attempt.chunk_id == claimed.chunk_id, attempt.epoch == claimed.epoch, attempt.owner == claimed.owner)
    with ledger.write() as connection:
        kept = connection.execute(
            tables.attempt.update()
            .where(of_claim, attempt.outcome.not_in(("answered", "late")))
            .values(outcome="late", problem=_LATE, raw=answer.raw[:_RAW_KEPT_BYTES] or None)
        ).rowcount
        if kept and (copies := _copies_of(claimed, answer)):
            chunk = tables.chunk.c
            campaign_id = connection.execute(sa.select(chunk.campaign_id).where(chunk.id == claimed.chunk_id)).scalar_one()
            keep_within(connection, campaign_id, copies)
    if kept:
        _logger.warning("chunk %d, epoch %d: %s", claimed.chunk_id, claimed.epoch, _LATE)


def _copies_of(claimed: Claim, answer: Answer) -> list[Copy]:
    """What was taken according to a late answer, by ids. Ids that a lookup has bound meanwhile do not count as copies."""
    evidence = f"named in an answer that came after the claim was over (chunk {claimed.chunk_id}, epoch {claimed.epoch})"
    return [
        Copy(receipt.provider_id, claimed.chunk_id, position, receipt.state, evidence)
        for position, receipt in zip(claimed.positions, answer.receipts, strict=True)
        if receipt.provider_id is not None and receipt.state in UNREPORTED_STATES
    ]


def keep_surplus(connection: Connection, claimed: Claim, answer: Answer) -> None:
    """Count as second copies what an answer says was taken beside the message that its recipient has."""
    evidence = f"named beside it in one answer (chunk {claimed.chunk_id}, epoch {claimed.epoch})"
    found = [
        Copy(provider_id, claimed.chunk_id, claimed.positions[place], answer.receipts[place].state, evidence)
        for place, provider_id in answer.surplus
        if answer.receipts[place].state in (MessageState.ACCEPTED, MessageState.SCHEDULED)
    ]
    if found:
        chunk = tables.chunk.c
        campaign_id = connection.execute(sa.select(chunk.campaign_id).where(chunk.id == claimed.chunk_id)).scalar_one()
        keep_within(connection, campaign_id, found)


def close_failed(connection: Connection, claimed: Claim, outcome: str, error: GatewayError | None) -> None:
    """Close the attempt of a request that failed, or was broken off."""
    close_attempt(
        connection,
        claimed,
        outcome,
        problem=str(error) if error else "interrupted",
        evidence=error.evidence if error else Evidence(),
        code=error.code if error else None,
    )


def close_attempt(
    connection: Connection, claimed: Claim, outcome: str, *, problem: str | None, evidence: Evidence, code: str | None = None
) -> None:
    """Record in the attempt how it ended, with the evidence."""
    change(
        connection,
        _CLOSE,
        {
            "now": time.time(),
            "outcome": outcome,
            "code": code,
            "status": evidence.status,
            "trace": evidence.trace,
            "problem": problem,
            "raw": evidence.raw[:_RAW_KEPT_BYTES] or None,
            "chunk": claimed.chunk_id,
            "epoch": claimed.epoch,
        },
    )
