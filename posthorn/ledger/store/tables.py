"""The ledger's tables, as SQLAlchemy sees them today; how they came to be is in ``migrations``.

Rows are narrow because there are millions. Times are seconds since 1970 (UTC), states the numbers of ``posthorn.models``.
A message's state stands in its row; while its chunk is being sent only the chunk says so. A chunk's counters are recounted
from its messages in the same transaction that moves them, so they cannot drift. Messages and attempts carry no foreign key:
checking it for every row would double the time of a large plan, and rows are only ever written beside their chunk.

Partial indexes are partial on PostgreSQL too, as the migrations say: its option is not repeated here, for that would import
its dialect on every ledger.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

COUNTERS = (
    "pending",
    "accepted",
    "scheduled",
    "rejected",
    "unknown",
    "delivered",
    "undelivered",
    "no_report",
    "cancelled",
    "suppressed",
)
"""The per-chunk counters, in the order of ``MessageState``."""

identity = Table(
    "identity",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("uuid", String(32), nullable=False, comment="names this ledger in spool files and locks"),
    Column("created_at", Double, nullable=False),
)

campaign = Table(
    "campaign",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("name", String(80), nullable=False),
    Column("test", Boolean, nullable=False, comment="a check by the provider: nothing is sent"),
    Column("gateway", String(40), nullable=False),
    Column("definition", JSON, nullable=False, comment="the frozen content that identifies it"),
    Column("options", JSON, nullable=False, comment="what steers the run and may change between runs"),
    Column("rejects_file", Text),
    Column("input", Integer, nullable=False, server_default="0"),
    Column("invalid", Integer, nullable=False, server_default="0"),
    Column("duplicate", Integer, nullable=False, server_default="0"),
    Column("first_chunk", BigInteger, comment="its chunks are first_chunk to last_chunk"),
    Column("last_chunk", BigInteger),
    Column("created_at", Double, nullable=False),
    Column("planned_at", Double, comment="null while its rows are still being written"),
    Column("run_started_at", Double),
    Column("run_by", Text, comment="who runs it, or ran it last"),
    Column("run_ended_at", Double),
    Column("stopped_because", Text, comment="why the last run stopped early, for the operator"),
    Column("cancelled_at", Double),
    Column("erased_at", Double, comment="when its numbers were erased; the counts stay"),
    Column("waiting_for", String(20), comment="what goes on by itself at waiting_until: last_look"),
    Column("waiting_until", Double),
    Column("copies_sought_at", Double, comment="when second copies were last looked for"),
    UniqueConstraint("name", "test"),
    sqlite_autoincrement=True,  # a number is never used twice, so no late writer meets another campaign
)

chunk = Table(
    "chunk",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("epoch", Integer, nullable=False, server_default="0", comment="raised by every claim; guards every later write"),
    Column("owner", String(120), comment="the process that claimed it last"),
    Column("claimed_at", Double),
    Column("finished_at", Double),
    Column("reported_at", Double, comment="when its reports were last asked for"),
    *(Column(name, Integer, nullable=False, server_default="0") for name in COUNTERS),
)
Index("ix_chunk_campaign_id", chunk.c.campaign_id, chunk.c.id)
Index("ix_chunk_open", chunk.c.campaign_id, chunk.c.id, sqlite_where=text("state <> 2"))

message = Table(
    "message",
    metadata,
    Column("chunk_id", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("campaign_id", Integer, nullable=False),
    Column("phone", BigInteger, nullable=False),
    Column("copy", SmallInteger, nullable=False, comment="0, or the n-th ticket of one number at one event"),
    Column("line", Integer, nullable=False, comment="where the number stood in the operator's file"),
    Column("state", SmallInteger, nullable=False),
    Column("provider_id", String(64)),
    Column("error", String(64), comment="the provider's code or reason"),
    Column("epoch", Integer, comment="of the attempt that left it unknown"),
    Column("delivered_at", Double),
    sqlite_with_rowid=False,
)
Index("uq_message_phone", message.c.phone, message.c.campaign_id, message.c.copy, unique=True)
Index(
    "uq_message_provider_id",
    message.c.provider_id,
    unique=True,
    sqlite_where=text("provider_id IS NOT NULL"),
)
Index(
    "ix_message_error",
    message.c.campaign_id,
    message.c.error,
    sqlite_where=text("error IS NOT NULL"),
)
Index(
    "ix_message_without_id",
    message.c.campaign_id,
    message.c.chunk_id,
    message.c.position,
    sqlite_where=text("provider_id IS NULL AND state IN (1, 2)"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("chunk_id", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(120), nullable=False),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("outcome", String(12), nullable=False, comment="sending, answered, not_taken, unknown, abandoned or late"),
    Column("code", String(64)),
    Column("status", SmallInteger, comment="HTTP status"),
    Column("trace", String(12), comment="how far the request got"),
    Column("problem", Text, comment="one sentence, without numbers"),
    Column("raw", LargeBinary, comment="the answer, kept where it was not clean"),
    sqlite_with_rowid=False,
)

media = Table(
    "media",
    metadata,
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True),
    Column("position", SmallInteger, primary_key=True, autoincrement=False),
    Column("source", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("content_type", String(80), nullable=False),
    Column("path", Text),
    Column("sha256", String(64)),
    Column("size", BigInteger),
    Column("file_id", String(64)),
    Column("verified_at", Double),
)

approval = Table(
    "approval",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("content", String(64), nullable=False, comment="hash of what was shown; other content needs another approval"),
    Column("asked_at", Double, nullable=False),
    Column("flow_run_id", String(36), comment="the paused flow run that waits for it, if one does"),
    Column("decided_at", Double),
    Column("approved", Boolean),
    Column("by", Text),
    Column("note", Text),
)

stored_file = Table(
    "stored_file",
    metadata,
    Column("gateway", String(40), primary_key=True),
    Column("fingerprint", Text, primary_key=True, comment="sha256 of the content, or the URL"),
    Column("file_id", String(64), nullable=False),
    Column("stored_at", Double, nullable=False),
)

ticket = Table(
    "ticket",
    metadata,
    Column("chunk_id", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("campaign_id", Integer, nullable=False),
    Column("barcode", String(64), nullable=False),
    Column("fields", JSON, nullable=False, comment="the attendee's other columns"),
    UniqueConstraint("campaign_id", "barcode"),
    sqlite_with_rowid=False,
)

settlement = Table(
    "settlement",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("campaign_id", Integer, nullable=False),
    Column("chunk_id", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("settled_at", Double, nullable=False),
    Column("decision", String(20), nullable=False, comment="found, absent, resend, surplus or resolved"),
    Column("state", SmallInteger, nullable=False, comment="the message's state after it"),
    Column("by", Text, nullable=False, comment="reconcile, or the person"),
    Column("evidence", Text, nullable=False),
    Column("replaced_id", String(64), comment="the provider's id of the attempt that is replaced: news of it is old"),
)
Index("ix_settlement_message", settlement.c.chunk_id, settlement.c.position)
Index("ix_settlement_replaced_id", settlement.c.replaced_id, sqlite_where=text("replaced_id IS NOT NULL"))

second_copy = Table(
    "second_copy",
    metadata,
    Column("provider_id", String(64), primary_key=True, comment="of a copy that no message accounts for"),
    Column("campaign_id", Integer, nullable=False, index=True),
    Column("chunk_id", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False, comment="as the provider said last"),
    Column("found_at", Double, nullable=False),
    Column("withdrawn_at", Double),
    Column("evidence", Text, nullable=False),
)

parked_report = Table(
    "parked_report",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("received_at", Double, nullable=False),
    Column("provider_id", String(64), nullable=False, comment="an id that was no message's when the news came"),
    Column("phone", BigInteger),
    Column("mms_id", String(40)),
    Column("state", SmallInteger, nullable=False),
    Column("reason", String(64)),
    Column("delivered_at", Double),
    Column("gateway", String(40)),
    Column("happened_at", Double, comment="when it happened, by the news itself"),
    Column("contradicts", String(40), comment="what does not fit the message that has its id; such news is never applied"),
)
Index("ix_parked_report_provider_id", parked_report.c.provider_id)

suppression = Table(
    "suppression",
    metadata,
    Column("phone", BigInteger, primary_key=True, autoincrement=False),
    Column("scope", SmallInteger, primary_key=True, autoincrement=False, comment="0 marketing, 1 all"),
    Column("source", String(20), nullable=False, comment="who said so, as a word"),
    Column("why", Text, nullable=False),
    Column("by", Text, nullable=False, comment="the person, or the gateway"),
    Column("since", Double, nullable=False, comment="when the person, or the provider, said so"),
    Column("removed_at", Double, comment="null while it holds; what happened before stays past"),
    Column("removed_by", Text),
    Column("removed_why", Text),
)

opt_out_pull = Table(
    "opt_out_pull",
    metadata,
    Column("gateway", String(40), primary_key=True),
    Column("pulled_at", Double, nullable=False, comment="when the last pull that ended well began"),
)
